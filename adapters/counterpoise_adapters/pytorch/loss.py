"""A robust loss for raw PyTorch loops: per-example losses in, one scalar out, gradients by Danskin's theorem."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

import counterpoise as cp

from .distributed import gather
from .recipe import Recipe

Scope = Literal["microbatch", "step", "world"]


class _Window(NamedTuple):
    """What a step has fixed: its value, and for every micro-batch the weights scaled for a mean over micro-batches."""

    value: Tensor
    weights: list[Tensor]


def robust_loss(
    losses: Tensor,
    ratio: Tensor | None = None,
    *,
    objective: str | cp.Divergence = "dora",
    penalty: float | None = None,
    radius: float | None = None,
    level: float | None = None,
    divergence: cp.Divergence | None = None,
    prior: Tensor | None = None,
) -> Tensor:
    """Return the robust objective of one batch as a scalar whose gradient is the objective's.

    Parameters
    ----------
    losses : Tensor, shape (..., n)
        Per-example losses; leading axes are separate problems, whose objectives are averaged.
    ratio : Tensor, shape broadcastable to the losses', optional
        dTarget/dTrain, for the objectives that use it.
    objective, penalty, radius, level, divergence
        See `Recipe`.
    prior : Tensor, shape broadcastable to the losses', optional
        Non-negative masses; zero masks.

    Returns
    -------
    Tensor, scalar
        Equal to the objective; its gradient in the losses is the weights.

    Raises
    ------
    RuntimeError
        For a NaN loss or another bad value, naming the row.
    TypeError, ValueError
        For wrong dtypes, shapes, devices, or amounts that do not fit the objective.

    Examples
    --------
    >>> import torch
    >>> losses = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> loss = robust_loss(losses, objective="kl_dro", penalty=1.0)
    >>> loss.backward()
    >>> loss.item(), losses.grad
    (0.62011..., tensor([0.2689, 0.7311]))
    """
    recipe = Recipe(objective, penalty, radius, level, divergence)
    result = recipe(_constant(losses), ratio, prior=prior)
    return _attach(losses, result.weights, result.value).mean()


def _constant(losses: Tensor) -> Tensor:
    """Cut the losses from autograd."""
    if not isinstance(losses, Tensor):
        raise TypeError(f"losses is a {type(losses).__name__}; a torch tensor, one loss an example, is needed")
    return losses.detach()


def _attach(losses: Tensor, weights: Tensor, value: Tensor) -> Tensor:
    """Return ``value``, with gradient ``weights`` in the losses."""
    # a masked loss may be infinite or NaN: it must not meet a weight of 0
    live = torch.where(weights == 0, 0.0, losses)
    linear = (weights * live).sum(-1)
    return linear + (value - linear).detach()


class RobustLoss(nn.Module):
    """Minimise a robust objective over a micro-batch, an optimiser step, or a step over all ranks.

    Weights are computed from detached losses and held constant, so the gradient is exact (Danskin) and costs nothing;
    the reported value is the objective itself.

    Parameters
    ----------
    objective, penalty, radius, level, divergence
        See `Recipe`.
    scope : {"microbatch", "step", "world"}
        Over which examples the objective is taken. "microbatch": the losses of one call. "step": all micro-batches
        that were observed since the last step. "world": those of all ranks too. The last two need a first pass
        without gradient: `over` does both, `observe` is the first alone.
    group : ProcessGroup, optional
        For ``scope="world"``; the default group when None.

    Notes
    -----
    For "step" and "world" the returned losses follow the convention of a mean: average them over the micro-batches
    (``loss / accumulation``) and let data parallelism average over the ranks, and the gradient is that of the one
    objective over all examples, as on a single process with one large batch. Every micro-batch reports the value of
    the whole step. Under "step" with several ranks each rank has an objective of its own, and their mean is trained:
    a less robust objective than "world".

    Examples
    --------
    >>> import torch
    >>> losses = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    >>> RobustLoss("dora", penalty=1.0)(losses, torch.tensor([2.0, 1.0, 0.5])).item()
    0.763382
    """

    def __init__(
        self,
        objective: str | cp.Divergence = "dora",
        *,
        penalty: float | None = None,
        radius: float | None = None,
        level: float | None = None,
        divergence: cp.Divergence | None = None,
        scope: Scope = "microbatch",
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        if scope not in ("microbatch", "step", "world"):
            raise ValueError(f"scope is {scope!r}; it is 'microbatch', 'step' or 'world'")
        self.recipe = Recipe(objective, penalty, radius, level, divergence)
        self.scope: Scope = scope
        self.group = group
        self._observed: list[tuple[Tensor, Tensor | None, Tensor | None]] = []
        self._window: _Window | None = None
        self._taken = 0
        self._warned = False

    def extra_repr(self) -> str:
        """Show the recipe and scope in ``print(module)``."""
        return f"{self.recipe!r}, scope={self.scope!r}"

    @torch.no_grad()
    def observe(self, losses: Tensor, ratio: Tensor | None = None, *, prior: Tensor | None = None) -> None:
        """First pass of a step: note a micro-batch's losses, shape (n,), and whatever `forward` will be given.

        Call it for every micro-batch, in the order of the second pass and with the same example sizes, with dropout
        off or equal in both passes.
        """
        if self.scope == "microbatch":
            raise RuntimeError("scope='microbatch' observes nothing; use scope='step' or 'world' for two passes")
        if self._window is not None:
            raise RuntimeError(
                f"observe was called after {self._taken} of {len(self._window.weights)} micro-batches of a step; "
                "finish its forward passes, or call reset()"
            )
        if losses.ndim != 1:
            raise ValueError(
                f"losses have shape {tuple(losses.shape)}; scope={self.scope!r} takes one axis of examples"
            )
        # copies: the next micro-batch may be written over this one, by a loop that reuses a buffer or by a CUDA graph
        spread = [None if a is None else a.detach().expand(losses.shape).clone() for a in (ratio, prior)]
        self._observed.append((losses.detach().clone(), spread[0], spread[1]))

    def reset(self) -> None:
        """Forget an unfinished step."""
        self._observed, self._window, self._taken = [], None, 0

    def forward(self, losses: Tensor, ratio: Tensor | None = None, *, prior: Tensor | None = None) -> Tensor:
        """Return the scalar to call ``backward`` on.

        Parameters
        ----------
        losses : Tensor, shape (..., n), or (n,) unless scope is "microbatch"
            Per-example losses; leading axes are separate problems, whose objectives are averaged.
        ratio, prior : Tensor, shape broadcastable to the losses', optional
            See `Recipe`.
        """
        if self.scope == "microbatch":
            constant = _constant(losses)
            self._warn_if_single(losses.shape[-1] if losses.ndim else 1)
            result = self.recipe(constant, ratio, prior=prior)
            return _attach(losses, result.weights, result.value).mean()
        if self._window is None:
            self._window = self._solve()
        window, turn = self._window, self._taken
        weights = window.weights[turn]
        if weights.shape != losses.shape:
            raise RuntimeError(
                f"micro-batch {turn} of the step has losses of shape {tuple(losses.shape)}, but {tuple(weights.shape)} "
                "was observed; make both passes over the same micro-batches in the same order, or call reset()"
            )
        self._taken += 1
        if self._taken == len(window.weights):
            self.reset()
        return _attach(losses, weights, window.value)

    def over(
        self, microbatches: Iterable[Any], losses_of: Callable[[Any], Tensor | tuple[Tensor, Tensor | None]]
    ) -> Iterator[Tensor]:
        """Do both passes of a step; yield one loss a micro-batch, to be divided by their number.

        Parameters
        ----------
        microbatches : iterable
            The step's micro-batches; held in a list.
        losses_of : callable
            Maps a micro-batch to its losses (n,), or to losses and ratio. Called twice for each unless scope is
            "microbatch": first without gradient.
        """
        held = list(microbatches)

        def arguments(microbatch: Any) -> tuple[Tensor, Tensor | None]:
            out = losses_of(microbatch)
            return out if isinstance(out, tuple) else (out, None)

        if self.scope != "microbatch":
            with torch.no_grad():
                for microbatch in held:
                    self.observe(*arguments(microbatch))
        for microbatch in held:
            yield self(*arguments(microbatch))

    def _solve(self) -> _Window:
        """Fix the weights of the observed step, scaled so that a mean over micro-batches (and ranks) is their sum."""
        if not self._observed:
            raise RuntimeError(
                f"scope={self.scope!r} needs a first pass: call observe(losses, ...) for every micro-batch of the step "
                "before the first forward, or iterate over(microbatches, losses_of)"
            )
        columns = list(zip(*self._observed, strict=True))
        sizes = [losses.shape[0] for losses, _, _ in self._observed]
        if any(any(a is None for a in column) and not all(a is None for a in column) for column in columns):
            raise RuntimeError(
                "some micro-batches of the step have a ratio or prior and some have none; give it to all"
            )
        losses = torch.cat(columns[0])
        ratio, prior = (None if column[0] is None else torch.cat(column) for column in columns[1:])
        part, scale = slice(None), float(len(sizes))
        if self.scope == "world":
            if not dist.is_initialized():
                raise RuntimeError(
                    "scope='world' needs torch.distributed.init_process_group; use scope='step' on one process"
                )
            losses, part = gather(losses, self.group)
            ratio, prior = (None if a is None else gather(a, self.group)[0] for a in (ratio, prior))
            scale *= dist.get_world_size(self.group)
        self._warn_if_single(losses.shape[0])
        result = self.recipe(losses, ratio, prior=prior)
        return _Window(result.value, list(torch.split(result.weights[part] * scale, sizes)))

    def _warn_if_single(self, examples: int) -> None:
        if examples == 1 and self.recipe.tilts and not self._warned:
            self._warned = True
            warnings.warn(
                f"the objective {self.recipe.objective!r} sees a single example, over which any tilt is the identity: "
                "this trains without robustness. Use scope='step' or 'world', or a larger micro-batch",
                stacklevel=3,
            )
