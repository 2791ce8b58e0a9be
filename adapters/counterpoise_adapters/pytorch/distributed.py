"""Weights of losses that are spread over the ranks of a process group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

import counterpoise as cp


def all_reduce_over(
    group: dist.ProcessGroup | None = None,
) -> Callable[[Tensor, Literal["sum", "max", "min"]], Tensor]:
    """Return the ``all_reduce`` argument of `counterpoise.penalized` and its kin for a process group.

    Parameters
    ----------
    group : ProcessGroup, optional
        The default group when None. Its backend must reduce tensors of the losses' device.

    Returns
    -------
    callable
        Maps a rank's reduction (a few numbers a row) and "sum", "max" or "min" to that of all ranks.
    """
    ops = {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "min": dist.ReduceOp.MIN}

    def all_reduce(array: Tensor, op: Literal["sum", "max", "min"]) -> Tensor:
        whole = array.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole, ops[op], group=group)
        return whole

    return all_reduce


def gather(tensor: Tensor, group: dist.ProcessGroup | None = None) -> tuple[Tensor, slice]:
    """Concatenate the ranks' tensors along the last axis, and say where this rank's part lies.

    Parameters
    ----------
    tensor : Tensor, shape (..., n)
        n may differ between ranks, and be 0 on some.
    group : ProcessGroup, optional
        The default group when None.

    Returns
    -------
    (Tensor, slice)
        Shape (..., sum of n), identical on every rank, without gradient; and the local part of the last axis.
    """
    size = torch.tensor([tensor.shape[-1]], device=tensor.device)
    sizes = [torch.zeros_like(size) for _ in range(dist.get_world_size(group))]
    dist.all_gather(sizes, size, group=group)
    counts = [int(s) for s in sizes]
    padded = tensor.detach().new_zeros((*tensor.shape[:-1], max(counts)))
    padded[..., : tensor.shape[-1]] = tensor.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded, group=group)
    start = sum(counts[: dist.get_rank(group)])
    whole = torch.cat([part[..., :count] for part, count in zip(parts, counts, strict=True)], dim=-1)
    return whole, slice(start, start + tensor.shape[-1])


def gathered(
    verb: Callable[..., cp.Solution],
    losses: Tensor,
    /,
    *args: Any,
    prior: Tensor | None = None,
    group: dist.ProcessGroup | None = None,
    **kwargs: Any,
) -> cp.Solution:
    """Solve over the losses of all ranks by one exchange: gather them, solve everywhere, keep the local weights.

    Parameters
    ----------
    verb : callable
        `counterpoise.penalized`, `constrained` or `cvar`.
    losses : Tensor, shape (..., n)
        This rank's losses; n may differ between ranks, and be 0 on some.
    *args, **kwargs
        The verb's other arguments, the same on every rank.
    prior : Tensor, shape of the losses, optional
        This rank's masses, on one scale over the ranks; uniform over all losses by default. Give it on every rank
        or on none.
    group : ProcessGroup, optional
        The default group when None.

    Returns
    -------
    Solution
        ``weights`` of shape (..., n) sum to 1 over the ranks; the rest is the same on every rank.
    """
    whole, part = gather(losses, group)
    whole_prior = None if prior is None else gather(prior.expand(losses.shape), group)[0]
    solution = verb(whole, *args, prior=whole_prior, **kwargs)
    return solution._replace(weights=solution.weights[..., part])


def reduced(
    verb: Callable[..., cp.Solution],
    losses: Tensor,
    /,
    *args: Any,
    prior: Tensor | None = None,
    group: dist.ProcessGroup | None = None,
    **kwargs: Any,
) -> cp.Solution:
    """Solve over the losses of all ranks by all-reducing a few numbers a row and iteration; no rank sees all losses.

    Parameters
    ----------
    verb, losses, args, kwargs, prior, group
        As in `gathered`; every rank needs at least one loss (pad with a zero-prior one).

    Returns
    -------
    Solution
        ``weights`` of shape (..., n) sum to 1 over the ranks; the rest is the same on every rank.
    """
    return verb(losses, *args, prior=prior, all_reduce=all_reduce_over(group), **kwargs)
