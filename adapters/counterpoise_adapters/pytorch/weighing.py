"""From the losses that a trainer reduces to weights on its gradients, whichever trainer it is."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

import counterpoise as cp

from .config import RobustConfig, Running, Tilt
from .distributed import gather


class Weighed(NamedTuple):
    """A micro-batch as it was weighed; every tensor is (examples,), in the trainer's order of losses."""

    losses: Tensor
    weights: Tensor
    """1 is plain training."""
    columns: dict[str, Tensor]


class Weigher:
    """Weigh micro-batches over the scope that a `RobustConfig` names, and note what is logged.

    Parameters
    ----------
    config : RobustConfig
        The objective.
    """

    def __init__(self, config: RobustConfig) -> None:
        self.config = config
        self._running = Running(config)
        self._notes: dict[str, list[Tensor]] = defaultdict(list)

    def __call__(
        self,
        parts: list[Tensor],
        sides: list[Tensor | None],
        *,
        progress: float,
        steps: int,
        held: dict[str, float],
        of_step: bool = False,
        group: dist.ProcessGroup | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """Return the weights of each micro-batch, and the objective over the scope.

        Parameters
        ----------
        parts : list of Tensor, shapes (n,)
            Each example's part in its micro-batch's loss, whose mean over micro-batches and ranks is trained.
        sides : list of Tensor, shapes (n,), or of None
            The column that the objective is a function of.
        progress : float
            See `RobustConfig.amount`.
        steps : int
            Micro-batches of an optimiser step.
        held : dict
            See `Running`.
        of_step : bool
            Whether the losses are divided by the whole step's examples or tokens, not by their micro-batch's.
        group : ProcessGroup, optional
            The ranks of scope "world"; the default group when None.
        """
        sizes, mine, ranks = [len(part) for part in parts], slice(None), 1
        losses = torch.cat([part if of_step else part * len(part) for part in parts])
        side = torch.cat([s for s in sides if s is not None]) if self.config.column else None
        if self.config.scope == "world" and self.config.looks_ahead and dist.is_initialized():
            ranks, (losses, mine) = dist.get_world_size(group), gather(losses, group)
            side = None if side is None else gather(side, group)[0]
        total, shift = len(losses), None
        if of_step:  # parts of a sum over the step become losses, whose mean over the step it is
            losses = losses * (total / (ranks * len(parts)))
        if self.config.scope == "running":
            shift = self._running(losses, side, held, steps=steps, progress=progress)
        tilt = self.config.tilt(losses, side, progress=progress, shift=shift)
        self.note(tilt, losses)
        # trainers average over micro-batches and ranks whatever their sizes; here each example counts alike
        share = [1.0 if of_step else size * len(sizes) * ranks / total for size in sizes]
        weights = torch.split(tilt.weights[mine], sizes)
        return [w * s for w, s in zip(weights, share, strict=True)], tilt.value

    def note(self, tilt: Tilt, losses: Tensor) -> None:
        """Remember what a scope will be logged with."""
        entries = {"value": tilt.value, "erm_loss": losses.mean(), "max_weight": tilt.weights.max()}
        entries["ess"] = cp.effective_sample_size(tilt.weights)
        entries[self.config.amount_name] = losses.new_tensor(tilt.amount)
        for name, entry in entries.items():
            self._notes[f"robust/{name}"].append(entry)

    def means(self) -> dict[str, Tensor]:
        """Return the means over the scopes since the last call, by the names under which they are logged."""
        means = {name: torch.stack(entries).mean() for name, entries in self._notes.items()}
        self._notes.clear()
        return means


def reweigh(loss: Tensor, rows: list[Tensor], weights: Tensor, change: Tensor) -> Tensor:
    """Scale the gradients of a loss's examples, and return it with ``change`` added to its value.

    Where all weights are 1 it is the stock loss to the bit.

    Parameters
    ----------
    loss : Tensor, scalar
        What the trainer reduced.
    rows : list of Tensor
        From `terms`: tensors with a row for each example.
    weights : Tensor, shape (n,)
        1 is plain training.
    change : Tensor, scalar
        Without gradient.
    """
    for tensor in rows:
        factor = weights.reshape((-1, *[1] * (tensor.ndim - 1))).to(tensor.dtype)
        hook: Any = tensor.register_hook
        hook(lambda gradient, factor=factor: gradient * factor)
    return loss + torch.where((weights == 1).all(), 0.0, change).to(loss)


def warn_of_single(config: RobustConfig, examples: int, *, stacklevel: int) -> None:
    """Warn where an objective is taken over one example at a time."""
    if examples == 1 and config.scope == "microbatch" and not config.linear:
        warnings.warn(
            f"objective {config.objective!r} over one example tilts nothing; use scope='step', 'world' or 'running'",
            stacklevel=stacklevel + 1,
        )
