"""What every radius shares: its largest value, the residual of √D − √ρ, its first point and its rounding."""

from __future__ import annotations

from typing import Any

from .._divergence import Divergence
from .._problem import Problem
from .._types import Array
from .._xp import anywhere

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


def saturates(problem: Problem, divergence: Divergence) -> Array:
    """Rows whose radius reaches the prior on the largest losses, whose mass P is summed only if it may be needed."""
    xp, rho = problem.xp, problem.amount
    # x in [0, 1] is 0 at the largest losses: P ≤ 1 − E x, up to rounding, and the largest radius falls in P
    bound = 1 - problem.mean + 16 * float(xp.finfo(rho.dtype).eps)
    if problem.whole and not anywhere(rho >= 0.99 * largest_radius(xp, divergence, bound)):
        return xp.zeros_like(rho, dtype=xp.bool)
    return rho >= largest_radius(xp, divergence, problem.at_top()[1])


def largest_radius(xp: Any, divergence: Divergence, mass: Array) -> Array:
    """Divergence of the prior restricted to an event of prior mass ``mass``."""
    safe = xp.where((mass > 0) & (mass < 1), mass, 0.5)
    return xp.where(mass < 1, safe * divergence.f(1 / safe) + (1 - safe) * divergence.f_at_zero, 0.0)
