"""One scalar unknown a row: the exact solver of each family, on problems in canonical form (`_problem`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ._problem import Answer, Problem, divergence_of
from ._roots import State, find_root, iterate
from ._types import Array
from .divergences import Divergence, Power, expm1_ratio

STEPS = 64
"""Most evaluations of a root-finder; eager arrays stop after 3 to 12."""


def _spread(problem: Problem) -> Array:
    """Prior variance of x, by two passes."""
    off = problem.x - problem.mean
    off *= off
    off *= problem.p
    (variance,) = problem.reduce.sum(off)
    return problem.xp.where(variance > 0, variance, 1.0)


def _rounding(problem: Problem, radius: Array) -> Array:
    """Noise of √D: rounding q/p to its dtype moves D by ε√D, hence √D by about ε, and summation adds ε√ρ."""
    return 4 * float(problem.xp.finfo(problem.p.dtype).eps) * (1 + problem.xp.sqrt(radius))


def _squared(xp: Any, value: Array, slope: Array, radius: Array) -> tuple[Array, Array]:
    """Residual and slope of √D − √ρ, nearly linear in 1/λ."""
    root = xp.sqrt(xp.where(value > 0, value, 0.0))
    return root - xp.sqrt(radius), slope / (2 * xp.where(root > 0, root, 1.0))


def kl_at(problem: Problem, t: Array) -> Answer:
    """Exponential weights at t = R/λ."""
    w, mass, log_mass, centre, mean, _ = _tilt(problem, t)
    penalty = 1 / problem.xp.where(t > 0, t, 1.0)
    return Answer(w / mass, penalty, centre - penalty * log_mass, mean - log_mass)


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
    start = xp.sqrt(2 * radius / _spread(problem))

    def residual(t: Array) -> tuple[Array, Array]:
        _, _, log_mass, _, mean, variance = _tilt(problem, t)
        return _squared(xp, mean - log_mass, variance / t, radius)

    t = find_root(
        xp, residual, xp.where(done, 1.0, start), low=0 * start, high=0 * start + xp.inf, done=done,
        noise=_rounding(problem, radius), steps=STEPS,
    )  # fmt: skip
    return kl_at(problem, t)


def chi_square_penalty(problem: Problem, penalty: Array, done: Array) -> Answer:
    """For half of χ², shrink the active set {x < δ} of Σ p(δ − x)₊ = λ until nothing leaves it."""
    xp = problem.xp
    penalty = xp.where(done, 1.0, penalty)

    def edge(active: Array, x: Array) -> Array:
        mass, first = problem.reduce.sum(active, active * x)
        return xp.where(mass > 0, (penalty + first) / xp.where(mass > 0, mass, 1.0), xp.inf)

    return _shrink(problem, edge, penalty + problem.mean, done)


def chi_square_ball(problem: Problem, radius: Array, done: Array) -> Answer:
    """For a Pearson radius, shrink {x < δ}: δ = μ + √(V/((1 + ρ)P − 1)), moments of the active set."""
    xp, p = problem.xp, problem.p

    def edge(active: Array, x: Array) -> Array:
        mass, first, outside = problem.reduce.sum(active, active * x, p - active)
        safe = xp.where(mass > 0, mass, 1.0)
        mean = first / safe
        off = x - mean
        off *= off
        off *= active
        (second,) = problem.reduce.sum(off)
        rest = xp.where(outside < 0.5, radius - (1 + radius) * outside, (1 + radius) * mass - 1)
        usable = (rest > 0) & (mass > 0)
        return xp.where(usable, mean + xp.sqrt(second / xp.where(usable, rest * safe, 1.0)), xp.inf)

    return _shrink(problem, edge, xp.zeros_like(problem.top) + xp.inf, done)


def _shrink(problem: Problem, edge: Callable[[Array, Array], Array], start: Array, done: Array) -> Answer:
    """Iterate δ = edge({x < δ}); take the last step with x counted from the atom below δ, which resolves its weight."""
    xp, p, x = problem.xp, problem.p, problem.x

    def step(delta: Array, stop: Array) -> State:
        active = xp.astype(x < delta, p.dtype)
        active *= p
        new = xp.minimum(edge(active, x), delta)
        return xp.where(stop, delta, new), stop | (new >= delta)

    delta, _ = iterate(xp, step, (xp.where(done, 2.0, start), done), steps=STEPS)
    inside = problem.live & (x < delta)
    atom = problem.reduce.max(xp.where(inside, x, 0.0))
    active = xp.where(inside, p, 0.0)
    y = x - atom
    last = edge(active, y)
    w = active * xp.maximum(xp.where(last < xp.inf, last, 1.0) - y, 0.0)
    penalty, mass, first, outside = problem.reduce.sum(w, active, active * y, p - active)
    safe = xp.where(penalty > 0, penalty, 1.0)
    q = w / safe
    off = xp.where(problem.live, q / xp.where(problem.live, p, 1.0) - 1, 0.0)
    (square,) = problem.reduce.sum(p * off * off)
    # δ − λ, for half of χ²
    shift = atom + (first + safe * outside) / xp.where(mass > 0, mass, 1.0)
    return Answer(q, safe, shift, square / 2)


def _power_weights(problem: Problem, k: float, tau: Array, slack: Array | None) -> tuple[Array, Array, Array]:
    """At w = p(1 − kx/τ)₊^{1/k}: the logarithms of w/p, their log-normaliser, and x/(1 − kx/τ) where w > 0.

    With ``slack`` = (δ − c) + (c − x), δ = τ/k, the base is slack/δ: only the slack itself resolves the weight of an
    atom c next to the threshold δ, whose slope is infinite for k > 1.
    """
    xp, p, x = problem.xp, problem.p, problem.x
    base = 1 - k * x / tau if slack is None else slack * k / tau
    inside = base > 0
    if slack is None:
        log_base = xp.log1p(xp.where(inside, -k * x / tau, 0.0))
    else:
        log_base = xp.log(xp.where(inside, base, 1.0))
    y = -x / tau if k == 0 else xp.where(inside, log_base / k, -xp.inf)
    mass, growth = problem.reduce.sum(p * xp.exp(y), p * xp.expm1(y))
    log_mass = xp.where(
        xp.abs(growth) < 0.5, xp.log1p(xp.maximum(growth, -0.5)), xp.log(xp.where(mass > 0, mass, 1.0))
    )
    return y, log_mass, xp.where(inside, x / xp.where(inside, base, 1.0), 0.0)


def _power_at(problem: Problem, divergence: Power, tau: Array, slack: Array | None) -> Answer:
    """The family's weights at its scale τ: q ∝ p(1 − kx/τ)₊^{1/k} with λ = τW^k, k = a − 1."""
    xp, k = problem.xp, divergence.exponent - 1
    y, log_mass, _ = _power_weights(problem, k, tau, slack)
    w = xp.where(problem.live, problem.p * xp.exp(y - log_mass), 0.0)
    penalty = tau * xp.exp(k * log_mass)
    (total,) = problem.reduce.sum(w)
    value = _power_divergence(problem, divergence, y - log_mass)
    shift = -penalty * expm1_ratio(xp, -k, log_mass)
    return Answer(w / xp.where(total > 0, total, 1.0), penalty / divergence.scale, shift, value)


def _power_divergence(problem: Problem, divergence: Power, log_ratio: Array) -> Array:
    xp = problem.xp
    terms = problem.p * divergence.f_of_log(xp.where(problem.live, log_ratio, 0.0))
    return problem.reduce.sum(xp.where(problem.live, terms, 0.0))[0]


def _power_root(
    problem: Problem,
    divergence: Power,
    residual: Callable[[Array, Array | None], tuple[Array, Array]],
    start: Array,
    *,
    low: Array,
    high: Array,
    done: Array,
    noise: Array,
) -> Answer:
    """Solve for τ; where k is not small, once more for the distance from the threshold to the atom below it."""
    xp, k = problem.xp, divergence.exponent - 1
    tau = find_root(
        xp, lambda tau: residual(tau, None), start, low=low, high=high, done=done, noise=noise, steps=STEPS
    )
    if k < 0.25:  # the slope at the threshold is small, and log(slack)/k would cancel
        return _power_at(problem, divergence, tau, None)
    eps = float(xp.finfo(tau.dtype).eps)
    edge = tau / k
    atom = problem.reduce.max(xp.where(problem.live & (problem.x <= edge * (1 + 16 * eps)), problem.x, 0.0))
    below = atom - problem.x

    def near(step: Array) -> tuple[Array, Array]:
        value, slope = residual(k * (atom + step), below + step)
        return value, k * slope

    first = xp.maximum(edge - atom, eps * edge)
    step = find_root(
        xp, near, first, low=0 * first, high=0 * first + xp.inf, done=done | (atom == 0), noise=noise, steps=STEPS
    )
    return _power_at(problem, divergence, k * (atom + step), below + step)


def power_penalty(problem: Problem, divergence: Power, penalty: Array, done: Array) -> Answer:
    """Newton on the power norm N(τ) = τW(τ)^k = λ, from the end where it is monotone."""
    xp, k = problem.xp, divergence.exponent - 1
    penalty = xp.where(done, 1.0, penalty * divergence.scale)
    shrunk = penalty * xp.exp(-k * xp.log(xp.where(problem.mass > 0, problem.mass, 1.0)))
    far = xp.minimum(shrunk, penalty + k) if k > 0 else xp.maximum(shrunk, penalty + k)

    def residual(tau: Array, slack: Array | None) -> tuple[Array, Array]:
        y, log_mass, z = _power_weights(problem, k, tau, slack)
        norm = xp.exp(k * log_mass)
        (mean,) = problem.reduce.sum(problem.p * xp.exp(y - log_mass) * z)
        return tau * norm - penalty, norm * (1 + k * mean / tau)

    eps = float(xp.finfo(penalty.dtype).eps)
    return _power_root(
        problem, divergence, residual, far, low=xp.minimum(penalty, far), high=xp.maximum(penalty, far),
        done=done | (far == penalty), noise=4 * eps * (1 + abs(k)) * penalty,
    )  # fmt: skip


def power_ball(problem: Problem, divergence: Power, radius: Array, done: Array) -> Answer:
    """Newton on √(ρ/D(τ)) − 1, nearly linear in τ: the normalisation is explicit, so one unknown is left."""
    xp, k = problem.xp, divergence.exponent - 1
    radius = radius / divergence.scale
    start = xp.where(done, 1.0, xp.sqrt(_spread(problem) / (2 * xp.where(radius > 0, radius, 1.0))))

    def residual(tau: Array, slack: Array | None) -> tuple[Array, Array]:
        y, log_mass, z = _power_weights(problem, k, tau, slack)
        u = y - log_mass
        value = _power_divergence(problem, divergence, u) / divergence.scale
        q = problem.p * xp.exp(u)
        mean, mean_z, cross = problem.reduce.sum(q * problem.x, q * z, q * problem.x * z)
        slope = xp.exp(-k * log_mass) * (cross - mean * mean_z) / tau**3
        safe = xp.where(value > 0, value, 1.0)
        root = xp.where(value > 0, xp.sqrt(radius / safe), xp.inf)
        return root - 1, root * slope / (2 * safe)

    return _power_root(
        problem, divergence, residual, start, low=0 * start, high=0 * start + xp.inf, done=done,
        noise=_rounding(problem, radius) / xp.sqrt(xp.where(radius > 0, radius, 1.0)),
    )  # fmt: skip


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
        return problem.reduce.sum(xp.where(problem.live, problem.p * (ratio_at(z) - 1), 0.0))[0], None

    flat = done | (problem.mean == 0)
    start = problem.mean / penalty
    if limit < math.inf:
        start = xp.minimum(start, limit / 2)
        start = start / (limit - start)
    start = xp.where(flat, 1.0, start)
    eps = float(xp.finfo(penalty.dtype).eps)
    z = find_root(
        xp, residual, start, low=0 * start, high=0 * start + xp.inf, done=flat, noise=0 * start + 4 * eps, steps=STEPS
    )
    z = xp.where(flat, 0.0, z)
    t = xp.where(problem.live, ratio_at(z), 1.0)
    w = xp.where(problem.live, problem.p * xp.where(t < xp.inf, t, 1.0), 0.0)
    (total,) = problem.reduce.sum(w)
    q = w / xp.where(total > 0, total, 1.0)
    return Answer(q, penalty, shift_at(z) * penalty, divergence_of(problem, divergence, q))


def generic_ball(problem: Problem, divergence: Divergence, radius: Array, done: Array) -> Answer:
    """Bracketed secant on √D − √ρ in R/λ around `generic_penalty`."""
    xp = problem.xp
    start = xp.where(done, 1.0, xp.sqrt(2 * radius / _spread(problem)))

    def residual(t: Array) -> tuple[Array, None]:
        value = generic_penalty(problem, divergence, 1 / t, done).divergence
        return xp.sqrt(xp.where(value > 0, value, 0.0)) - xp.sqrt(radius), None

    t = find_root(
        xp, residual, start, low=0 * start, high=0 * start + xp.inf, done=done,
        noise=_rounding(problem, radius), steps=STEPS,
    )  # fmt: skip
    return generic_penalty(problem, divergence, 1 / t, done)


def fill(problem: Problem, level: Array, done: Array) -> tuple[Array, Array]:
    """Fill prior mass ``level`` from the largest loss down; return the filled masses and the last x reached.

    The last x is the smallest atom c with prior mass of {x ≤ c} at least ``level``, found by pivoting between atoms:
    by interpolated mass and mean, with a geometric step in every three so that heavy tails cannot stall it.
    """
    xp, p, x = problem.xp, problem.p, problem.x
    tiny = float(xp.finfo(p.dtype).smallest_normal)
    far = x + 4 * xp.astype(~problem.live, p.dtype)
    px = p * x

    def step(lo: Array, a_lo: Array, b_lo: Array, hi: Array, a_hi: Array, b_hi: Array, turn: Array, stop: Array) -> State:
        between = xp.where(a_hi > a_lo, a_hi - a_lo, 1.0)
        mean = (b_hi - b_lo) / between
        share = lo + (hi - lo) * (level - a_lo) / between
        ratio = xp.sqrt(xp.maximum(lo, tiny)) * xp.sqrt(hi)
        pivot = xp.where(turn == 0, share, xp.where(turn == 1, mean, ratio))
        pivot = xp.where((pivot >= lo) & (pivot < hi), pivot, lo)
        below = x <= pivot
        inside = xp.astype(below, p.dtype)
        a, b = problem.reduce.sum(p * inside, px * inside)
        highest = problem.reduce.max(x * inside)
        inside *= 4
        inside += far
        lowest = problem.reduce.min(inside)
        enough = a >= level
        grow, shrink = ~stop & ~enough, ~stop & enough
        lo, a_lo, b_lo = (xp.where(grow, new, old) for new, old in ((lowest, lo), (a, a_lo), (b, b_lo)))
        hi, a_hi, b_hi = (xp.where(shrink, new, old) for new, old in ((highest, hi), (a, a_hi), (b, b_hi)))
        return lo, a_lo, b_lo, hi, a_hi, b_hi, xp.where(turn == 2, turn * 0, turn + 1), stop | (lo >= hi)

    (mass,) = problem.reduce.sum(p)
    zero = xp.zeros_like(level)
    state = (zero, zero, zero, problem.reduce.max(x) + zero, mass, problem.mean, zero, done)
    last = iterate(xp, step, state, steps=3 * STEPS)[3]
    over = xp.astype(x < last, p.dtype) * p
    at = xp.where(problem.live & (x == last), p, 0.0)
    filled, tie = problem.reduce.sum(over, at)
    part = xp.clip((level - filled) / xp.where(tie > 0, tie, 1.0), 0.0, 1.0)
    return over + at * part, last


def capped_tilt(problem: Problem, level: Array, last: Array, smoothing: Array, done: Array) -> tuple[Array, Array]:
    """Weights p·min(e^s, 1/α), s = (l − η)/λ: monotone Newton on the factor e^v, counted from the last filled atom."""
    xp, p = problem.xp, problem.p
    smoothing = xp.where(done, 1.0, smoothing)
    cap = 1 / level
    highest = 0.9 * math.log(float(xp.finfo(p.dtype).max))
    tilt = xp.exp(xp.clip((last - problem.x) / smoothing, -2 * highest, highest))
    tilt = xp.where(problem.live, tilt, 0.0)

    def step(factor: Array, stop: Array) -> State:
        free = (factor * tilt < cap) & problem.live
        capped, rest = problem.reduce.sum(xp.where(problem.live & ~free, p, 0.0), xp.where(free, p * tilt, 0.0))
        new = (1 - capped * cap) / xp.where(rest > 0, rest, 1.0)
        new = xp.where((rest > 0) & ~stop, xp.maximum(new, factor), factor)
        return new, stop | (new <= factor)

    (above,) = problem.reduce.sum(xp.where(problem.live & (problem.x < last), p, 0.0))
    start = (1 - above * cap) / xp.where(above < 1, 1 - above, 1.0)
    factor, _ = iterate(xp, step, (start, done), steps=STEPS)
    q = xp.where(problem.live, p * xp.minimum(factor * tilt, cap), 0.0)
    (total,) = problem.reduce.sum(q)
    return q / xp.where(total > 0, total, 1.0), last + smoothing * xp.log(xp.where(factor > 0, factor, 1.0))
