"""KL: Newton on √KL − √ρ in t = 1/λ (`counterpoise._solvers.kl`)."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .root import advance
from .sums import GROWTH, TILT, reread, scatter, sums
from .tile import log1p


@triton.jit
def tilt(tile, env, t, mean, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the centre c of e^{t(c − x)}, its normaliser and that's log, mean and variance of t(c − x) under it."""
    centre = tl.minimum(mean, 1 / tl.maximum(t, 1.0))
    mass, first, second, _ = sums(tile, env, t, centre, 0.0, TILT, FLAGS, BLOCK)
    mass = tl.where(mass > 0, mass, 1.0)
    log_mass = tl.log(mass)
    near = tl.abs(mass - 1) < 0.5
    if tl.max(near.to(tl.int32)) > 0:  # else what cancels in mass − 1 is not wanted
        growth, _, _, _ = reread(tile, env, t, centre, 0.0, GROWTH, FLAGS, BLOCK)
        log_mass = tl.where(near, log1p(tl.where(near, growth, 0.0)), log_mass)
    share = 1 / mass
    first = first * share
    return centre, (mass, log_mass), first, second * share - first * first


@triton.jit
def solve_kl_ball(tile, env, radius, mean, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return t."""
    spread = scatter(tile, env, mean, FLAGS, BLOCK)
    spread = tl.where(spread > 0, spread, 1.0)
    root = tl.sqrt(radius)
    noise = tl.minimum(4.76837158203125e-07 * (1 + root), root * 0.25)
    t = tl.where(done, 1.0, tl.sqrt(2 * radius / spread))
    lo = t * 0.0
    hi = lo + float("inf")
    before = lo
    last = hi
    stop = done.to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 64):
        _, masses, first, variance = tilt(tile, env, t, mean, FLAGS, BLOCK)
        value = tl.sqrt(tl.maximum(first - masses[1], 0.0))
        slope = variance / (2 * t * tl.where(value > 0, value, 1.0))
        t, lo, hi, before, last, stop = advance(t, lo, hi, before, last, stop, value - root, slope, noise)
        steps += 1
    return t
