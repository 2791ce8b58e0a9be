"""KL: Newton on √KL − √ρ in t = 1/λ (`counterpoise._solvers.kl`)."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .elementary import LOG2E, log1p, over
from .root import advance
from .sums import GROWTH, TILT, reread, sums
from .tile import once

SMALL = tl.constexpr(0.0625)
"""A divergence beyond bears the rounding of a normaliser near 1: weights are as exact as without it."""
STRAIGHT = tl.constexpr(0.3)
"""How far from the root, in parts of √KL, a cubic is no better than a line."""


@triton.jit
def tilt(tile, env, t, mean, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the centre c of e^{t(c − x)}, its normaliser and that's log, mean and variance of t(c − x) under it."""
    centre = tl.minimum(mean, over(1.0, tl.maximum(t, 1.0)))
    mass, first, second, _ = sums(tile, env, t, centre, 0.0, TILT, FLAGS, BLOCK)
    mass = tl.where(mass > 0, mass, 1.0)
    log_mass = tl.log(mass)
    share = 1 / mass
    first = first * share
    near = tl.abs(mass - 1) < 0.5
    near = near & (first - log_mass < SMALL)
    if tl.max(near.to(tl.int32)) > 0:  # else what cancels in mass − 1 is not wanted
        growth, _, _, _ = reread(tile, env, t, centre, 0.0, GROWTH, FLAGS, BLOCK)
        log_mass = tl.where(near, log1p(tl.where(near, growth, 0.0)), log_mass)
    log_mass = once(log_mass)
    return centre, (mass, log_mass), first, second * share - first * first


@triton.jit
def _bent(slowness, value, root, t):
    """Return the slowness of a first step to the root along a cubic.

    It is t as a function of √KL, with the values and slopes that are known at t and at 0: there, from the variance, the
    start itself is the slope, times the root.
    """
    inverse = over(1.0, value)
    off = root * inverse - 1
    bent = slowness + off * ((2 + off) * slowness - 2 * t * inverse * (1 + off))
    return tl.where(tl.abs(off) < STRAIGHT, bent, slowness)


@triton.jit
def solve_kl_ball(tile, env, radius, mean, spread, done, known, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return t, and there what `tilt` does; ``known`` is the t of rows that are done.

    The last look is not at t itself but a step before. From there a normaliser's log goes on as its cumulants say: the
    step is a root of a rounding at most, and what the third one adds is less than a rounding.
    """
    root = tl.sqrt(radius)
    noise = tl.minimum(4.76837158203125e-07 * (1 + root), root * 0.25)
    t = tl.where(done, known, tl.sqrt(2 * radius / tl.where(spread > 0, spread, 1.0)))
    lo = t * 0.0
    hi = lo + float("inf")
    before = lo
    last = hi
    at = t
    centre = lo
    mass = lo
    log_mass = lo
    first = lo
    variance = lo
    stop = done.to(tl.int32)
    steps = 0
    left = 1  # rows that are done are looked at too
    while (left > 0) & (steps < 64):
        at = once(t)
        centre, masses, first, variance = tilt(tile, env, at, mean, FLAGS, BLOCK)
        mass, log_mass = masses
        value = tl.sqrt(tl.maximum(first - log_mass, 0.0))
        slowness = over(2 * at * tl.where(value > 0, value, 1.0), variance)
        if steps == 0:
            slowness = _bent(slowness, value, root, at)
        bracket = (once(lo), once(hi), once(before), once(last), once(stop))
        t, lo, hi, before, last, stop, left = advance(at, bracket, value - root, slowness, noise)
        steps += 1
    step = (t * LOG2E - at * LOG2E) / (at * LOG2E)  # of what the exponents bear, roundings and all
    gain = step * (first + 0.5 * variance * step)
    first = (first + variance * step) * (1 + step)
    return t, centre, (mass * tl.exp(gain), log_mass + gain), first
