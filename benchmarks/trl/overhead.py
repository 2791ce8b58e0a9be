"""What robust weights cost a DPO step: robust and stock trainers take turns on the same batches (processor time).

``python benchmarks/trl/overhead.py`` prints the ratio of their times, for each scope, with its standard error; one
thread, a random Llama of ten million parameters, no network.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", CI="1", TQDM_DISABLE="1")

import argparse
import statistics
import tempfile
import time
import warnings

import torch
from counterpoise_adapters.trl import RobustConfig, RobustDPOTrainer
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

torch.set_num_threads(1)
CONFIGS = {
    "microbatch, DoRA": RobustConfig("dora", penalty=0.1),
    "microbatch, chi-square ball": RobustConfig("worst_case", divergence="chi_square", radius=0.5),
    "running, DoRA": RobustConfig("dora", penalty=0.1, scope="running"),
    "step, DoRA": RobustConfig("dora", penalty=0.1, scope="step"),
}


def llama():
    torch.manual_seed(0)
    size = {"hidden_size": 288, "intermediate_size": 768, "num_hidden_layers": 9, "vocab_size": 4096}
    return LlamaForCausalLM(LlamaConfig(**size, num_attention_heads=6, num_key_value_heads=6, tie_word_embeddings=True))


def tokenizer():
    raw = Tokenizer(models.WordLevel({f"w{i}": i for i in range(4096)}, unk_token="w2"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="w0", eos_token="w1", unk_token="w2")


def pairs(tokens, rows=64):
    generator = torch.Generator().manual_seed(0)

    def text(n):
        return " ".join(f"w{int(i)}" for i in torch.randint(3, 4096, (n,), generator=generator))

    names = {"prompt": tokens // 2, "chosen": tokens // 2, "rejected": tokens // 2}
    columns = {name: [("" if name == "prompt" else " ") + text(n) for _ in range(rows)] for name, n in names.items()}
    return Dataset.from_dict({**columns, "ratio": (torch.rand(rows, generator=generator) * 2).tolist()})


def stepper(folder, data, size, config=None):
    args = DPOConfig(
        output_dir=folder, use_cpu=True, bf16=False, report_to=[], per_device_train_batch_size=size, max_steps=1,
        gradient_checkpointing=False, disable_tqdm=True, save_strategy="no", logging_steps=1000,
    )  # fmt: skip
    how = {"model": llama(), "ref_model": llama(), "args": args, "train_dataset": data, "processing_class": tokenizer()}
    made = DPOTrainer(**how) if config is None else RobustDPOTrainer(**how, robust_config=config)
    made.train()  # sets everything up, and warms it up
    batches = iter(made.get_train_dataloader())

    def step():
        """Fetch, look ahead if the scope does, forward, backward, update; return the seconds."""
        nonlocal batches
        start = time.process_time()
        samples, items = made.get_batch_samples(batches, 1, made.args.device)
        if not samples:
            batches = iter(made.get_train_dataloader())
            samples, items = made.get_batch_samples(batches, 1, made.args.device)
        made.training_step(made.model, samples[0], items)
        made.optimizer.step()
        made.model.zero_grad()
        return time.process_time() - start

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30, help="pairs of steps for each scope")
    parser.add_argument("--batch", type=int, default=4, help="pairs of responses a step")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of a sequence")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{sum(p.numel() for p in llama().parameters()) / 1e6:.1f} million parameters")
    with tempfile.TemporaryDirectory() as folder:
        data = pairs(options.tokens)
        stock = stepper(folder, data, options.batch)
        for name, config in CONFIGS.items():
            robust = stepper(folder, data, options.batch, config)
            stock(), robust()
            ratios = []
            for turn in range(options.steps):  # each goes first every other time
                one, two = (stock, robust) if turn % 2 else (robust, stock)
                first, second = one(), two()
                ratios.append(second / first if turn % 2 else first / second)
            error = 1.2533 * statistics.stdev(ratios) / len(ratios) ** 0.5  # of a median of normal values
            print(f"{name:28} {statistics.median(ratios):.3f} ± {error:.3f} of the stock step")


if __name__ == "__main__":
    main()
