"""CVaR: the last atom that the level reaches, between two bounds that are atoms themselves."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .sums import KEYS, sums


@triton.jit
def solve_cvar(tile, env, level, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the last x reached and the share of its own mass that is filled.

    Bounds are the integers that order distances as floats. A step guesses as if the mass between them were spread
    evenly, every third halves the integers, and the bound moves on to the next atom: what is left holds it still.
    """
    lo = level.to(tl.int32) * 0 - 1
    hi = tl.where(done, 0, lo + 0x3F800008)  # just above 1, the largest distance
    before = level * 0.0
    upto = before + 1.0
    steps = 0
    while (tl.max(hi - lo) > 1) & (steps < 96):
        left = (lo + 1).to(tl.float32, bitcast=True)
        right = hi.to(tl.float32, bitcast=True)
        share = (level - before) / tl.maximum(upto - before, 1.1754943508222875e-38)
        guess = left + (right - left) * tl.minimum(tl.maximum(share, 0.0), 1.0)
        middle = lo + (hi - lo) // 2
        if steps % 3 != 2:
            middle = guess.to(tl.int32, bitcast=True)
        middle = tl.minimum(tl.maximum(middle, lo + 1), hi - 1)
        reached, _, beyond, within = sums(tile, env, middle, before, 0.0, KEYS, FLAGS, BLOCK)
        open = (hi - lo) > 1
        up = open & (reached >= level)
        down = open & (reached < level)
        hi = tl.where(up, within.to(tl.int32, bitcast=True), hi)
        upto = tl.where(up, reached, upto)
        lo = tl.where(down, beyond.to(tl.int32, bitcast=True) - 1, lo)
        before = tl.where(down, reached, before)
        steps += 1
    tie = upto - before
    part = tl.minimum(tl.maximum((level - before) / tl.where(tie > 0, tie, 1.0), 0.0), 1.0)
    return hi.to(tl.float32, bitcast=True), part
