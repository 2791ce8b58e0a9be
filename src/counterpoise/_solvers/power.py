"""The Cressie-Read family, on its normalised weights: one scale τ is left to find."""

from __future__ import annotations

from collections.abc import Callable

from .._divergence import Power, expm1_ratio
from .._problem import Answer, Problem
from .._roots import find_root
from .._types import Array
from .._xp import anywhere
from .ball import STEPS, rounding, spread


def _power_weights(problem: Problem, k: float, tau: Array, slack: Array | None) -> tuple[Array, Array, Array]:
    """At w = p(1 − kx/τ)₊^{1/k}: the logarithms of w/p, their log-normaliser, and x/(1 − kx/τ) where w > 0.

    With ``slack`` = (δ − c) + (c − x), δ = τ/k, the base is slack/δ: only the slack itself resolves the weight of an
    atom c next to the threshold δ, whose slope is infinite for k > 1. Where δ is far from every atom the base is near
    1, and only x/δ resolves its logarithm, which λ multiplies.
    """
    xp, p, x = problem.xp, problem.p, problem.x
    base = 1 - k * x / tau if slack is None else slack * k / tau
    inside = base > 0
    if slack is None:
        log_base = xp.log1p(xp.where(inside, -k * x / tau, 0.0))
    else:
        log_base = xp.log(xp.where(inside, base, 1.0))
        far = tau > 2 * k
        if anywhere(far):
            log_base = xp.where(far, xp.log1p(xp.where(far & inside, -k * x / tau, 0.0)), log_base)
    y = -x / tau if k == 0 else xp.where(inside, log_base / k, -xp.inf)
    mass, growth = problem.reduce.sum(p * xp.exp(y), p * xp.expm1(y))
    log_mass = xp.where(xp.abs(growth) < 0.5, xp.log1p(xp.maximum(growth, -0.5)), xp.log(xp.where(mass > 0, mass, 1.0)))
    return y, log_mass, xp.where(inside, x / xp.where(inside, base, 1.0), 0.0)


def _plain_weights(problem: Problem, k: float, tau: Array, slack: Array | None) -> tuple[Array, Array]:
    """Return w, and x/(1 − kx/τ) where w > 0; by products where 1/k is 2, 3 or 4: logarithms take ten times as long."""
    xp, times = problem.xp, round(1 / k) if k else 0
    change = -k * problem.x / tau
    base = 1 + change if slack is None else slack * k / tau
    inside = base > 0
    safe = xp.where(inside, base, 1.0)
    if 2 <= times <= 4 and times * k == 1:
        w = problem.p * xp.where(inside, base, 0.0)
        for _ in range(times - 1):
            w *= safe
    else:
        log_base = xp.log(safe) if slack is not None else xp.log1p(xp.where(inside, change, 0.0))
        w = problem.p * xp.where(inside, xp.exp(log_base / k), 0.0)
    return w, problem.x / safe


def _power_at(problem: Problem, divergence: Power, tau: Array, slack: Array | None) -> Answer:
    """Return the family's weights at its scale τ: q ∝ p(1 − kx/τ)₊^{1/k} with λ = τW^k, k = a − 1."""
    xp, k = problem.xp, divergence.exponent - 1
    y, log_mass, _ = _power_weights(problem, k, tau, slack)
    w = problem.masked(problem.p * xp.exp(y - log_mass), 0.0)
    penalty = tau * xp.exp(k * log_mass)
    (total,) = problem.reduce.sum(w)
    shift = -penalty * expm1_ratio(xp, -k, log_mass)
    return Answer(w / xp.where(total > 0, total, 1.0), penalty / divergence.scale, shift)


def _power_divergence(problem: Problem, divergence: Power, log_ratio: Array) -> Array:
    terms = problem.p * divergence.f_of_log(problem.masked(log_ratio, 0.0))
    return problem.reduce.sum(problem.masked(terms, 0.0))[0]


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

    def far(tau: Array) -> tuple[Array, Array]:
        return residual(tau, None)

    (tau,) = find_root(xp, far, start, low=low, high=high, done=done, noise=noise, steps=STEPS)
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
    (step,) = find_root(
        xp,
        near,
        first,
        low=0 * first,
        high=0 * first + xp.inf,
        done=done | (atom == 0),
        noise=noise,
        steps=STEPS,
    )
    return _power_at(problem, divergence, k * (atom + step), below + step)


def power_penalty(problem: Problem, divergence: Power, penalty: Array, done: Array) -> Answer:
    """Newton on the power norm N(τ) = τW(τ)^k = λ, from the end where it is monotone."""
    xp, k = problem.xp, divergence.exponent - 1
    penalty = xp.where(done, 1.0, penalty * divergence.scale)
    _, mass = problem.at_top()
    shrunk = penalty * xp.exp(-k * xp.log(xp.where(mass > 0, mass, 1.0)))
    far = xp.minimum(shrunk, penalty + k) if k > 0 else xp.maximum(shrunk, penalty + k)

    def residual(tau: Array, slack: Array | None) -> tuple[Array, Array]:
        w, z = _plain_weights(problem, k, tau, slack)
        mass, mean = problem.reduce.sum(w, (w, z))
        mass = xp.where(mass > 0, mass, 1.0)
        norm = xp.exp(k * xp.log(mass))
        return tau * norm - penalty, norm * (1 + k * (mean / mass) / tau)

    eps = float(xp.finfo(penalty.dtype).eps)
    return _power_root(
        problem, divergence, residual, far, low=xp.minimum(penalty, far), high=xp.maximum(penalty, far),
        done=done | (far == penalty), noise=4 * eps * (1 + abs(k)) * penalty,
    )  # fmt: skip


def power_ball(problem: Problem, divergence: Power, radius: Array, done: Array) -> Answer:
    """Newton on √(ρ/D(τ)) − 1, nearly linear in τ: the normalisation is explicit, so one unknown is left."""
    xp, k = problem.xp, divergence.exponent - 1
    radius = radius / divergence.scale
    start = xp.where(done, 1.0, xp.sqrt(spread(problem) / (2 * xp.where(radius > 0, radius, 1.0))))

    def residual(tau: Array, slack: Array | None) -> tuple[Array, Array]:
        y, log_mass, z = _power_weights(problem, k, tau, slack)
        u = y - log_mass
        value = _power_divergence(problem, divergence, u) / divergence.scale
        q = problem.p * xp.exp(u)
        mean, mean_z, cross = problem.reduce.sum(q * problem.x, q * z, q * problem.x * z)
        slope = xp.exp(-k * log_mass) * (cross - mean * mean_z) / tau / tau / tau
        safe = xp.where(value > 0, value, 1.0)
        root = xp.sqrt(radius / safe)
        return xp.where(value > 0, root - 1, xp.inf), root * slope / (2 * safe)

    return _power_root(
        problem, divergence, residual, start, low=0 * start, high=0 * start + xp.inf, done=done,
        noise=rounding(problem, radius) / xp.sqrt(xp.where(radius > 0, radius, 1.0)),
    )  # fmt: skip
