"""From rows and a spec to what a kernel is compiled for: strides, flags, tiles."""

# mypy: ignore-errors
from __future__ import annotations

from collections.abc import Callable

import torch

from .._spec import Rows, Spec
from . import families as f
from . import pull as p
from . import tile as t
from .direct import Plan, allocator
from .table import Launch, launch_for, sort_of
from .weigh import weigh_kernel

_FAMILY = {
    "chi_square_penalty": f.CHI_PENALTY, "chi_square_ball": f.CHI_BALL, "kl_penalty": f.KL_PENALTY,
    "kl_ball": f.KL_BALL, "power_penalty": f.POWER_PENALTY, "cvar": f.CVAR, "entmax": f.ENTMAX,
    "project_simplex": f.PROJECT_SIMPLEX, "project_ball": f.PROJECT_BALL,
    "project_capped_simplex": f.CAPPED_SIMPLEX,
}  # fmt: skip


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


def inputs_of(rows: Rows) -> tuple[torch.Tensor, ...]:
    """Return what the forward kernel reads: in place of an absent array the scores, which it does not read there."""
    scores, prior, mask, lengths, amounts, caps = rows
    return tuple([scores if a is None else a for a in (scores, prior, mask, caps, lengths, amounts)])


def weigh_constants(spec: Spec, rows: Rows, launch: Launch) -> dict[str, int]:
    """Return the forward kernel's constants, in order."""
    return {
        "FAMILY": family_of(spec)[0], "FLAGS": flags_of(spec, rows, launch), "PER_ROW": rows.amounts is not None,
        "HAS_LENGTHS": rows.lengths is not None, "DETAILS": not (spec.metric or spec.family == "entmax"),
        "ROWS": launch.rows, "WIDTH": launch.width, "BLOCK": launch.block,
    }  # fmt: skip


def weigh_plan(spec: Spec, rows: Rows, launch: Launch | None) -> Plan:
    """Return how the forward kernel is launched for rows that are adjacent."""
    scores, prior, mask, lengths, _, caps = rows
    count, n = scores.shape
    loaded = prior is not None or mask is not None or lengths is not None
    launch = launch or launch_for(n, sort_of(spec.family, spec.exponent), not loaded and caps is None)
    dtypes = tuple(torch.uint8 if a.dtype == torch.bool else a.dtype for a in inputs_of(rows))
    wide = torch.float32
    return Plan(
        weigh_kernel, scores.device, -(-count // launch.rows), dtypes, (spec.dtype, wide, wide, torch.int32),
        (count, n, *map(_step, (scores, prior, mask, caps))), (float(spec.exponent), family_of(spec)[1]),
        weigh_constants(spec, rows, launch), launch.options(loaded),
    )  # fmt: skip


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


def pull_constants(spec: Spec, rows: Rows, forward: bool, launch: Launch) -> dict[str, int]:
    """Return the backward kernel's constants, in order."""
    kind, flags = pull_flags(spec, rows, forward, launch)
    return {
        "KIND": kind, "PULL_FLAGS": flags, "LOOPS": launch.looped, "ROWS": launch.rows, "WIDTH": launch.width,
        "BLOCK": launch.block,
    }  # fmt: skip


def pull_plan(
    spec: Spec, arrays: tuple[torch.Tensor | None, ...], forward: bool, launch: Launch | None
) -> tuple[Plan, Callable[[], torch.Tensor]]:
    """Return how the backward kernel is launched, and what allocates its result."""
    up, _, scores, prior, caps = arrays
    count, n = scores.shape
    launch = launch or launch_for(n, sort_of(spec.family, spec.exponent))
    constants = pull_constants(spec, Rows(scores, prior, None, None, None, caps), forward, launch)
    dtypes = (*[scores.dtype if a is None else a.dtype for a in arrays], torch.float32)
    plan = Plan(
        p.pull_kernel, scores.device, -(-count // launch.rows), dtypes, (scores.dtype,),
        (count, n, *map(_step, (up, scores, prior, caps))),
        (float(spec.exponent - 1), int(spec.family != "project_ball")), constants, launch.options(),
    )  # fmt: skip
    return plan, allocator(tuple(scores.shape), scores.dtype, scores.device)
