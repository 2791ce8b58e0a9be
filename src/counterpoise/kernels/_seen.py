"""Calls like one before: what was asked of that one's arguments, and made of them, is not asked and made again.

Checks read types, dtypes, shapes, devices and who requires grad, never values. So a call that shares all of these, and
the strides, with one that went to the Triton kernels goes straight to the launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._launch import weighing_of
from ._op import differentiated, eager
from ._spec import Options, Rows, Spec

Again = Callable[[Tensor, Options, float | Tensor, float | Tensor], Any]
"""Solves scores, options, an amount and a cap that differ from a call before in their values only."""
MOST = 4096
"""Kinds of calls that are kept; beyond, all are forgotten."""
_SEEN: dict[tuple[Any, ...], Again] = {}
_TENSORS = (Tensor, torch.nn.Parameter)
_NUMBERS = (float, int)


def seen(
    scores: Any, family: str, options: Options, amount: float | Tensor, cap: float | Tensor, exponent: float
) -> tuple[tuple[Any, ...] | None, Again | None]:
    """Return all that a check could ask of the arguments, None where that is not all, and what solves such again.

    Under a transform or a compiler nothing is known; a subclass of tensors may be anything.
    """
    prior, mask, lengths, out_dtype, impl = options
    if not eager() or type(scores) not in _TENSORS or scores.is_neg():
        return None, None
    key: tuple[Any, ...] = (
        family, exponent, out_dtype, impl, scores.dtype, scores.shape, scores.is_contiguous() or scores.stride(),
        scores.get_device(), scores.requires_grad and torch.is_grad_enabled(),
    )  # fmt: skip
    alone = prior is None and mask is None and lengths is None
    if not (alone and type(amount) in _NUMBERS and type(cap) in _NUMBERS):
        key = (*key, torch.is_grad_enabled(), *map(_kind, (prior, mask, lengths, amount, cap)))
    try:
        return key, _SEEN.get(key)
    except TypeError:  # an option that cannot be hashed: the check says what is wrong with it
        return None, None


def _kind(a: Any) -> Any:
    if type(a) in _TENSORS and not a.is_neg():
        return a.dtype, a.shape, a.stride(), a.device, a.requires_grad
    return type(a)


def remember(
    key: tuple[Any, ...] | None, given: tuple[Any, ...], spec: Spec, rows: Rows, batch: tuple[int, ...],
    again: Callable[[Any, Spec, bool], Again],
) -> None:  # fmt: skip
    """Keep a call that passed the checks, if it went to the Triton kernels and its rows are no copies of the given."""
    if key is None or any(
        type(a) not in _TENSORS or a.is_neg() or a.data_ptr() != row.data_ptr()
        for a, row in zip(given, rows, strict=True)
        if row is not None
    ):
        return
    rated = differentiated(rows.scores)
    if rated and given[0].shape != (*batch, rows.scores.shape[1]):
        return  # others' gradients are sums over what they are broadcast along
    weighing = weighing_of(spec, rows, batch, rated)
    if weighing is None:
        return
    if len(_SEEN) >= MOST:
        _SEEN.clear()
    _SEEN[key] = again(weighing, spec, rated)
