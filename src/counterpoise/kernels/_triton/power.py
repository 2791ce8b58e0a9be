"""Cressie-Read: Newton on the power norm τW^k = λ (`counterpoise._solvers.power`), 0 < k = a − 1 < 1."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .root import ROUND
from .sums import POWER, ROOT, sums
from .tile import SQUARED, log1p


@triton.jit
def power_at(tile, env, tau, k, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the log-normaliser of (1 − kx/τ)₊^{1/k} and the mean of x/(1 − kx/τ) under it."""
    mass, growth, first, _ = sums(tile, env, tau, tau * 0.0, k, POWER, FLAGS, BLOCK)
    mass = tl.where(mass > 0, mass, 1.0)
    near = tl.abs(growth) < 0.5
    return tl.where(near, log1p(tl.where(near, growth, 0.0)), tl.log(mass)), first / mass


@triton.jit
def solve_power(tile, env, penalty, mass, k, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return τ; the norm of (τ − kx)₊ is convex in τ: steps from above never pass the root."""
    penalty = tl.where(done, 1.0, penalty)
    tau = tl.minimum(penalty * tl.exp(-k * tl.log(tl.where(mass > 0, mass, 1.0))), penalty + k)
    tau = tl.maximum(tau, penalty)
    noise = 4.76837158203125e-07 * (1 + k) * penalty
    stop = (done | (tau == penalty)).to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 64):
        if SQUARED & FLAGS:  # the weights bear a rounding of the mass, the shift does not
            mass, _, first, _ = sums(tile, env, tau, tau * 0.0, k, ROOT, FLAGS, BLOCK)
            norm = tl.sqrt(mass)
            mean = first / mass
        else:
            log_mass, mean = power_at(tile, env, tau, k, FLAGS, BLOCK)
            norm = tl.exp(k * log_mass)
        value = tau * norm - penalty
        new = tl.maximum(tau - value / (norm * (1 + k * mean / tau)), penalty)
        ended = ((value <= noise) | (tau - new <= tau * ROUND)).to(tl.int32)
        tau = tl.where((stop > 0) | (value <= noise), tau, new)
        stop = stop | ended
        steps += 1
    return tau
