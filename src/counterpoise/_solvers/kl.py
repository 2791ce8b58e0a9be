"""Exponential weights: the KL penalty in closed form, its radius by Halley's method."""

from __future__ import annotations

from typing import NamedTuple

from .._problem import Answer, Problem
from .._roots import find_root
from .._types import Array
from .._xp import anywhere
from .ball import STEPS, rounding, squared


class Tilt(NamedTuple):
    """Weights w = p e^z at z = t(c − x), t = R/λ, and what their normalisation takes; all but w (..., 1)."""

    t: Array
    w: Array
    mass: Array
    log_mass: Array
    centre: Array

    def answer(self, problem: Problem) -> Answer:
        """Normalise."""
        penalty = 1 / problem.xp.where(self.t > 0, self.t, 1.0)
        return Answer(self.w / self.mass, penalty, self.centre - penalty * self.log_mass)


def kl_penalty(problem: Problem, penalty: Array) -> Answer:
    """Exponential weights at λ/R, in closed form."""
    t = 1 / penalty
    return _tilt(problem, t, fine=_somewhere(t < 0.25))[0].answer(problem)


def _somewhere(mask: Array) -> Array | None:
    """Return the mask, or None if it is known to be false: asked before a loop, inside which it could not be."""
    return mask if anywhere(mask) else None


def _tilt(problem: Problem, t: Array, *, fine: Array | None) -> tuple[Tilt, Array]:
    """Tilt the prior; return z as well. Where not ``fine``, log Σ w may have the absolute error of a rounding of 1.

    The centre c keeps small t from cancelling and large t from underflowing. Products go into arrays that are done
    with: on a large row a fresh array costs more than the arithmetic.
    """
    xp, p = problem.xp, problem.p
    centre = xp.minimum(problem.mean, 1 / xp.where(t > 1, t, 1.0))
    z = centre - problem.x
    z *= t
    w = xp.exp(z)
    w *= p
    (mass,) = problem.reduce.sum(w)
    mass = xp.where(mass > 0, mass, 1.0)
    log_mass = xp.log(mass)
    if fine is not None:
        (growth,) = problem.expect(xp.expm1(z))
        log_mass = xp.where(fine & (xp.abs(growth) < 0.5), xp.log1p(xp.maximum(growth, -0.5)), log_mass)
    return Tilt(t, w, mass, log_mass, centre), z


def kl_ball(problem: Problem, radius: Array, done: Array) -> Answer:
    """Halley's method on √KL(t) − √ρ in t = R/λ, from the root of the cubic that KL(t) is at t = 0."""
    xp = problem.xp
    tiny = radius < 1 / 64
    fine = _somewhere(tiny)
    noise = rounding(problem, radius)
    noise += 2 * float(xp.finfo(noise.dtype).eps) / xp.sqrt(xp.where(tiny, xp.inf, radius))

    def residual(t: Array) -> tuple[Array, ...]:
        tilt, z = _tilt(problem, t, fine=fine)
        first = tilt.w * z
        mean, second = problem.reduce.sum(first, (first, z))
        first *= z
        (third,) = problem.reduce.sum((first, z))
        mean, second, third = mean / tilt.mass, second / tilt.mass, third / tilt.mass
        variance = second - mean * mean
        skew = third - mean * (3 * second - 2 * mean * mean)
        value = mean - tilt.log_mass
        gap, slope = squared(xp, value, variance / t, radius)
        # d²√D/dt² from D' = V/t and D'' = (V + κ₃)/t²; Halley's step is Newton's with this slope
        bend = (variance + skew) / (t * t) - 2 * slope * slope
        bend = bend / (2 * xp.where(value > 0, xp.sqrt(xp.where(value > 0, value, 1.0)), 1.0))
        steep = slope - gap * bend / (2 * xp.where(slope > 0, slope, 1.0))
        return gap, xp.where(steep > 0.5 * slope, steep, slope), *tilt

    one = xp.ones_like(radius)
    _, *tilt = find_root(
        xp, residual, xp.where(done, one, _first(problem, radius)), low=0 * one, high=one + xp.inf,
        done=done, noise=noise, steps=STEPS, kept=Tilt(one, problem.x, one, 0 * one, 0 * one),
    )  # fmt: skip
    return Tilt(*tilt).answer(problem)


def _first(problem: Problem, radius: Array) -> Array:
    """Root of V t²/2 − κ t³/3 = ρ to second order, V and κ the variance and third central moment of x."""
    xp = problem.xp
    off = problem.x - problem.mean
    square = off * off
    variance, third = problem.expect(square, (square, off))
    safe = xp.where(variance > 0, variance, 1.0)
    start = xp.sqrt(2 * radius / safe)
    bend = third * start / (3 * safe)
    return start / xp.minimum(xp.maximum(1 - bend, 0.5), 2.0)
