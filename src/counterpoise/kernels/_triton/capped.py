"""Capped simplex: the threshold of Σ clip(v + τp, 0, c) = 1 (`counterpoise.projection`)."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .elementary import over
from .root import ROUND
from .sums import CLIP, UP_TO, clip, sums
from .tile import CAPS, LOOPED, PRIOR, once, total

FAR = tl.constexpr(4.0)
"""Largest threshold that is counted from the top atom: a larger one's roundings are not those of weights up to 1."""
STEPS = tl.constexpr(256)
FREE = tl.constexpr(8)
"""Steps that need not halve."""
NEARLY = tl.constexpr(0.03125)
"""How far from 1 the sum may be where columns' nearest atoms alone are looked at."""


@triton.jit
def _search(
    tile, env, origin, y, lo, hi, done, ALIKE: tl.constexpr, ROUGH: tl.constexpr, FLAGS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Return y at Σ clip(p(origin − x + y), 0, c) = 1, that sum, and the mass of what is not clipped.

    The sum is neither convex nor concave in y: Newton's step is taken inside the bracket, after some where it at least
    halves. Where a rounding of y is a part of a weight a small step proves nothing: then the bracket must close.
    ``ALIKE`` atoms have mass 1 and one cap, and the origin is 0; ``ROUGH`` y is a step from a sum that is nearly 1.
    """
    stop = done.to(tl.int32)
    last = lo * 0.0 + float("inf")
    size = lo * 0.0
    free = size
    growth = 2.0
    steps = 0
    left = 1 - tl.min(stop)
    while (left > 0) & (steps < STEPS):
        y = once(y)
        lo = once(lo)
        hi = once(hi)
        last = once(last)
        stop = once(stop)
        if ALIKE:
            filled, rising = clip(tile[0], tile[2], y)
        else:
            filled, rising, _, _ = sums(tile, env, y, origin, 0.0, CLIP, FLAGS, BLOCK)
        v = filled - 1
        lo = tl.where(v <= 0, tl.maximum(lo, y), lo)
        hi = tl.where(v >= 0, tl.minimum(hi, y), hi)
        step = over(v, tl.where(rising > 0, rising, 1.0))
        new = y - step
        good = (rising > 0) & (new > lo) & (new < hi) & ((2 * tl.abs(step) <= last) | (steps < FREE))
        close = tl.abs(y) <= FAR
        settled = (stop > 0) | (tl.abs(v) <= tl.where(close, tl.fma(tl.abs(y), rising, 1.0), 1.0) * ROUND)
        size = tl.where(stop > 0, size, filled)
        free = tl.where(stop > 0, free, rising)
        ended = settled | (hi - lo <= tl.abs(lo) * ROUND)
        if ROUGH:
            ended = ended | (tl.abs(v) <= NEARLY)
        else:
            ended = ended | (good & close & (tl.abs(new - y) <= tl.abs(y) * ROUND))
        left = tl.max(tl.where(ended, 0, tl.where(good, 1, 2)))
        if left == 2:
            middle = lo + (hi - lo) * 0.5
            ratio = tl.sqrt(tl.maximum(lo, 0.0)) * tl.sqrt(tl.maximum(hi, 0.0))
            middle = tl.where((lo > 0) & (hi > 4 * lo), ratio, middle)
            new = tl.where(good, new, tl.where(hi < float("inf"), middle, y * growth))
            growth = growth * 2
            ended = ended | (close & (tl.abs(new - y) <= tl.abs(y) * ROUND))
            left = tl.max(tl.where(ended, 0, 1))
        last = tl.abs(new - y)
        if ROUGH:
            y = tl.where(settled | (ended & (good == 0)), y, new)
        else:
            y = tl.where(ended, y, new)
        stop = ended.to(tl.int32)
        steps += 1
    return y, size, free


@triton.jit
def _bound(tile, env, zero, y, lo, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return where the nearest atom of every column alone has y, nearly, or y where their caps are too low."""
    x, p, c = tile
    near = tl.min(x, axis=0, keep_dims=True)
    room = c * total(tl.where(near < float("inf"), 1.0, 0.0))
    open = zero + float("inf")
    bound, _, _ = _search((near, p, c), env, zero, y, lo, open, done | (room < 1.01), True, True, FLAGS, BLOCK)
    return bound


@triton.jit
def solve_capped(tile, env, mass, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return an origin, the threshold counted from it, the weights' sum there, and the mass of what is not clipped.

    A threshold far from the top is found a second time, counted from an atom near it.
    """
    zero = mass * 0.0
    lo = 0.5 / mass
    y = 2 * lo
    if ((PRIOR | CAPS | LOOPED) & FLAGS) == 0:
        y = tl.maximum(tl.minimum(tile[2], 1.0), y)
        if tile[0].shape[0] > 2:
            y = _bound(tile, env, zero, y, lo, done, FLAGS, BLOCK)
    y, size, free = _search(
        tile, env, zero, y, lo, zero + float("inf"), done, ((PRIOR | CAPS | LOOPED) & FLAGS) == 0, False, FLAGS, BLOCK
    )  # fmt: skip
    far = (done == 0) & (y > FAR)
    origin = zero
    if tl.max(far.to(tl.int32)) > 0:
        near, _, _, _ = sums(tile, env, y * (1 + 4 * ROUND), zero, 0.0, UP_TO, FLAGS, BLOCK)
        origin = tl.where(far, near, 0.0)
    off = y - origin
    width = y * (8 * ROUND)
    threshold, size2, free2 = _search(
        tile, env, origin, off, -width, tl.maximum(off, 0.0) + width, far == 0, False, False, FLAGS, BLOCK
    )  # fmt: skip
    return origin, threshold, tl.where(far, size2, size), tl.where(far, free2, free)
