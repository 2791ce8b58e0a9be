"""Calls like one before: what was asked of that one's arguments, and made of them, is not asked and made again.

Checks read types, dtypes, shapes, devices and who requires grad, never values. So a call that shares all of these, and
the strides, with one that went to the Triton kernels goes straight to the launch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._launch import weighing_of
from ._spec import Options, Rows, Spec

MOST = 4096
"""Kinds of calls that are kept; beyond, all are forgotten."""
_SEEN: dict[tuple[Any, ...], Seen] = {}
_TENSORS = (Tensor, torch.nn.Parameter)
_NUMBERS = (float, int)
_Number = float | Tensor


class Seen(NamedTuple):
    """What is kept of a call; ``weighing`` runs the kernel for arguments that differ in their values only."""

    weighing: Any
    spec: Spec
    """The first call's; of its numbers the backward kernel reads the cap alone."""
    whole: bool
    """Whether the scores have the results' shape: others' gradients are sums over what they are broadcast along."""

    def read(
        self, scores: Tensor, options: Options, amount: _Number, cap: _Number
    ) -> tuple[tuple[Tensor, ...], float, float]:
        """Return the arrays that the kernel reads, as `_triton.call` lists them, and the two numbers."""
        if self.weighing.alone:
            return (scores,), float(amount), float(cap)
        others = (options[0], options[1], cap, options[2], amount)
        arrays = (scores, *[a if isinstance(a, Tensor) else scores for a in others])
        return (
            arrays, 0.0 if isinstance(amount, Tensor) else float(amount),
            1.0 if isinstance(cap, Tensor) else float(cap),
        )  # fmt: skip


def key_of(
    scores: Any, family: str, options: Options, amount: _Number, cap: _Number, exponent: float
) -> tuple[Any, ...]:
    """Return all that a check could ask of the arguments; a subclass of tensors may be anything."""
    prior, mask, lengths, out_dtype, impl = options
    if type(scores) not in _TENSORS or scores.is_neg():
        return (type(scores),)
    key = (family, exponent, out_dtype, impl, scores.dtype, scores.shape, scores.stride(), scores.device)
    if prior is None and mask is None and lengths is None and type(amount) in _NUMBERS and type(cap) in _NUMBERS:
        return key
    known: list[Any] = [*key, torch.is_grad_enabled()]
    others: tuple[Any, ...] = (prior, mask, lengths, amount, cap)
    for a in others:
        if type(a) in _TENSORS and not a.is_neg():
            known += (a.dtype, a.shape, a.stride(), a.device, a.requires_grad)
        else:
            known.append(type(a))
    return tuple(known)


def seen(key: tuple[Any, ...] | None) -> Seen | None:
    """Return what was kept of such a call."""
    try:
        return _SEEN.get(key)  # type: ignore[arg-type]
    except TypeError:  # an option that cannot be hashed: the check says what is wrong with it
        return None


def remember(key: tuple[Any, ...], given: tuple[Any, ...], spec: Spec, rows: Rows, batch: tuple[int, ...]) -> None:
    """Keep a call that passed the checks, if it went to the Triton kernels and its rows are no copies of the given."""
    pairs = [(a, row) for a, row in zip(given, rows, strict=True) if row is not None]
    if any(type(a) not in _TENSORS or a.is_neg() or a.data_ptr() != row.data_ptr() for a, row in pairs):
        return
    weighing = weighing_of(spec, rows, batch)
    if weighing is None:
        return
    if len(_SEEN) >= MOST:
        _SEEN.clear()
    _SEEN[key] = Seen(weighing, spec, tuple(given[0].shape) == (*batch, rows.scores.shape[1]))
