"""The backward kernel: the weights' Jacobian times a vector, the residual of an h-weighted regression on 1 (and x)."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .tile import begin, most, places, total, totals

FLAT = tl.constexpr(0)
EXPONENTIAL = tl.constexpr(1)
POWERED = tl.constexpr(2)
UNDER_CAP = tl.constexpr(3)
ROOTED = tl.constexpr(4)
HAS_PRIOR = tl.constexpr(1)
HAS_CAPS = tl.constexpr(2)
BALL = tl.constexpr(4)
DIVIDE_BEFORE = tl.constexpr(8)
DIVIDE_AFTER = tl.constexpr(16)
WHOLE = tl.constexpr(32)
"""Bits of PULL_FLAGS; values in the metric of a prior p have the Jacobian of values/p, and full tiles no bounds."""


@triton.jit
def _load(at, inside, PULL_FLAGS: tl.constexpr):
    if WHOLE & PULL_FLAGS:
        return tl.load(at).to(tl.float32)
    else:
        return tl.load(at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _tile(io, at, start, n, here, cap, k, KIND: tl.constexpr, PULL_FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return upstream, curvature, regressor and prior of a tile, 0 where nothing moves."""
    up, weights, scores, prior, caps = io
    at_up, at_weights, at_scores, at_prior, at_caps, cols = at
    cols = start + cols
    inside = here & (cols < n)
    if WHOLE & PULL_FLAGS:
        inside = cols >= 0
    q = _load(weights + at_weights + cols, inside, PULL_FLAGS)
    g = _load(up + at_up + cols, inside, PULL_FLAGS)
    p = tl.where(inside, 1.0, 0.0)
    if HAS_PRIOR & PULL_FLAGS:
        p = _load(prior + at_prior + cols, inside, PULL_FLAGS)
    moving = inside & (q > 0)
    if KIND == UNDER_CAP:
        c = p * 0.0 + cap
        if HAS_CAPS & PULL_FLAGS:
            c = _load(caps + at_caps + cols, inside, PULL_FLAGS)
        moving = moving & (q < c)
    if KIND == EXPONENTIAL:
        h = q
    elif KIND == ROOTED:
        h = tl.sqrt(tl.where(moving, q, 0.0))
        if HAS_PRIOR & PULL_FLAGS:
            h = h * tl.sqrt(tl.where(p > 0, p, 0.0))
    elif KIND == POWERED:
        h = tl.exp((1 - k) * tl.log(tl.where(moving, q, 1.0)))
        if HAS_PRIOR & PULL_FLAGS:
            h = h * tl.exp(k * tl.log(tl.where(p > 0, p, 1.0)))
    else:
        h = p
    h = tl.where(moving, h, 0.0)
    moving = h > 0
    safe = tl.where(moving, p, 1.0)
    if DIVIDE_BEFORE & PULL_FLAGS:
        g = g / safe
    g = tl.where(moving, g, 0.0)
    x = h
    if BALL & PULL_FLAGS:
        x = _load(scores + at_scores + cols, inside, PULL_FLAGS)
        if (DIVIDE_BEFORE | DIVIDE_AFTER) & PULL_FLAGS:
            x = x / safe
        x = tl.where(moving, x, 0.0)
    return g, h, x, moving


@triton.jit
def pull_kernel(
    up, weights, scores, prior, caps, numbers, out, rows, n,
    stride_up, stride_scores, stride_prior, stride_caps, cap, k, always,
    KIND: tl.constexpr, PULL_FLAGS: tl.constexpr, LOOPS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Pull ROWS rows; ``always`` tells that a ball binds whatever the multiplier."""
    row, cols = places(ROWS, WIDTH, BLOCK)
    row = tl.program_id(0) * ROWS + row
    here = row < rows
    wide = row.to(tl.int64)
    io = (up, weights, scores, prior, caps)
    own = begin(wide, n)
    at = (
        begin(wide, stride_up), own, begin(wide, stride_scores), begin(wide, stride_prior), begin(wide, stride_caps),
        cols,
    )  # fmt: skip
    rate = tl.load(numbers + 3 * rows + row, mask=here, other=0.0)
    g, h, x, moving = _tile(io, at, 0, n, here, cap, k, KIND, PULL_FLAGS, BLOCK)
    size, mean = totals(h, h * g)
    if LOOPS:
        for start in range(BLOCK, n, BLOCK):
            g1, h1, x1, _ = _tile(io, at, start, n, here, cap, k, KIND, PULL_FLAGS, BLOCK)
            size += total(h1)
            mean += total(h1 * g1)
    safe_size = tl.where(size > 0, size, 1.0)
    mean = mean / safe_size
    slope = mean * 0.0
    centre = mean * 0.0
    reach = centre + 1.0
    if BALL & PULL_FLAGS:
        centre = total(h * (x / safe_size))
        if LOOPS:
            for start in range(BLOCK, n, BLOCK):
                g1, h1, x1, _ = _tile(io, at, start, n, here, cap, k, KIND, PULL_FLAGS, BLOCK)
                centre += total(h1 * (x1 / safe_size))
        reach = most(tl.where(moving, tl.abs(x - centre), 0.0))
        if LOOPS:
            for start in range(BLOCK, n, BLOCK):
                g1, h1, x1, m1 = _tile(io, at, start, n, here, cap, k, KIND, PULL_FLAGS, BLOCK)
                reach = tl.maximum(reach, most(tl.where(m1, tl.abs(x1 - centre), 0.0)))
        reach = tl.where(reach > 0, reach, 1.0)
        off = (x - centre) / reach
        spread, along = totals(h * off * off, h * off * (g - mean))
        if LOOPS:
            for start in range(BLOCK, n, BLOCK):
                g1, h1, x1, _ = _tile(io, at, start, n, here, cap, k, KIND, PULL_FLAGS, BLOCK)
                off1 = (x1 - centre) / reach
                spread += total(h1 * off1 * off1)
                along += total(h1 * off1 * (g1 - mean))
        multiplier = tl.load(numbers + row, mask=here, other=0.0)
        binds = (multiplier > 0.5) | (always > 0)
        slope = tl.where(binds, along / tl.where(spread > 0, spread, 1.0), 0.0)
    if LOOPS:
        for start in range(0, n, BLOCK):
            g1, h1, x1, m1 = _tile(io, at, start, n, here, cap, k, KIND, PULL_FLAGS, BLOCK)
            _put(out + own, start + cols, n, here, rate, g1, h1, x1, m1, mean, slope, centre, reach, PULL_FLAGS)
    else:
        _put(out + own, cols, n, here, rate, g, h, x, moving, mean, slope, centre, reach, PULL_FLAGS)


@triton.jit
def _put(out, cols, n, here, rate, g, h, x, moving, mean, slope, centre, reach, PULL_FLAGS: tl.constexpr):
    residual = g - mean
    if BALL & PULL_FLAGS:
        residual = residual - slope * ((x - centre) / reach)
    factor = h
    if DIVIDE_AFTER & PULL_FLAGS:
        factor = 1.0
    d = tl.where(moving & (rate != 0), rate * factor * residual, 0.0)
    if WHOLE & PULL_FLAGS:
        tl.store(out + cols, d.to(out.dtype.element_ty))
    else:
        tl.store(out + cols, d.to(out.dtype.element_ty), mask=here & (cols < n))
