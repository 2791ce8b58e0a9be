"""Launching the kernels on rows; what is prepared for a kind of them is kept."""

# mypy: ignore-errors
from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import torch

from .._spec import Rows, Spec, Weighed
from .direct import POINTER
from .plans import pull_plan
from .table import Launch
from .weighing import Weighing

_PLANS: dict[tuple, Any] = {}
MOST = 4096
"""Plans that are kept; beyond, all are forgotten, and what was compiled for them is not."""


def _kept(key: tuple, plan: Any) -> Any:
    if len(_PLANS) >= MOST:
        _PLANS.clear()
    return _PLANS.setdefault(key, plan)


def _adjacent(a: torch.Tensor | None) -> torch.Tensor | None:
    """Return an array that lies in memory as it reads, its atoms adjacent."""
    if a is None:
        return None
    a = a.resolve_neg()
    return a if a.stride(-1) == 1 or a.shape[-1] == 1 else a.contiguous()


def _described(a: torch.Tensor | None) -> tuple | None:
    return None if a is None else (a.dtype, a.shape, a.stride())


def weigh_rows(spec: Spec, rows: Rows, launch: Launch | None = None) -> Weighed:
    """Run the forward kernel."""
    rows = Rows(*map(_adjacent, rows))
    key = (spec.family, spec.exponent, spec.dtype, launch, rows.scores.device, *map(_described, rows))
    weighing = _PLANS.get(key) or _kept(key, Weighing(spec, rows, rows.scores.shape[:1], launch))
    return weighing.weighed(rows, (float(spec.amount), float(spec.cap)))


def weighing_of(spec: Spec, rows: Rows, batch: tuple[int, ...], rated: bool) -> Weighing | None:
    """Return what solves all rows of this kind into results of the batch's shape; None where it would copy them."""
    adjacent = all(a is b for a, b in zip(rows, map(_adjacent, rows), strict=True))
    return Weighing(spec, rows, batch, rated=rated) if adjacent and rows.scores.numel() else None


def pull_rows(
    spec: Spec, rows: Rows, weights: torch.Tensor, numbers: torch.Tensor, up: torch.Tensor, forward: bool,
    launch: Launch | None = None,
) -> torch.Tensor:  # fmt: skip
    """Run the backward kernel."""
    scores, prior, caps = _adjacent(rows.scores), _adjacent(rows.prior), _adjacent(rows.caps)
    up = _adjacent(up if up.shape == scores.shape else up.expand(scores.shape))
    weights, numbers = weights.contiguous(), numbers.contiguous()
    arrays = (up, weights, scores, prior, caps)
    family, _, cap, exponent, _, _ = spec
    key = (family, exponent, forward, launch, scores.get_device(), *map(_described, arrays))
    plan, allocate = _PLANS.get(key) or _kept(key, pull_plan(spec, arrays, forward, launch))
    if plan.elsewhere():
        with torch.cuda.device(plan.device):
            return pull_rows(spec, rows, weights, numbers, up, forward, launch)
    inputs, floats, out = (*[scores if a is None else a for a in arrays], numbers), (float(cap),), allocate()
    pointers = (*map(POINTER, inputs), POINTER(out))
    if not plan.launch(pointers, reduce(or_, pointers), *floats):
        plan.by_triton(inputs, (out,), *floats)
    return out
