"""Launching the kernels: from rows and a spec to pointers, strides and flags."""

# mypy: ignore-errors
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from .._spec import Rows, Spec, Weighed
from . import families as f
from . import pull as p
from . import tile as t
from .table import Launch, launch_for, sort_of
from .weigh import weigh_kernel

_FAMILY = {
    "chi_square_penalty": f.CHI_PENALTY, "chi_square_ball": f.CHI_BALL, "kl_penalty": f.KL_PENALTY,
    "kl_ball": f.KL_BALL, "power_penalty": f.POWER_PENALTY, "cvar": f.CVAR, "entmax": f.ENTMAX,
    "project_simplex": f.PROJECT_SIMPLEX, "project_ball": f.PROJECT_BALL,
    "project_capped_simplex": f.CAPPED_SIMPLEX,
}  # fmt: skip


def _by_rows(a: torch.Tensor | None, like: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return an array whose atoms are adjacent and its stride from row to row, 0 where all rows share one."""
    if a is None:
        return like, 0
    if a.shape[1] > 1 and a.stride(1) != 1:
        a = a.contiguous()
    return a, 0 if a.shape[0] == 1 else a.stride(0)


def family_of(spec: Spec) -> tuple[int, float]:
    """Return the kernel's family and f''(1): at exponent 2 the power family is half of χ²."""
    if spec.exponent == 2 and spec.family == "power_penalty":
        return f.CHI_PENALTY.value, 1.0
    if spec.exponent == 2 and spec.family == "entmax":
        return f.PROJECT_SIMPLEX.value, 2.0
    return _FAMILY[spec.family].value, 2.0


def _device_of(scores: torch.Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device, which may be another than the scores'."""
    if scores.is_cuda and scores.get_device() != torch.cuda.current_device():
        return torch.cuda.device(scores.device)
    return nullcontext()


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
    scores, stride = _by_rows(rows.scores, rows.scores)
    count, n = scores.shape
    launch = launch or launch_for(n, sort_of(spec.family, spec.exponent))
    prior, prior_stride = _by_rows(rows.prior, scores)
    mask, mask_stride = _by_rows(rows.mask, scores)
    caps, caps_stride = _by_rows(rows.caps, scores)
    device = scores.device
    weights = torch.empty((count, n), dtype=spec.dtype, device=device)
    value = torch.empty(count, dtype=torch.float32, device=device)
    numbers = torch.empty((4, count), dtype=torch.float32, device=device)
    status = torch.empty(count, dtype=torch.int32, device=device)
    family, curvature = family_of(spec)
    if count:
        with _device_of(scores):
            weigh_kernel[(-(-count // launch.rows),)](
                scores, prior, mask.view(torch.uint8) if rows.mask is not None else scores, caps,
                scores if rows.lengths is None else rows.lengths.contiguous(),
                scores if rows.amounts is None else rows.amounts.contiguous(),
                weights, value, numbers, status, count, n, stride, prior_stride, mask_stride, caps_stride,
                float(spec.amount), float(spec.cap), float(spec.exponent), curvature,
                FAMILY=family, FLAGS=flags_of(spec, rows, launch), PER_ROW=rows.amounts is not None,
                HAS_LENGTHS=rows.lengths is not None,
                DETAILS=not (spec.metric or spec.family == "entmax"),
                ROWS=launch.rows, WIDTH=launch.width, BLOCK=launch.block,
                **launch.options(any(a is not None for a in rows[1:4])),
            )  # fmt: skip
    return Weighed(weights, value, numbers, status)


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
    scores, stride = _by_rows(rows.scores, rows.scores)
    count, n = scores.shape
    launch = launch or launch_for(n, sort_of(spec.family, spec.exponent))
    up = up.expand(count, n)
    up = up if n == 1 or up.stride(1) == 1 else up.contiguous()
    prior, prior_stride = _by_rows(rows.prior, scores)
    caps, caps_stride = _by_rows(rows.caps, scores)
    out = torch.empty((count, n), dtype=scores.dtype, device=scores.device)
    kind, flags = pull_flags(spec, rows, forward, launch)
    if count:
        with _device_of(scores):
            p.pull_kernel[(-(-count // launch.rows),)](
                up, weights.contiguous(), scores, prior, caps, numbers.contiguous(), out, count, n, up.stride(0),
                stride, prior_stride, caps_stride, float(spec.cap), float(spec.exponent - 1),
                int(spec.family != "project_ball"), KIND=kind, PULL_FLAGS=flags, LOOPS=launch.looped,
                ROWS=launch.rows, WIDTH=launch.width, BLOCK=launch.block, **launch.options(),
            )  # fmt: skip
    return out
