"""One step of the core's bracketed Newton iteration (`counterpoise._roots.find_root`), on a column of rows."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .tile import once

TINY = tl.constexpr(1.1754943508222875e-38)
HUGE = tl.constexpr(4.8e34)
ROUND = tl.constexpr(2.384185791015625e-07)
CLOSE = tl.constexpr(0.00048828125)
CLOSER = tl.constexpr(0.0001220703125)
"""A Newton step beside what it moves that leaves a rounding: of the mean weight, for a ball; 1e-7 where measured."""


@triton.jit
def _middle(x, x0, lo, hi):
    """Return where to look when Newton's step is not to be trusted: between the bounds, or far beyond the lower one."""
    ratio = tl.where(x0 > 0, tl.maximum(x, x0) / tl.maximum(tl.minimum(x, x0), TINY), 8.0)
    growth = tl.minimum(tl.maximum(ratio, 8.0), 1e8)
    growth = growth * growth
    far = tl.where(lo > 0, lo, tl.maximum(hi / growth / growth, TINY))
    bounded = hi < float("inf")
    safe_hi = tl.where(bounded, hi, 1.0)
    middle = tl.where(safe_hi > 4 * lo, tl.sqrt(far) * tl.sqrt(safe_hi), lo + (safe_hi - lo) * 0.5)
    return tl.where(bounded, middle, tl.minimum(x * growth, HUGE))


@triton.jit
def advance(x, bracket, v, slowness, noise):
    """Return the next point, the bracket, the point left, the step, which rows have ended, and 0 where all have.

    The bracket is a lower and an upper bound, the point before, its step and the rows that had ended; ``slowness`` is
    1/v'. Newton's step leaves an error of its square's size: one whose square is a rounding needs no look after it.
    """
    lo, hi, x0, last, stop = bracket
    lo = tl.where(v <= 0, tl.maximum(lo, x), lo)
    hi = tl.where(v >= 0, tl.minimum(hi, x), hi)
    step = v * slowness
    new = tl.minimum(x - step, 8 * x)
    good = (slowness > 0) & (new > lo) & (new < hi) & (2 * tl.abs(step) < last)
    settled = (stop > 0) | (tl.abs(v) <= noise)
    ended = settled | (good & (tl.abs(new - x) <= x * CLOSE)) | (hi - lo <= lo * ROUND)
    left = tl.max(tl.where(ended, 0, tl.where(good, 1, 2)))
    if left == 2:
        new = once(tl.where(good, new, _middle(x, x0, lo, hi)))
        ended = ended | (tl.abs(new - x) <= x * ROUND)
        left = tl.max(tl.where(ended, 0, 1))
    return tl.where(settled, x, new), lo, hi, x, tl.abs(new - x), ended.to(tl.int32), left
