"""The families as the tests call them, beside the core's verb that each must equal, and rows to try them on."""

import importlib.util
import math
import os
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import counterpoise as cp
from counterpoise import kernels
from counterpoise.kernels._spec import FAMILIES as NAMES
from counterpoise.kernels._triton.table import sort_of

SORTS = sorted({sort_of(name, exponent) for name in NAMES for exponent in (1.2, 1.5, 2)})
"""Names in the launch table: a family's, or of the powers that take a logarithm of every atom."""


def need_compiler():
    """Skip a module where Triton cannot compile, or interprets instead."""
    if sys.platform != "linux":
        pytest.skip("triton runs on Linux only", allow_module_level=True)
    if importlib.util.find_spec("triton") is None:
        pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("TRITON_INTERPRET=1 is set: a process interprets or compiles", allow_module_level=True)


@dataclass(frozen=True)
class Family:
    """A kernel and the core's answer to the same question, both as (scores, amount, prior) -> weights."""

    name: str
    kernel: Any
    core: Any
    amount: float
    values: bool = False
    """Whether the scores are values to project rather than losses."""
    prior: bool = True


def _verb(name, divergence, amount):
    def run(scores, how_much, **options):
        return getattr(kernels, name)(scores, divergence, how_much, **options).weights

    def core(scores, how_much, prior=None):
        return getattr(cp, name)(scores, divergence, how_much, prior=prior).weights

    return Family(f"{name} {divergence!r}", run, core, amount)


def _core_entmax(scores, alpha, prior=None):
    live = (scores != -math.inf).sum(-1).clamp(min=1).to(scores.dtype)
    return cp.penalized(scores, cp.CressieRead(alpha), live ** (1 - alpha)).weights


def _entmax(alpha):
    return Family(
        f"entmax {alpha}",
        lambda x, a, **options: kernels.entmax(x, alpha=a, **options),
        _core_entmax,
        alpha,
        prior=False,
    )


FAMILIES = [
    _verb("penalized", cp.ChiSquare(), 0.5),
    _verb("penalized", cp.KL(), 0.7),
    _verb("penalized", cp.CressieRead(1.5), 0.4),
    _verb("penalized", cp.CressieRead(1.1), 0.4),
    _verb("constrained", cp.ChiSquare(), 0.5),
    _verb("constrained", cp.KL(), 0.3),
    Family(
        "cvar", lambda x, a, **options: kernels.cvar(x, a, **options).weights,
        lambda x, a, prior=None: cp.cvar(x, a, prior=prior).weights, 0.3,
    ),
    _entmax(1.5), _entmax(1.2), _entmax(2.0),
    Family(
        "project_simplex", lambda x, a, **options: kernels.project_simplex(x, **options),
        lambda x, a, prior=None: cp.project_simplex(x, prior=prior), 0.0, values=True,
    ),
    Family(
        "project_ball", lambda x, a, **options: kernels.project_ball(x, a, **options),
        lambda x, a, prior=None: cp.project_ball(x, cp.ChiSquare(), a, prior=prior), 0.5, values=True,
    ),
    Family(
        "project_capped_simplex", lambda x, a, **options: kernels.project_capped_simplex(x, cap=a, **options),
        lambda x, a, prior=None: cp.project_capped_simplex(x, cap=a, prior=prior), 0.35, values=True,
    ),
]  # fmt: skip
BY_NAME = {family.name: family for family in FAMILIES}
PRIORS = [(family, prior) for family in FAMILIES for prior in ((False, True) if family.prior else (False,))]
INF, NAN = math.inf, math.nan
NASTY = {
    "ties at the top": [2.0, 2.0, 1.0, 2.0, -1.0, 0.5],
    "constant": [0.7] * 6,
    "zeros": [0.0] * 6,
    "one live atom": [-INF, -INF, 3.0, -INF, -INF, -INF],
    "all masked": [-INF] * 6,
    "+inf": [1.0, INF, 0.0, 2.0, INF, -3.0],
    "only +inf and mask": [INF, -INF, -INF, -INF, -INF, -INF],
    "NaN": [1.0, NAN, 0.0, 2.0, 0.5, -3.0],
    "NaN and +inf": [1.0, NAN, INF, 2.0, 0.5, -3.0],
    "1e30": [1e30, -1e30, 5e29, 0.0, 1e30, -1e29],
    "1e-30": [1e-30, -1e-30, 5e-31, 0.0, 1e-30, -1e-31],
    "largest floats": [3e38, -3e38, 1e38, 0.0, 3e38, -1e38],
    "offset": [1e6, 1e6 + 1, 1e6 - 0.5, 1e6 + 0.25, 1e6 - 3, 1e6],
    "outlier": [0.0, -1e6, -1e6, -1e6 + 1, -1e6, 0.001],
    "masked ends": [-INF, 0.3, 0.1, 0.9, 0.8, -INF],
}


def nasty(dtype=torch.float64):
    return torch.tensor(list(NASTY.values()), dtype=dtype)


def random(rows, n, seed, *, dtype=torch.float64, scale=1.0, masked=False):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, n, dtype=torch.float64, generator=generator) * scale
    prior = torch.rand(rows, n, dtype=torch.float64, generator=generator) + 0.05
    if masked:
        prior = prior * (torch.rand(rows, n, generator=generator) > 0.3)
        prior[:, 0] = 1.0
    return scores.to(dtype), prior.to(dtype)


def feasible_cap(family, n, live=None):
    """The family's amount, with a cap that the row's atoms can meet."""
    return max(family.amount, 2.5 / (live or n)) if family.name == "project_capped_simplex" else family.amount


def condition(family, scores, prior=None):
    """How far the weights may move for a rounding of the scores: their size and what they are divided by."""
    x = scores.double()
    x = torch.where(torch.isfinite(x), x, 0.0)
    size = x.abs().amax(-1, keepdim=True)
    spread = 1.0
    if family.values and prior is not None and prior.numel():
        spread = prior.max() / prior[prior > 0].min()
    return 1 + size * spread / (1.0 if family.values else 0.3)


def close(found, truth, dtype, bound):
    """Compare weights to the float64 truth within ``bound`` roundings of the dtype; NaN must be NaN on both sides."""
    found, truth = found.double().cpu(), truth.double()
    assert (torch.isnan(found) == torch.isnan(truth)).all()
    error = torch.where(torch.isnan(truth), 0.0, (found - truth).abs())
    assert (error <= bound * torch.finfo(dtype).eps).all(), float((error / torch.finfo(dtype).eps / bound).max())
