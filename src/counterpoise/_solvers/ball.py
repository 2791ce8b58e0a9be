"""What every radius shares: the residual of √D − √ρ, its first point and its rounding."""

from __future__ import annotations

from typing import Any

from .._problem import Problem
from .._types import Array

STEPS = 64
"""Most evaluations of a root-finder; eager arrays stop after 3 to 12."""


def spread(problem: Problem) -> Array:
    """Prior variance of x, by two passes."""
    off = problem.x - problem.mean
    off *= off
    off *= problem.p
    (variance,) = problem.reduce.sum(off)
    return problem.xp.where(variance > 0, variance, 1.0)


def rounding(problem: Problem, radius: Array) -> Array:
    """Noise of √D: rounding q/p to its dtype moves D by ε√D, hence √D by about ε, and summation adds ε√ρ."""
    root = problem.xp.sqrt(radius)
    return problem.xp.minimum(4 * float(problem.xp.finfo(problem.p.dtype).eps) * (1 + root), root / 4)


def squared(xp: Any, value: Array, slope: Array, radius: Array) -> tuple[Array, Array]:
    """Residual and slope of √D − √ρ, nearly linear in 1/λ."""
    root = xp.sqrt(xp.where(value > 0, value, 0.0))
    return root - xp.sqrt(radius), slope / (2 * xp.where(root > 0, root, 1.0))
