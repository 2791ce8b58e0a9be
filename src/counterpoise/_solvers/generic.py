"""Any divergence: bracketed secants on its conjugate's derivative."""

from __future__ import annotations

import math

from .._divergence import Divergence
from .._problem import Answer, Problem, divergence_of
from .._roots import find_root
from .._types import Array
from .ball import STEPS, rounding, spread


def generic_penalty(problem: Problem, divergence: Divergence, penalty: Array, done: Array) -> Answer:
    """Bracketed secant on Σ p (f*)'(ν − x/λ) = 1, ν = (M − η)/λ in (0, R/λ].

    Where the link has a pole at ν = L the unknown is z = ν/(L − ν), which resolves both ends of (0, L).
    """
    xp, limit = problem.xp, divergence.link_limit
    penalty = xp.where(done, 1.0, penalty)
    scaled_x = problem.x / penalty

    def shift_at(z: Array) -> Array:
        return z if limit == math.inf else limit * (z / (1 + z))

    def ratio_at(z: Array) -> Array:
        if limit == math.inf:
            return divergence.link(z - scaled_x)
        return divergence.link_below(limit / (1 + z) + scaled_x)

    def residual(z: Array) -> tuple[Array, None]:
        return problem.reduce.sum(problem.masked(problem.p * (ratio_at(z) - 1), 0.0))[0], None

    flat = done | (problem.mean == 0)
    start = problem.mean / penalty
    if limit < math.inf:
        start = xp.minimum(start, limit / 2)
        start = start / (limit - start)
    start = xp.where(flat, 1.0, start)
    eps = float(xp.finfo(penalty.dtype).eps)
    (z,) = find_root(
        xp,
        residual,
        start,
        low=0 * start,
        high=0 * start + xp.inf,
        done=flat,
        noise=0 * start + 4 * eps,
        steps=STEPS,
    )
    z = xp.where(flat, 0.0, z)
    t = problem.masked(ratio_at(z), 1.0)
    w = problem.masked(problem.p * xp.where(t < xp.inf, t, 1.0), 0.0)
    (total,) = problem.reduce.sum(w)
    return Answer(w / xp.where(total > 0, total, 1.0), penalty, shift_at(z) * penalty)


def generic_ball(problem: Problem, divergence: Divergence, radius: Array, done: Array) -> Answer:
    """Bracketed secant on √D − √ρ in R/λ around `generic_penalty`."""
    xp = problem.xp
    start = xp.where(done, 1.0, xp.sqrt(2 * radius / spread(problem)))

    def residual(t: Array) -> tuple[Array, None]:
        value = divergence_of(problem, divergence, generic_penalty(problem, divergence, 1 / t, done).q)
        return xp.sqrt(xp.where(value > 0, value, 0.0)) - xp.sqrt(radius), None

    (t,) = find_root(
        xp, residual, start, low=0 * start, high=0 * start + xp.inf, done=done,
        noise=rounding(problem, radius), steps=STEPS,
    )  # fmt: skip
    return generic_penalty(problem, divergence, 1 / t, done)
