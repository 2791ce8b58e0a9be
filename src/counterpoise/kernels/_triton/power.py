"""Cressie-Read: Newton on the power norm τW^k = λ (`counterpoise._solvers.power`), 0 < k = a − 1 < 1."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .elementary import expm1, log1p
from .root import CLOSE, CLOSER, ROUND
from .sums import POWER, ROOT, reread, root, sums, unit
from .tile import LOOPED, PRIOR, once


@triton.jit
def power_at(tile, env, tau, k, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the log-normaliser of (1 − kx/τ)₊^{1/k} and the mean of x/(1 − kx/τ) under it."""
    mass, growth, first, _ = sums(tile, env, tau, tau * 0.0, k, POWER, FLAGS, BLOCK)
    mass = tl.where(mass > 0, mass, 1.0)
    near = tl.abs(mass - 1) < 0.5
    log_mass = tl.where(near, log1p(tl.where(near, growth, 0.0)), tl.log(mass))
    return log_mass, first / mass


@triton.jit
def _steeper(square, linear, g, penalty):
    """Return Newton's next g = 1/2τ from Σ p b² and Σ p b, b = (1 − gx)₊, and whether g is as good as that.

    It is τ − (τ W − λ) W/Σ p b with W² = Σ p b², written with one division.
    """
    pull = 2 * penalty * g * tl.sqrt(square)
    new = tl.minimum(linear * g / ((linear - square) + pull), 0.5 / penalty)
    return new, (square <= pull * (1 + 3 * ROUND)) | (new - g <= g * CLOSER)


@triton.jit
def _bound(x, one, penalty, g, done):
    """Return a lower bound of g: that of the nearest atom of every column alone, which are in registers already."""
    near = tl.min(x, axis=0, keep_dims=True)
    stop = done.to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 8):
        g = once(g)
        stop = once(stop)
        square, linear = root(near, 1.0, g)
        new, _ = _steeper(square * one, linear * one, g, penalty)
        ended = (new - g <= g * CLOSE).to(tl.int32)
        g = tl.where(stop > 0, g, tl.maximum(new, g))
        stop = stop | ended
        steps += 1
    return g


@triton.jit
def _normal(mean, spread, penalty, g):
    """Return what g normal distances would ask for, but no less than g; and if their tail does not decide it.

    2τ is a spreads above the mean where E(a − z)₊² = c² at c twice the penalty in spreads: c grows with a as in what
    is fitted here to 0.05 of a spread from c = 0.05 on, and is √(1 + a²) where few are beyond a.
    """
    c = 2 * penalty / spread
    a = tl.minimum(c + 0.6 * tl.log(c) - 0.53, tl.sqrt(tl.maximum(c * c - 1, 0.78)))
    known = (spread > 0) & (c > 0.05)
    near = 1 / tl.maximum(mean + a * spread, 2 * penalty)
    return tl.where(known, tl.maximum(near, g), g), known


@triton.jit
def solve_root(
    tile, env, penalty, mass, mean, spread, done, NORMAL: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Return τ at k = ½ from sums of b and b² alone; but for the first, from a guess, steps never pass the root.

    The weights bear a rounding of their sum, and the shift is found from what they sum to.
    """
    penalty = tl.where(done, 1.0, penalty)
    tau = tl.maximum(tl.minimum(penalty / tl.sqrt(tl.where(mass > 0, mass, 1.0)), penalty + 0.5), penalty)
    stop = (done | (tau == penalty)).to(tl.int32)
    g = 0.5 / tau
    guessed = stop < 0
    if (((PRIOR | LOOPED) & FLAGS) == 0) & (tile[0].shape[0] > 2):
        if NORMAL:
            g, guessed = _normal(mean, tl.sqrt(tl.maximum(spread, 0.0)), penalty, g)
        if tl.min(guessed.to(tl.int32)) == 0:
            g = _bound(tile[0], unit(env, FLAGS), penalty, g, (stop > 0) | guessed)
    fresh = guessed.to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 64):
        g = once(g)
        stop = once(stop)
        square, linear, _, _ = sums(tile, env, g, g * 0.0, 0.0, ROOT, FLAGS, BLOCK)
        new, ended = _steeper(square, linear, g, penalty)
        ended = tl.where(fresh > 0, tl.abs(new - g) <= g * CLOSER, ended)
        g = tl.where(stop > 0, g, tl.where(fresh > 0, new, tl.maximum(new, g)))
        fresh = fresh * 0
        stop = stop | ended.to(tl.int32)
        steps += 1
    return 0.5 / g


@triton.jit
def root_shift(tile, env, tau, square, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the shift 2τ(1 − W) for W² = Σ p b², without cancellation near the prior."""
    lack = 1 - square
    near = tl.abs(lack) < 0.5
    if tl.max(near.to(tl.int32)) > 0:
        _, growth, _, _ = reread(tile, env, tau, tau * 0.0, 0.5, POWER, FLAGS, BLOCK)
        lack = tl.where(near, -growth, lack)
    return 2 * tau * lack / (1 + tl.sqrt(square))


@triton.jit
def solve_power(tile, env, penalty, mass, k, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return τ, the log-normaliser there, and the shift; the norm of (τ − kx)₊ is convex in τ: as above."""
    penalty = tl.where(done, 1.0, penalty)
    tau = tl.minimum(penalty * tl.exp(-k * tl.log(tl.where(mass > 0, mass, 1.0))), penalty + k)
    tau = tl.maximum(tau, penalty)
    noise = 4.76837158203125e-07 * (1 + k) * penalty
    stop = (done | (tau == penalty)).to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 64):
        log_mass, mean = power_at(tile, env, tau, k, FLAGS, BLOCK)
        norm = tl.exp(k * log_mass)
        value = tau * norm - penalty
        new = tl.maximum(tau - value / (norm * (1 + k * mean / tau)), penalty)
        ended = ((value <= noise) | (tau - new <= tau * ROUND)).to(tl.int32)
        tau = tl.where((stop > 0) | (value <= noise), tau, new)
        stop = stop | ended
        steps += 1
    log_mass, _ = power_at(tile, env, tau, k, FLAGS, BLOCK)
    return tau, log_mass, tau * tl.exp(k * log_mass) * expm1(-k * log_mass) / k
