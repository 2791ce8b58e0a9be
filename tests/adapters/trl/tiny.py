"""A world for TRL without a hub: a random Llama of 4,000 parameters, a tokenizer of 22 words, sixteen rows."""

import os

os.environ.update(HF_HUB_OFFLINE="1", CI="1", TQDM_DISABLE="1")  # CI: TRL sends no telemetry

import copy
import importlib

import pytest
import torch
from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

disable_progress_bars()
WORDS = [
    "the", "a", "red", "blue", "cat", "dog", "sat", "ran", "on", "mat", "log", "and", "then", "it", "was", "big", "yes",
]  # fmt: skip
TEMPLATE = (
    "{% for m in messages %} <{{ m['role'] }}> {{ m['content'] }}{% if m['role'] == 'assistant' %} <eos>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} <assistant>{% endif %}"
)
DEFAULTS = {
    "use_cpu": True, "bf16": False, "report_to": [], "per_device_train_batch_size": 4, "max_steps": 3,
    "logging_steps": 1, "save_strategy": "no", "gradient_checkpointing": False, "disable_tqdm": True,
    "learning_rate": 1e-2,
}  # fmt: skip


def tokenizer():
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", "<user>", "<assistant>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    made.chat_template = TEMPLATE
    return made


def model(seed=0, dtype=torch.float64, head=LlamaForCausalLM, **changes):
    torch.manual_seed(seed)
    size = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    tokens = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    if head is LlamaForSequenceClassification:
        tokens["num_labels"] = 1
    return head(LlamaConfig(**{**size, **heads, **tokens, **changes})).to(dtype)


def rows(kind, count=16, seed=1):
    """Rows of unequal lengths, with the columns that `counterpoise weigh` writes."""
    generator = torch.Generator().manual_seed(seed)

    def text():
        size = int(torch.randint(2, 6, (1,), generator=generator))
        return " ".join(WORDS[int(i)] for i in torch.randint(len(WORDS), (size,), generator=generator))

    prompts, chosen, rejected = ([text() for _ in range(count)] for _ in range(3))
    ratio = torch.rand(count, dtype=torch.float64, generator=generator) * 2 + 0.05
    side = {
        "ratio": ratio.tolist(),
        "weight": (ratio / ratio.mean()).tolist(),
        "log_odds": ratio.log().tolist(),
        "group": [i % 3 for i in range(count)],
    }
    if kind != "chat":
        chosen, rejected = ([f" {answer}" for answer in answers] for answers in (chosen, rejected))
    if kind == "unpaired":
        main = {"prompt": prompts, "completion": chosen, "label": [i % 3 != 0 for i in range(count)]}
    elif kind == "completion":
        main = {"prompt": prompts, "completion": chosen}
    elif kind == "chat":
        main = {
            "prompt": [[{"role": "user", "content": p}] for p in prompts],
            "chosen": [[{"role": "assistant", "content": c}] for c in chosen],
            "rejected": [[{"role": "assistant", "content": r}] for r in rejected],
        }
    else:
        main = {"prompt": prompts, "chosen": chosen, "rejected": rejected}
    return Dataset.from_dict({**main, **side})


KINDS = {"DPO": "pair", "Reward": "pair", "ORPO": "pair", "CPO": "pair", "KTO": "unpaired", "SFT": "completion"}


def trl(name):
    """Find a trainer or config class where this release of TRL keeps it."""
    short = name.removesuffix("Trainer").removesuffix("Config")
    for home in ("trl", f"trl.experimental.{short.lower()}"):
        try:
            return getattr(importlib.import_module(home), name)
        except (AttributeError, ModuleNotFoundError):
            continue
    raise ImportError(name)


def sft_can_be_weighed():
    return "log_probs" in trl("SFTTrainer").compute_loss.__code__.co_names


def trainer(short, folder, robust_config=None, data=None, trainer_class=None, policy=None, **options):
    """A stock trainer, or with ``robust_config`` a robust one, of the same model, reference and data."""
    from counterpoise_adapters.trl import robust

    if short == "SFT" and not sft_can_be_weighed():
        pytest.skip("this release of TRL reduces the SFT loss inside the model")
    kwargs = {key: options.pop(key) for key in ("peft_config", "callbacks", "eval_dataset") if key in options}
    dtype = options.pop("dtype", torch.float64)
    stock = trainer_class or trl(f"{short}Trainer")
    if policy is None:
        head = LlamaForSequenceClassification if short == "Reward" else LlamaForCausalLM
        policy = model(0, dtype, head)
    if short in ("DPO", "KTO") and "peft_config" not in kwargs:
        kwargs["ref_model"] = model(5, dtype)
    args = trl(f"{short}Config")(output_dir=str(folder), **{**DEFAULTS, **options})
    if robust_config is not None:
        kwargs["robust_config"] = robust_config
    data = rows(KINDS[short]) if data is None else data
    made = robust(stock) if robust_config is not None else stock
    return made(model=policy, args=args, train_dataset=data, processing_class=tokenizer(), **kwargs)


def gradients(of):
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in of.parameters()])


def batch(made, indices):
    """The trainer's collated batch of some of its prepared rows, as its data loader makes it."""
    prepared = [made.train_dataset[int(i)] for i in indices]
    made._set_signature_columns_if_needed()
    keep = set(made._signature_columns)
    if made.args.remove_unused_columns:
        prepared = [{k: v for k, v in row.items() if k in keep} for row in prepared]
    return made._prepare_inputs(made.data_collator(prepared))


def loss_and_gradient(made, inputs, **kwargs):
    made.model.train()
    made.model.zero_grad()
    loss = made.compute_loss(made.model, copy.copy(inputs), **kwargs)
    loss.backward()
    return loss.item(), gradients(made.model).clone()


def first_gradient(made):
    """Train one step without clipping; return the gradient that the optimiser is given, and the step's logs."""
    from transformers import TrainerCallback

    class Catch(TrainerCallback):
        caught = None

        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            if Catch.caught is None:
                Catch.caught = gradients(model).clone()

    made.add_callback(Catch())
    made.train()
    return Catch.caught, made.state.log_history[0]
