"""Capped simplex: the threshold of Σ clip(v + τp, 0, c) = 1, found twice (`counterpoise.projection`)."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .root import advance
from .sums import CLIP, UP_TO, sums


@triton.jit
def _threshold(tile, env, origin, guess, mass, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    zero = origin * 0.0
    value, _, _, _ = sums(tile, env, zero, origin, 0.0, CLIP, FLAGS, BLOCK)
    start = value - 1
    done = done | (start >= 0)
    missing = tl.where(done, 1.0, -start / mass)
    y = tl.maximum(missing, guess)
    lo = 0.5 * missing
    hi = zero + float("inf")
    before = zero
    last = hi
    stop = done.to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 256):
        filled, rising, _, _ = sums(tile, env, y, origin, 0.0, CLIP, FLAGS, BLOCK)
        y, lo, hi, before, last, stop = advance(
            y, lo, hi, before, last, stop, filled - 1, rising, 2.384185791015625e-07
        )  # fmt: skip
        steps += 1
    return tl.where(done, 0.0, y)


@triton.jit
def solve_capped(tile, env, mass, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the origin (the last atom that enters before the root) and the threshold counted from it."""
    zero = mass * 0.0
    y = _threshold(tile, env, zero, zero, mass, done, FLAGS, BLOCK)
    rounding = 9.5367431640625e-07 * y
    at, _, _, _ = sums(tile, env, y + rounding, zero, 0.0, UP_TO, FLAGS, BLOCK)
    below, _, _, _ = sums(tile, env, y - rounding, zero, 0.0, UP_TO, FLAGS, BLOCK)
    filled, _, _, _ = sums(tile, env, zero, at, 0.0, CLIP, FLAGS, BLOCK)
    origin = tl.where(filled <= 1, at, below)
    return origin, _threshold(tile, env, origin, y - origin, mass, done, FLAGS, BLOCK)
