"""CVaR: the last atom that the level reaches, by halving the integers that order distances as floats."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .sums import KEYS, MOMENTS, sums


@triton.jit
def solve_cvar(tile, env, level, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the last x reached, the mass before it, and the share of its own mass that is filled."""
    zero = level * 0.0
    lo = zero.to(tl.int32) - 1
    hi = zero.to(tl.int32) + 0x3F800000  # 1.0, the largest distance
    hi = tl.where(done, 0, hi)
    while tl.max(hi - lo) > 1:
        middle = lo + (hi - lo) // 2
        reached, _, _, _ = sums(tile, env, middle, zero, 0.0, KEYS, FLAGS, BLOCK)
        enough = reached >= level
        open = (hi - lo) > 1
        hi = tl.where(open & enough, middle, hi)
        lo = tl.where(open & (enough == 0), middle, lo)
    last = hi.to(tl.float32, bitcast=True)
    before, _, _, _ = sums(tile, env, last, zero, 0.0, MOMENTS, FLAGS, BLOCK)
    upto, _, _, _ = sums(tile, env, hi, zero, 0.0, KEYS, FLAGS, BLOCK)
    tie = upto - before
    part = tl.minimum(tl.maximum((level - before) / tl.where(tie > 0, tie, 1.0), 0.0), 1.0)
    return last, before, part
