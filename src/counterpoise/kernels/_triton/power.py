"""Cressie-Read: Newton on the power norm τW^k = λ (`counterpoise._solvers.power`), 0 < k = a − 1 < 1."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .root import ROUND
from .sums import POWER, ROOT, root, sums, unit
from .tile import LOOPED, PRIOR, SQUARED, log1p


@triton.jit
def power_at(tile, env, tau, k, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the log-normaliser of (1 − kx/τ)₊^{1/k} and the mean of x/(1 − kx/τ) under it."""
    if SQUARED & FLAGS:
        mass, _, first, _ = sums(tile, env, tau, tau * 0.0, k, ROOT, FLAGS, BLOCK)
    else:
        mass, growth, first, _ = sums(tile, env, tau, tau * 0.0, k, POWER, FLAGS, BLOCK)
    mass = tl.where(mass > 0, mass, 1.0)
    log_mass = tl.log(mass)
    near = tl.abs(mass - 1) < 0.5
    if SQUARED & FLAGS:
        if tl.max(near.to(tl.int32)) > 0:
            _, growth, _, _ = sums(tile, env, tau, tau * 0.0, k, POWER, FLAGS, BLOCK)
            log_mass = tl.where(near, log1p(tl.where(near, growth, 0.0)), log_mass)
    else:
        log_mass = tl.where(near, log1p(tl.where(near, growth, 0.0)), log_mass)
    return log_mass, first / mass


@triton.jit
def _lower(mass, first, tau, penalty, k):
    """Return Newton's next τ from Σ p(1 − kx/τ)₊² and the mean of x/(1 − kx/τ) under it, and the norm's excess."""
    norm = tl.sqrt(mass)
    value = tau * norm - penalty
    new = tl.maximum(tau - value / (norm * (1 + k * (first / mass) / tau)), penalty)
    return new, value


@triton.jit
def _bound(x, one, penalty, tau, k, noise, done):
    """Return an upper bound of τ: that of the nearest atom of every column alone, which are in registers already."""
    near = tl.min(x, axis=0, keep_dims=True)
    stop = done.to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 8):
        mass, first = root(near, 1.0, tau)
        new, value = _lower(mass * one, first * one, tau, penalty, k)
        ended = ((value <= noise) | (tau - new <= tau * ROUND)).to(tl.int32)
        tau = tl.where((stop > 0) | (value <= noise), tau, tl.minimum(new, tau))
        stop = stop | ended
        steps += 1
    return tau


@triton.jit
def solve_power(tile, env, penalty, mass, k, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return τ; the norm of (τ − kx)₊ is convex in τ: steps from above never pass the root."""
    penalty = tl.where(done, 1.0, penalty)
    tau = tl.minimum(penalty * tl.exp(-k * tl.log(tl.where(mass > 0, mass, 1.0))), penalty + k)
    tau = tl.maximum(tau, penalty)
    noise = 4.76837158203125e-07 * (1 + k) * penalty
    stop = (done | (tau == penalty)).to(tl.int32)
    if ((SQUARED & FLAGS) > 0) & (((PRIOR | LOOPED) & FLAGS) == 0) & (tile[0].shape[0] > 2):
        tau = _bound(tile[0], unit(env, FLAGS), penalty, tau, k, noise, stop > 0)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 64):
        if SQUARED & FLAGS:  # the weights bear a rounding of the mass, the shift does not
            mass, _, first, _ = sums(tile, env, tau, tau * 0.0, k, ROOT, FLAGS, BLOCK)
            new, value = _lower(mass, first, tau, penalty, k)
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
