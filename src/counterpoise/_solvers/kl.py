"""Exponential weights: the KL penalty in closed form, its radius by Newton."""

from __future__ import annotations

from .._problem import Answer, Problem
from .._roots import find_root
from .._types import Array
from .ball import STEPS, rounding, spread, squared


def kl_at(problem: Problem, t: Array) -> Answer:
    """Exponential weights at t = R/λ."""
    w, mass, log_mass, centre, _, _ = _tilt(problem, t)
    penalty = 1 / problem.xp.where(t > 0, t, 1.0)
    return Answer(w / mass, penalty, centre - penalty * log_mass)


def _tilt(problem: Problem, t: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Return w = p e^z at z = t(c − x), Σ w, its logarithm, c, and mean and variance of z under w/Σw.

    The centre c keeps small t from cancelling and large t from underflowing. Products go into arrays that are done
    with: on a large row a fresh array costs more than the arithmetic.
    """
    xp, p = problem.xp, problem.p
    centre = xp.minimum(problem.mean, 1 / xp.where(t > 1, t, 1.0))
    z = centre - problem.x
    z *= t
    change = xp.expm1(z)
    change *= p
    w = xp.exp(z)
    w *= p
    first = w * z
    z *= first
    mass, growth, mean, square = problem.reduce.sum(w, change, first, z)
    mass = xp.where(mass > 0, mass, 1.0)
    log_mass = xp.where(xp.abs(growth) < 0.5, xp.log1p(xp.maximum(growth, -0.5)), xp.log(mass))
    mean = mean / mass
    return w, mass, log_mass, centre, mean, square / mass - mean * mean


def kl_ball(problem: Problem, radius: Array, done: Array) -> Answer:
    """Newton on √KL(t) − √ρ in t = R/λ."""
    xp = problem.xp
    start = xp.sqrt(2 * radius / spread(problem))

    def residual(t: Array) -> tuple[Array, Array]:
        _, _, log_mass, _, mean, variance = _tilt(problem, t)
        return squared(xp, mean - log_mass, variance / t, radius)

    t = find_root(
        xp, residual, xp.where(done, 1.0, start), low=0 * start, high=0 * start + xp.inf, done=done,
        noise=rounding(problem, radius), steps=STEPS,
    )  # fmt: skip
    return kl_at(problem, t)
