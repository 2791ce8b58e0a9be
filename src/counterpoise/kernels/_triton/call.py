"""Launching the kernels: from rows and a spec to pointers, strides and flags."""

# mypy: ignore-errors
from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

import torch

from .._spec import Rows, Spec, Weighed, flat
from . import families as f
from . import pull as p
from . import tile as t
from .direct import POINTER, Plan, allocator
from .table import Launch, launch_for, sort_of
from .weigh import weigh_kernel

_FAMILY = {
    "chi_square_penalty": f.CHI_PENALTY, "chi_square_ball": f.CHI_BALL, "kl_penalty": f.KL_PENALTY,
    "kl_ball": f.KL_BALL, "power_penalty": f.POWER_PENALTY, "cvar": f.CVAR, "entmax": f.ENTMAX,
    "project_simplex": f.PROJECT_SIMPLEX, "project_ball": f.PROJECT_BALL,
    "project_capped_simplex": f.CAPPED_SIMPLEX,
}  # fmt: skip
_PLANS: dict[tuple, Any] = {}
split = torch.unsafe_split_with_sizes
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


def _step(a: torch.Tensor | None) -> int:
    """Return an array's stride from row to row, 0 where all rows share one."""
    return 0 if a is None or a.shape[0] == 1 else a.stride(0)


def family_of(spec: Spec) -> tuple[int, float]:
    """Return the kernel's family and f''(1): at exponent 2 the power family is half of χ²."""
    if spec.exponent == 2 and spec.family == "power_penalty":
        return f.CHI_PENALTY.value, 1.0
    if spec.exponent == 2 and spec.family == "entmax":
        return f.PROJECT_SIMPLEX.value, 2.0
    return _FAMILY[spec.family].value, 2.0


def _full(rows: Rows, launch: Launch) -> bool:
    """Whether every tile is full."""
    count, n = rows.scores.shape
    return n % launch.block == 0 and count % launch.rows == 0 and rows.lengths is None


def flags_of(spec: Spec, rows: Rows, launch: Launch) -> int:
    """Return the forward kernel's FLAGS."""
    given = (rows.prior is not None, rows.mask is not None, rows.caps is not None, spec.metric)
    bits = (t.PRIOR, t.MASK, t.CAPS, t.METRIC)
    flags = sum(bit.value for bit, on in zip(bits, given, strict=True) if on)
    flags += t.CAPPED.value * (spec.family == "project_capped_simplex")
    flags += t.SQUARED.value * (spec.exponent == 1.5 and spec.family in ("power_penalty", "entmax"))
    return flags + t.LOOPED.value * launch.looped + t.FULL.value * _full(rows, launch)


def weigh_rows(spec: Spec, rows: Rows, launch: Launch | None = None) -> Weighed:
    """Run the forward kernel."""
    rows = Rows(*map(_adjacent, rows))
    key = (spec.family, spec.exponent, spec.dtype, launch, rows.scores.device, *map(_described, rows))
    weighing = _PLANS.get(key) or _kept(key, Weighing(spec, rows, rows.scores.shape[:1], launch))
    return weighing.weighed(rows, (float(spec.amount), float(spec.cap)))


def weighing_of(spec: Spec, rows: Rows, batch: tuple[int, ...]) -> Weighing | None:
    """Return what solves all rows of this kind into results of the batch's shape; None where it would copy them."""
    adjacent = all(a is b for a, b in zip(rows, map(_adjacent, rows), strict=True))
    return Weighing(spec, rows, batch) if adjacent and rows.scores.numel() else None


def _inputs(rows: Rows) -> tuple[torch.Tensor, ...]:
    """Return what the kernel reads: in place of an absent array the scores, which it does not read there."""
    scores, prior, mask, lengths, amounts, caps = rows
    return tuple([scores if a is None else a for a in (scores, prior, mask, caps, lengths, amounts)])


class Weighing:
    """The forward kernel for calls whose arguments differ in their values only.

    Multiplier, shift, gap, rate, value and status lie in one allocation, the table, as an allocation takes longer than
    a view. Nobody holds weights by holding one of these.
    """

    __slots__ = (
        "alone", "numbers", "plan", "pulls", "sizes", "status", "status_at", "table", "value", "value_at", "weights"
    )  # fmt: skip

    def __init__(self, spec: Spec, rows: Rows, batch: tuple[int, ...], launch: Launch | None = None) -> None:
        """Prepare for rows that are adjacent, and results in the shape of the batch."""
        scores, prior, mask, lengths, amounts, caps = rows
        count, n = scores.shape
        loaded = prior is not None or mask is not None or lengths is not None
        plain = not loaded and caps is None
        self.alone = plain and amounts is None
        launch = launch or launch_for(n, sort_of(spec.family, spec.exponent), plain)
        family, curvature = family_of(spec)
        constants = {
            "FAMILY": family, "FLAGS": flags_of(spec, rows, launch), "PER_ROW": amounts is not None,
            "HAS_LENGTHS": lengths is not None, "DETAILS": not (spec.metric or spec.family == "entmax"),
            "ROWS": launch.rows, "WIDTH": launch.width, "BLOCK": launch.block,
        }  # fmt: skip
        dtypes = tuple(torch.uint8 if a.dtype == torch.bool else a.dtype for a in _inputs(rows))
        wide = torch.float32
        self.plan = Plan(
            weigh_kernel, scores.device, -(-count // launch.rows), dtypes, (spec.dtype, wide, wide, torch.int32),
            (count, n, *map(_step, (scores, prior, mask, caps))), (float(spec.exponent), curvature), constants,
            launch.options(loaded),
        )  # fmt: skip
        self.weights, self.value, self.numbers, self.status = (
            allocator(shape, dtype, scores.device)
            for shape, dtype in (
                ((*batch, n), spec.dtype), (batch, wide), ((4, *batch), wide), (batch, torch.int32),
            )
        )  # fmt: skip
        first, *others = batch or (1,)
        each = math.prod(others)
        unused = -(5 * first) % (4 // math.gcd(4, each))  # pointers are multiples of 16 bytes, as Triton likes them
        self.table = allocator((6 * first + unused, *others), wide, scores.device)
        self.sizes = (*[first] * 5, *[unused] * (unused > 0), first) if batch else None
        self.pulls = {}
        self.value_at, self.status_at = 16 * count, 4 * each * (5 * first + unused)

    def run(self, arrays: tuple, amount: float, cap: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights and the table; ``arrays`` are what the kernel reads, or scores alone."""
        plan = self.plan
        if plan.elsewhere():
            with torch.cuda.device(plan.device):
                return self.run(arrays, amount, cap)
        weights, table = self.weights(), self.table()
        out, at = POINTER(weights), POINTER(table)
        if self.alone:
            read = POINTER(arrays[0])
            pointers = (read, read, read, read, read, read, out, at + self.value_at, at, at + self.status_at)
            bits = read | out | at
        else:
            pointers = (*map(POINTER, arrays), out, at + self.value_at, at, at + self.status_at)
            bits = reduce(or_, pointers)
        if not plan.launch(pointers, bits, amount, cap):
            value, _, _, _, status = self.parts(table)
            plan.by_triton(arrays * (6 // len(arrays)), (weights, value, table, status), amount, cap)
        return weights, table

    def parts(self, table: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return value, multiplier, shift, gap and status out of the table; to autograd they are no views of it."""
        parts = split(table, self.sizes) if self.sizes else [a.data for a in table.unbind()]
        return parts[4], parts[0], parts[1], parts[2], parts[-1].view(torch.int32)

    def weighed(self, rows: Rows, floats: tuple[float, ...]) -> Weighed:
        """Return all in arrays of their own."""
        if self.plan.elsewhere():
            with torch.cuda.device(self.plan.device):
                return self.weighed(rows, floats)
        inputs = _inputs(rows)
        outputs = Weighed(self.weights(), self.value(), self.numbers(), self.status())
        pointers = (*map(POINTER, inputs), *map(POINTER, outputs))
        if not self.plan.launch(pointers, reduce(or_, pointers), *floats):
            self.plan.by_triton(inputs, outputs, *floats)
        return outputs

    def pull(
        self, spec: Spec, numbers: torch.Tensor, up: torch.Tensor, scores: torch.Tensor, weights: torch.Tensor,
        prior: torch.Tensor | None, caps: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        """Return the gradient of this kind's scores from that of the weights, which is contiguous."""
        plan, allocate = self.pulls.get(up.dtype) or self._pull(spec, up, scores, weights, prior, caps)
        if plan.elsewhere():
            with torch.cuda.device(plan.device):
                return self.pull(spec, numbers, up, scores, weights, prior, caps)
        inputs = (up, weights, scores, scores if prior is None else prior, scores if caps is None else caps, numbers)
        out = allocate()
        pointers = (*map(POINTER, inputs), POINTER(out))
        if not plan.launch(pointers, reduce(or_, pointers), spec.cap):
            plan.by_triton(inputs, (out,), spec.cap)
        return out

    def _pull(self, spec: Spec, *arrays: torch.Tensor | None) -> tuple[Plan, Callable[[], torch.Tensor]]:
        shape = arrays[1].shape
        rows = tuple([None if a is None else flat(a, shape) for a in arrays])
        up, scores, weights, prior, caps = rows
        plan, _ = _pull_plan(spec, (up, weights, scores, prior, caps), False, None)
        return self.pulls.setdefault(up.dtype, (plan, allocator(tuple(shape), scores.dtype, scores.device)))


def pull_flags(spec: Spec, rows: Rows, forward: bool, launch: Launch) -> tuple[int, int]:
    """Return the backward kernel's KIND and PULL_FLAGS."""
    kind = p.FLAT
    if spec.family.startswith("kl"):
        kind = p.EXPONENTIAL
    elif spec.family == "project_capped_simplex":
        kind = p.UNDER_CAP
    elif spec.family in ("entmax", "power_penalty") and spec.exponent < 2:
        kind = p.ROOTED if spec.exponent == 1.5 else p.POWERED
    reads = rows.prior is not None and kind.value != p.EXPONENTIAL.value
    flags = p.HAS_PRIOR.value * reads + p.HAS_CAPS.value * (rows.caps is not None)
    flags += p.BALL.value * spec.family.endswith("ball")
    if spec.metric and reads:
        flags += p.DIVIDE_BEFORE.value if forward else p.DIVIDE_AFTER.value
    return kind.value, flags + p.WHOLE.value * _full(rows, launch)


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
    plan, allocate = _PLANS.get(key) or _kept(key, _pull_plan(spec, arrays, forward, launch))
    if plan.elsewhere():
        with torch.cuda.device(plan.device):
            return pull_rows(spec, rows, weights, numbers, up, forward, launch)
    inputs, floats, out = (*[scores if a is None else a for a in arrays], numbers), (float(cap),), allocate()
    pointers = (*map(POINTER, inputs), POINTER(out))
    if not plan.launch(pointers, reduce(or_, pointers), *floats):
        plan.by_triton(inputs, (out,), *floats)
    return out


def _pull_plan(
    spec: Spec, arrays: tuple[torch.Tensor | None, ...], forward: bool, launch: Launch | None
) -> tuple[Plan, Callable[[], torch.Tensor]]:
    up, _, scores, prior, caps = arrays
    count, n = scores.shape
    launch = launch or launch_for(n, sort_of(spec.family, spec.exponent))
    kind, flags = pull_flags(spec, Rows(scores, prior, None, None, None, caps), forward, launch)
    constants = {
        "KIND": kind, "PULL_FLAGS": flags, "LOOPS": launch.looped, "ROWS": launch.rows, "WIDTH": launch.width,
        "BLOCK": launch.block,
    }  # fmt: skip
    dtypes = (*[scores.dtype if a is None else a.dtype for a in arrays], torch.float32)
    plan = Plan(
        p.pull_kernel, scores.device, -(-count // launch.rows), dtypes, (scores.dtype,),
        (count, n, *map(_step, (up, scores, prior, caps))),
        (float(spec.exponent - 1), int(spec.family != "project_ball")), constants, launch.options(),
    )  # fmt: skip
    return plan, allocator(tuple(scores.shape), scores.dtype, scores.device)
