"""Weights on the loss of OpenRLHF's trainers: loss and data loader are attributes, so both are wrapped."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch

from ..pytorch.attaching import AttachedLoss, without_dropout
from ..pytorch.columns import check
from ..pytorch.config import RobustConfig
from ..pytorch.watch import as_leaves
from ..pytorch.weighing import warn_of_single

KINDS = ("DPOTrainer", "RewardModelTrainer", "SFTTrainer")
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Attached(AttachedLoss):
    """A trainer whose loss is weighed, see `attach`; ``metrics`` is what was logged last, by name."""

    def __init__(self, trainer: Any, config: RobustConfig, state: dict[str, float] | None) -> None:
        self.name = refuse(trainer, config)
        self.of_step = self.name == "SFTTrainer"  # its losses are divided by the step's tokens or texts
        self.steps = max(int(trainer.strategy.accumulated_gradient), 1)
        mesh = getattr(trainer.strategy, "ds_device_mesh", None)
        self.group = None if mesh is None else mesh["dp"].get_group()
        self.metrics: dict[str, float] = {}
        self._trainer, self._stock_fit, self._stock_log = trainer, trainer.fit, trainer.save_logs_and_checkpoints
        super().__init__(trainer, config, state, fit=self._fit, save_logs_and_checkpoints=self._log)

    def _fit(self, args: Any, consumed_samples: int = 0, num_update_steps_per_epoch: int | None = None) -> None:
        per_epoch = num_update_steps_per_epoch or len(self.stock_loader) // self.steps
        self.begin(consumed_samples // args.train.batch_size, self._trainer.epochs * per_epoch)
        self._stock_fit(args, consumed_samples, num_update_steps_per_epoch)

    def looks(self, window: list[Any]) -> Iterator[Call]:
        """Yield what the loss will be called with for every micro-batch."""
        with without_dropout(self._trainer.model):
            yield from (of_texts if self.of_step else of_pairs)(self._trainer, window)

    def _log(self, args: Any, step: int, step_bar: Any, logs_dict: Any = None, client_states: Any = None) -> None:
        self.metrics = self._trainer.strategy.all_reduce({k: float(v) for k, v in self.weigher.means().items()})
        logs = {**(logs_dict or {}), **self.metrics}
        step_bar.set_postfix(logs)
        held = {"counterpoise": dict(self.state)} if self.state else {}
        self._stock_log(args, step, step_bar, logs, {**(client_states or {}), **held})


def of_pairs(trainer: Any, window: list[Any]) -> Iterator[Call]:
    """Yield log-probabilities of policy and reference, or rewards and margins."""
    device, forward = next(trainer.model.parameters()).device, torch.no_grad()(trainer.concatenated_forward)
    for *fields, extra in window:
        pairs = [field.squeeze(1).to(device) for field in fields]
        if hasattr(trainer, "ref_model"):
            reference = forward(trainer.ref_model, *pairs, extra)[:2]
            yield (*as_leaves(forward(trainer.model, *pairs, extra)[:2]), *reference), {}
        else:
            rewards = as_leaves(forward(trainer.model, *pairs)[:2])
            rewards = tuple(r.float() for r in rewards) if trainer.compute_fp32_loss else rewards
            yield (*rewards, torch.tensor(extra).to(device) if trainer.margin_loss else None), {}


def of_texts(trainer: Any, window: list[Any]) -> Iterator[Call]:
    """Yield tokens' log-probabilities, their mask, and what the step's losses are divided by."""
    from openrlhf.utils.loss_utils import iter_grad_accum_global_norm

    def mask_of(batch: Any) -> Any:
        return batch[2].squeeze(1)[:, :-1]

    device, forward = next(trainer.model.parameters()).device, torch.no_grad()(trainer.model)
    for batch, of_step in iter_grad_accum_global_norm(window, trainer.strategy, len(window), mask_of):
        ids, attention, _ = (field.squeeze(1).to(device) for field in batch)
        logps = forward(ids, attention_mask=attention, return_logprobs=True)
        yield (as_leaves(logps), mask_of(batch).to(device)), of_step


def refuse(trainer: Any, config: RobustConfig) -> str:
    """Return the name of the trainer's class; raise where examples cannot be weighed, warn where a part is not."""
    kinds = [c.__name__ for c in type(trainer).__mro__ if c.__module__.startswith("openrlhf.") and c.__name__ in KINDS]
    if not kinds:
        raise TypeError(
            f"a {type(trainer).__name__} is no trainer of OpenRLHF that can be weighed: {', '.join(KINDS)} are, and a "
            "PPO trainer's experience_maker; TRL's have counterpoise_adapters.trl"
        )
    if trainer.packing_samples:
        raise ValueError("packing_samples needs flash-attn, with which weights were never run; turn it off")
    if getattr(trainer.strategy, "ring_attn_size", 1) > 1:
        raise ValueError("ring attention shares a text between ranks, with which weights were never run; set it to 1")
    if config.column is not None:
        columns = getattr(getattr(trainer.train_dataloader, "dataset", None), "columns", None)
        if columns is None:
            raise ValueError(
                f"objective {config.objective!r} needs the column {config.column!r}, and OpenRLHF's datasets drop "
                "columns: make the training dataset by with_columns(RewardDataset, config), or from SFTDataset"
            )
        check(columns, config.column, config.objective)
    if not config.uniform:
        for part in ("nll_loss", "aux_loss"):
            if getattr(trainer, part, False):
                warnings.warn(f"{kinds[0]}: {part} is a mean over tokens and stays unweighted", stacklevel=4)
        warn_of_single(config, getattr(trainer.train_dataloader, "batch_size", None) or 0, stacklevel=4)
    return kinds[0]
