"""A world for OpenRLHF on a CPU: a random Llama of 4,000 parameters, a tokenizer of 22 words, sixteen rows.

Its `DeepspeedStrategy` names CUDA in four places; those calls, and no other, are answered for the CPU. DeepSpeed's own
Adam would be compiled for minutes; PyTorch's takes its place.
"""

import os

os.environ.update(HF_HUB_OFFLINE="1", DS_ACCELERATOR="cpu", TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("LOCAL_RANK", "-1")

from types import SimpleNamespace as Space

import deepspeed
import openrlhf.utils.deepspeed.deepspeed as home
import torch
from datasets import Dataset, disable_progress_bars
from openrlhf.datasets import RewardDataset, SFTDataset
from openrlhf.models import Actor
from openrlhf.models.model import _get_reward_model
from openrlhf.trainer.dpo_trainer import DPOTrainer
from openrlhf.trainer.rm_trainer import RewardModelTrainer
from openrlhf.trainer.sft_trainer import SFTTrainer
from openrlhf.utils.deepspeed import DeepspeedStrategy
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, LlamaPreTrainedModel, PreTrainedTokenizerFast

disable_progress_bars()
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled
WORDS = [
    "the", "a", "red", "blue", "cat", "dog", "sat", "ran", "on", "mat", "log", "and", "then", "it", "was", "big", "yes",
]  # fmt: skip
TRAINERS = {"DPO": DPOTrainer, "RM": RewardModelTrainer, "SFT": SFTTrainer}


def on_cpu():
    """Answer what `DeepspeedStrategy` asks of CUDA."""
    mesh, stock = home.init_device_mesh, home.get_train_ds_config

    def config(*args, optim_config=None, **kwargs):
        if optim_config is not None:
            optim_config = {**optim_config, "params": {**optim_config["params"], "torch_adam": True}}
        return stock(*args, optim_config=optim_config, **kwargs)

    home.get_train_ds_config = config
    home.init_device_mesh = lambda device, *args, **kwargs: mesh("cpu", *args, **kwargs)
    torch.cuda.current_device = lambda: "cpu"
    torch.cuda.set_device = torch.cuda.synchronize = lambda *device: None


def tokenizer():
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<eos>", "<unk>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def model(kind="DPO", seed=0, dtype=torch.float64, **changes):
    torch.manual_seed(seed)
    size = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    config = LlamaConfig(**{**size, **heads, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None, **changes})
    config._attn_implementation = "sdpa"
    if kind != "RM":
        actor = Actor(LlamaForCausalLM(config).to(dtype))
        actor.packing_samples = False  # it sets that where it loads from a folder alone
        return actor
    config.normalize_reward = False
    return _get_reward_model(LlamaPreTrainedModel, LlamaModel, "score", False)(config).to(dtype)


def rows(kind="DPO", count=16, seed=1):
    """Rows of unequal lengths, with the columns that `counterpoise weigh` writes."""
    generator = torch.Generator().manual_seed(seed)

    def text():
        size = int(torch.randint(2, 6, (1,), generator=generator))
        return " ".join(WORDS[int(i)] for i in torch.randint(len(WORDS), (size,), generator=generator))

    prompts, chosen, rejected = ([text() for _ in range(count)] for _ in range(3))
    chosen, rejected = ([f" {answer}" for answer in answers] for answers in (chosen, rejected))
    ratio = torch.rand(count, dtype=torch.float64, generator=generator) * 2 + 0.05
    side = {"ratio": ratio.tolist(), "weight": (ratio / ratio.mean()).tolist(), "group": [i % 3 for i in range(count)]}
    if kind == "SFT":
        return Dataset.from_dict({"input": prompts, "output": chosen, **side})
    margin = {"margin": [0.1 * (i % 4) for i in range(count)]} if kind == "RM" else {}
    return Dataset.from_dict({"prompt": prompts, "chosen": chosen, "rejected": rejected, **margin, **side})


def arguments(folder, micro, batch, **changes):
    """What OpenRLHF's parsers make, as far as it is read here; ``changes`` are named as its options are."""
    logger = Space(wandb=Space(key=None, run_name="run"), tensorboard_dir=None, logging_steps=1)
    args = Space(
        local_rank=-1, logger=logger, optim="adam", eval=Space(steps=10**9), adam=Space(), muon=Space(),
        ckpt=Space(save_steps=-1, path=str(folder), max_num=3, max_mem=10**8, output_dir=str(folder)),
        model=Space(label_smoothing=0.0, ipo_enable=False, aux_loss_coef=0.0, nll_loss_coef=0.0,
                    margin_loss_enable=True, compute_fp32_loss_enable=False),
        ds=Space(packing_samples=False, param_dtype="fp32", zero_stage=2),
        data=Space(prompt_key="prompt", chosen_key="chosen", rejected_key="rejected", input_key="input",
                   output_key="output", apply_chat_template=False),
        train=Space(batch_size=batch, micro_batch_size=micro),
    )  # fmt: skip
    for name, value in changes.items():
        section, field = name.split("__")
        setattr(getattr(args, section), field, value)
    return args


class Plain(DeepspeedStrategy):
    """One process and no engine, so that gradients have all the digits of the losses."""

    world_size, ring_attn_rank, lr = 1, 0, 0.0

    def setup_distributed(self, timeout=None):
        self.accumulated_gradient = self.train_batch_size // self.micro_train_batch_size
        self.caught, self._done = [], 0

    def all_reduce(self, data, op="mean"):
        return data

    def all_gather(self, data):
        return data

    def is_rank_0(self):
        return True

    def backward(self, loss, model, optimizer, **kwargs):
        (loss / self.accumulated_gradient).backward()

    def optimizer_step(self, optimizer, model, scheduler, **kwargs):
        self._done += 1
        if hasattr(model, "model"):
            model.model.global_steps = self._done // self.accumulated_gradient
        if self._done % self.accumulated_gradient == 0:
            self.caught.append(gradients(model))
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()


class Deep(DeepspeedStrategy):
    """The real strategy, which notes the gradient that DeepSpeed's optimiser is given."""

    caught: list

    def optimizer_step(self, optimizer, model, scheduler, **kwargs):
        engine = getattr(model, "model", model) if isinstance(model, Actor) else model
        if engine.is_gradient_accumulation_boundary():
            parts = [deepspeed.utils.safe_get_full_grad(p) for p in engine.module.parameters()]
            parts = [torch.zeros(p.ds_shape if hasattr(p, "ds_shape") else p.shape) if g is None else g
                     for p, g in zip(engine.module.parameters(), parts, strict=True)]  # fmt: skip
            self.caught.append(torch.cat([part.flatten().double() for part in parts]))
        super().optimizer_step(optimizer, model, scheduler, **kwargs)


def gradients(of):
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in of.parameters()])


def dataset(kind, data, strategy, config=None, carry=True):
    from counterpoise_adapters.openrlhf import with_columns

    stock = SFTDataset if kind == "SFT" else RewardDataset
    made = with_columns(stock, config) if config is not None and carry else stock
    more = {} if kind == "SFT" else {"is_dpo": kind == "DPO"}
    return made(data, tokenizer(), 64, strategy, num_processors=None, **more)


def trainer(
    kind, folder, config=None, *, micro=4, batch=16, data=None, deep=False, lr=1e-2, epochs=1, carry=True,
    shuffle=False, policy=None, workers=0, evaluate=False, dtype=None, **changes,
):  # fmt: skip
    """A stock trainer; its dataset carries columns if a config is given. Attaching is the test's business."""
    args = arguments(folder, micro, batch, **changes)
    strategy = (Deep if deep else Plain)(
        seed=1, micro_train_batch_size=micro, train_batch_size=batch, zero_stage=args.ds.zero_stage, args=args
    )
    strategy.caught = []
    strategy.setup_distributed()
    dtype = dtype or (torch.float32 if deep else torch.float64)
    policy = model(kind, 0, dtype) if policy is None else policy
    reference = model(kind, 5, dtype) if kind == "DPO" else None
    data = rows(kind) if data is None else data
    made = dataset(kind, data, strategy, config, carry)
    loader = strategy.setup_dataloader(made, micro, False, shuffle, made.collate_fn, num_workers=workers)
    if deep:
        adam = {"lr": lr, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}
        cfg = {"optim": "adam", "adam": adam, "lr_scheduler": "constant", "scheduler_steps": 100, "max_norm": 0.0}
        policy, optim, scheduler = strategy.prepare((policy, cfg))
        reference = strategy.prepare(reference) if reference is not None else None
    else:
        optim = torch.optim.SGD(policy.parameters(), lr=lr)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optim, lambda step: 1.0)
    tail = {"max_epochs": epochs, "tokenizer": made.tokenizer}
    if kind == "SFT":
        tail = {"max_epochs": epochs, "tokenizer": made.tokenizer, "max_norm": 0.0}
    if reference is not None:
        tail["ref_model"] = reference
    held_out = None
    if evaluate:
        held = dataset(kind, data.remove_columns(["ratio", "weight", "group"]), strategy, config, carry)
        held_out = strategy.setup_dataloader(held, micro, False, False, held.collate_fn, drop_last=False)
    return TRAINERS[kind](
        model=policy, strategy=strategy, optim=optim, train_dataloader=loader, eval_dataloader=held_out,
        scheduler=scheduler, **tail,
    )  # fmt: skip


def fit(made, **kwargs):
    """Train; return the first step's gradient."""
    made.fit(made.args, **kwargs)
    return made.strategy.caught[0]
