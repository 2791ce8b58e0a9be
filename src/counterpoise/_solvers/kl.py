"""Exponential weights: the KL penalty in closed form, its radius by Halley's method."""

from __future__ import annotations

from typing import NamedTuple

from .._problem import FINE, Answer, Problem, excess
from .._roots import find_root
from .._types import Array
from .._xp import anywhere, is_traced
from ..divergences import KL
from .ball import STEPS, rounding, squared


class Tilt(NamedTuple):
    """Weights w = p e^z at z = t(c − x), t = R/λ, and what their normalisation takes; all but w and z (..., 1)."""

    t: Array
    w: Array
    z: Array
    mass: Array
    log_mass: Array
    centre: Array

    def answer(self, problem: Problem, q: Array, penalty: Array, log_mass: Array) -> Answer:
        """Return these weights, or some nearby, with E f*(s) − E s for their certificate."""
        shift = self.centre - penalty * log_mass
        return Answer(q, penalty, shift, self._excess(problem, penalty, shift))

    def _excess(self, problem: Problem, penalty: Array, shift: Array) -> Array:
        """E e^s − 1 − E s at s = (η − x)/λ, by e^s = e^z e^u / Σ p e^z where u is so small that its cube is lost."""
        xp = problem.xp
        slope, level = 1 / penalty - self.t, shift / penalty - self.t * self.centre + self.log_mass
        close = (3 * float(xp.finfo(slope.dtype).eps)) ** (1 / 3)
        near = (xp.abs(level) < close) & (xp.abs(level - slope) < close) & (penalty <= FINE)
        u = xp.where(near, level, 0.0) - xp.where(near, slope, 0.0) * problem.x  # x in [0, 1]
        (twice,) = problem.reduce.sum((self.w, _twice_exp(u)))
        known = 0.5 * twice * xp.exp(-self.log_mass) - 1 - (shift - problem.mean) / penalty
        return xp.where(near, known, excess(problem, KL(), penalty, shift)) if anywhere(~near) else known


def _twice_exp(u: Array) -> Array:
    """2 e^u to second order, 2 + 2u + u² = 1 + (1 + u)², in the place of u."""
    u += 1
    u *= u
    u += 1
    return u


def kl_penalty(problem: Problem, penalty: Array) -> Answer:
    """Exponential weights at λ/R, in closed form."""
    t = 1 / penalty
    tilt = _tilt(problem, t, fine=_somewhere(t < 1 / FINE))
    return tilt.answer(problem, tilt.w / tilt.mass, penalty, tilt.log_mass)


def _somewhere(mask: Array) -> Array | None:
    """Return the mask, or None if it is known to be false: asked before a loop, inside which it could not be."""
    return mask if anywhere(mask) else None


def _tilt(problem: Problem, t: Array, *, fine: Array | None) -> Tilt:
    """Tilt the prior. Where not ``fine``, log Σ p e^z may have the absolute error of a rounding of 1.

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
    return Tilt(t, w, z, mass, log_mass, centre)


def kl_ball(problem: Problem, radius: Array, done: Array) -> Answer:
    """Halley's method on √KL(t) − √ρ in t = R/λ, from a root of the series that KL(t) is at t = 0.

    float64 starts from the root of float32, whose exponentials are three times faster in numpy without AVX-512. A
    relative step of ε^⅓ leaves an error of ε, so that the last one needs no evaluation after it.
    """
    xp = problem.xp
    start, left, close = xp.ones_like(radius), ~done, float(xp.finfo(radius.dtype).eps) ** (1 / 3)
    if xp.finfo(start.dtype).bits > 32 and not is_traced(start):
        start, left = _in_single(problem, radius, left, close ** (1 / 3))
    if anywhere(left):
        start = xp.where(left, _first(problem, radius), start)
    return _moved(problem, *_halley(problem, radius, done, start, close))


def _in_single(problem: Problem, radius: Array, left: Array, close: float) -> tuple[Array, Array]:
    """Solve in float32, which errs by a few 1e-7/√ρ; return the roots and the rows that are still left."""
    xp, dtype = problem.xp, problem.xp.float32
    tried = left & (radius > 2.0**-14)  # below, the series errs less
    problem = problem._replace(**{k: xp.astype(getattr(problem, k), dtype) for k in ("p", "x", "mean")})
    rho = xp.astype(xp.where(tried, radius, 1.0), dtype)
    start = xp.where(tried, _first(problem, rho), 1.0)
    tilt, step, *_ = _halley(problem, rho, ~tried, start, close)
    found = xp.astype(tilt.t * (1 + step), radius.dtype)
    solved = tried & (found > 0) & (found < xp.inf)
    return xp.where(solved, found, 1.0), left & ~solved


def _halley(
    problem: Problem, radius: Array, done: Array, start: Array, close: float
) -> tuple[Tilt, Array, Array, Array]:
    """Iterate until the relative step is ``close``, which leaves its cube; return it and E z, E z² as well."""
    xp = problem.xp
    tiny = radius < 1 / 64
    fine = _somewhere(tiny)
    first = _step(problem, radius, start, fine=fine)
    _, steep, back, mean, second, *last = first
    if anywhere(~(done | ((steep > 0) & (xp.abs(back) <= close)))):
        noise = rounding(problem, radius)
        noise += 2 * float(xp.finfo(start.dtype).eps) / xp.sqrt(xp.where(tiny, xp.inf, radius))
        zero = xp.zeros_like(radius)
        _, back, mean, second, *last = find_root(
            xp, lambda t: first if t is start else _step(problem, radius, t, fine=fine), start, low=zero,
            high=zero + xp.inf, done=done, noise=noise, steps=STEPS, close=close, kept=first[2:],
        )  # fmt: skip
    return Tilt(*last), xp.where(xp.abs(back) <= close, -back, 0.0), mean, second


def _step(problem: Problem, radius: Array, t: Array, *, fine: Array | None) -> tuple[Array, ...]:
    """Residual, the slope that makes Newton's step Halley's, that step against t, E z, E z² and the tilt."""
    xp = problem.xp
    tilt = _tilt(problem, t, fine=fine)
    first = tilt.w * tilt.z
    mean, second = problem.reduce.sum(first, (first, tilt.z))
    first *= tilt.z
    (third,) = problem.reduce.sum((first, tilt.z))
    mean, second, third = mean / tilt.mass, second / tilt.mass, third / tilt.mass
    variance = second - mean * mean
    skew = third - mean * (3 * second - 2 * mean * mean)
    value = mean - tilt.log_mass
    gap, slope = squared(xp, value, variance / t, radius)
    # d²√D/dt² from D' = V/t and D'' = (V + κ₃)/t²
    bend = (variance + skew) / t / t - 2 * slope * slope  # t² may overflow float32
    bend = bend / (2 * xp.where(value > 0, xp.sqrt(xp.where(value > 0, value, 1.0)), 1.0))
    steep = slope - gap * bend / (2 * xp.where(slope > 0, slope, 1.0))
    steep = xp.where(steep > 0.5 * slope, steep, slope)
    return gap, steep, gap / xp.where(steep > 0, steep * t, 1.0), mean, second, *tilt


def _moved(problem: Problem, tilt: Tilt, step: Array, mean: Array, second: Array) -> Answer:
    """Move t by a small relative step: e^{z step} to second order, whose moments of z are known."""
    xp = problem.xp
    t = tilt.t * (1 + step)
    penalty = 1 / xp.where(t > 0, t, 1.0)
    growth = step * (mean + 0.5 * step * second)
    q = _twice_exp(tilt.z * step)
    q *= tilt.w
    q /= 2 * (tilt.mass * (1 + growth))
    return tilt.answer(problem, q, penalty, tilt.log_mass + xp.log1p(growth))


def _first(problem: Problem, radius: Array) -> Array:
    """Root of V t²/2 − κ₃ t³/3 + κ₄ t⁴/8 = ρ to third order, by the cumulants of x under the prior."""
    xp = problem.xp
    off = problem.x - problem.mean
    square = off * off
    variance, third, fourth = problem.expect(square, (square, off), (square, square))
    safe = xp.where(variance > 0, variance, 1.0)
    start = xp.sqrt(2 * radius / safe)
    bend = third * start / (3 * safe)
    bend = bend + 0.5 * (3 * bend * bend - (fourth / safe - 3 * safe) * start * start / 4)
    return start / xp.minimum(xp.maximum(1 - bend, 0.5), 2.0)
