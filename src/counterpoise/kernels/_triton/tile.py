"""Rows of a batch in canonical form: loading a tile of atoms, and what a row's first look at itself yields."""

# mypy: ignore-errors
import triton
import triton.language as tl

PRIOR = tl.constexpr(1)
MASK = tl.constexpr(2)
CAPS = tl.constexpr(4)
METRIC = tl.constexpr(8)
CAPPED = tl.constexpr(16)
LOOPED = tl.constexpr(32)
SQUARED = tl.constexpr(64)
FULL = tl.constexpr(128)
"""Bits of FLAGS: what is given, how scores are meant, whether rows are read again in every pass, if a is 1.5, and if
tiles are full: no bounds are tested then."""


@triton.jit
def fold(v):
    """Return sums of columns, shape (1, rows, width): of what a thread has itself."""
    return tl.sum(v, axis=0, keep_dims=True)


@triton.jit
def total(v):
    """Sum of each row, shape (1, rows, 1)."""
    return tl.sum(fold(v), axis=2, keep_dims=True)


@triton.jit
def totals(v, w):
    """Return sums of each row of two arrays, shape (1, rows, 1); for both at once threads meet and terms are kept."""
    both = tl.join(fold(v), fold(w))
    return tl.split(tl.sum(both, axis=2, keep_dims=True))


@triton.jit
def totals3(u, v, w):
    """Return sums of each row of three arrays, likewise."""
    w = fold(w)
    four = tl.join(tl.join(fold(u), fold(v)), tl.join(w, w))
    first, second = tl.split(tl.sum(four, axis=2, keep_dims=True))
    u, v = tl.split(first)
    w, _ = tl.split(second)
    return u, v, w


@triton.jit
def ends(v):
    """Return the largest and the smallest of each row, shape (1, rows, 1), likewise."""
    both = tl.join(tl.max(v, axis=0, keep_dims=True), tl.max(-v, axis=0, keep_dims=True))
    top, bottom = tl.split(tl.max(both, axis=2, keep_dims=True))
    return top, -bottom


@triton.jit
def most(v):
    """Largest of each row, shape (1, rows, 1)."""
    return tl.max(tl.max(v, axis=0, keep_dims=True), axis=2, keep_dims=True)


@triton.jit
def once(v):
    """Return a row's number, shape (1, rows, 1), as it is.

    A thread holds it four times, as it does four atoms; in a loop what the compiler does not see to be equal would be
    computed as often.
    """
    return tl.max(v, axis=2, keep_dims=True)


@triton.jit
def places(ROWS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Return rows (1, rows, 1) and columns (chunks, 1, width) of a tile.

    Threads are dealt along the width, then over rows: a short row is shared by few of them, each with chunks of its
    own, and what is done once a row is done for all rows of a warp at once.
    """
    chunk = tl.arange(0, BLOCK // WIDTH)[:, None, None] * WIDTH
    return tl.arange(0, ROWS)[None, :, None], chunk + tl.arange(0, WIDTH)[None, None, :]


@triton.jit
def begin(row, stride):
    """Return where rows begin.

    The hint is for the compiler's deal of threads alone, which goes by it: along the width, then over rows, as some
    versions of Triton would not without. No load is along rows, so that it need not be true.
    """
    first = row * stride
    if row.shape[1] > 1:
        first = tl.max_contiguous(first, (1, 2, 1))
    return first


@triton.jit
def binade(v):
    """Return a power of two near 1/v, for v > 0: products with it are exact, where a quotient would take ten steps."""
    exponent = v.to(tl.int32, bitcast=True) & 0x7F800000
    return tl.maximum(0x7F000000 - exponent, 0x00800000).to(tl.float32, bitcast=True)


@triton.jit
def clamped(v):
    """Return v cut to [0, 1], NaN to 0: NVIDIA's additions and products do that at no cost of their own.

    A maximum, a comparison and a choice each take twice an addition's time there, and keep no more exactly: with powers
    of two as factors a difference that is cut from below stays what it is, and a huge one is 1 where it is positive.
    """
    return tl.minimum(tl.maximum(v, 0.0), 1.0)


@triton.jit
def load(io, at, start, cap, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return scores, masses, caps of a tile and what of it is inside: what is not inside has score -inf and mass 0.

    Masses and caps that all atoms share stay one number: they would fill the registers otherwise.
    """
    scores, prior, mask, caps = io
    at_scores, at_prior, at_mask, at_caps, count, cols = at
    cols = start + cols
    p = tl.full((1, 1, 1), 1.0, tl.float32)
    c = p * cap
    if FULL & FLAGS:
        inside = cols >= 0
        x = tl.load(scores + at_scores + cols)
        if MASK & FLAGS:
            inside = tl.load(mask + at_mask + cols) != 0
        if PRIOR & FLAGS:
            p = tl.load(prior + at_prior + cols).to(tl.float32)
        if CAPS & FLAGS:
            c = tl.load(caps + at_caps + cols).to(tl.float32)
    else:
        inside = cols < count
        x = tl.load(scores + at_scores + cols, mask=inside, other=-float("inf"))
        if MASK & FLAGS:
            inside = inside & (tl.load(mask + at_mask + cols, mask=inside, other=0) != 0)
        if PRIOR & FLAGS:
            p = tl.load(prior + at_prior + cols, mask=inside, other=0.0).to(tl.float32)
        if CAPS & FLAGS:
            c = tl.load(caps + at_caps + cols, mask=inside, other=0.0).to(tl.float32)
    x = x.to(tl.float32)
    if MASK & FLAGS:
        x = tl.where(inside, x, -float("inf"))
        if PRIOR & FLAGS:
            p = tl.where(inside, p, 0.0)
        if CAPS & FLAGS:
            c = tl.where(inside, c, 0.0)
    return x, p, c, inside


@triton.jit
def _living(x, p, c, shrink, FLAGS: tl.constexpr):
    """Return scores, -inf where an atom does not count, and masses in units of 1/shrink; NaN scores stay NaN."""
    if PRIOR & FLAGS:
        possible = (p > 0) & (p < float("inf"))
        x = tl.where(possible, x, -float("inf"))
        p = tl.where(possible, p * shrink, 0.0)
        if METRIC & FLAGS:
            x = x / tl.where(possible, p, 1.0)
    if CAPS & FLAGS:
        x = tl.where(c > 0, x, -float("inf"))
    return x, p


@triton.jit
def canonical(x, p, c, inside, scale, FLAGS: tl.constexpr):
    """Return distances below the top in [0, 1], +inf where dead, and masses: no mask is kept in registers.

    Masses sum to 1 with a prior, and are 1 without: `sums` and `measure` divide what they return.
    """
    anchor, _, shrink, mass, infinite, step, stride = scale
    x, p = _living(x, p, c, shrink, FLAGS)
    # the first is decided by the compiler, the second in the kernel
    if LOOPED & FLAGS:  # noqa: SIM114
        x = _leading(x, infinite)
    elif tl.max(infinite) > 0:
        x = _leading(x, infinite)
    if CAPPED & FLAGS:
        d = anchor - x  # not in units of the range: caps have their own
    else:
        d = tl.fma(x, -step, anchor * step) * stride
    if PRIOR & FLAGS:
        p = tl.where(x > -float("inf"), p, 0.0)
        if (CAPPED & FLAGS) == 0:
            p = p * (1 / mass)
    return d, p


@triton.jit
def _leading(x, infinite):
    """Of a row with +inf, put that at 0 and everything finite a range below."""
    finite = tl.where(x == x, tl.where(x == -float("inf"), x, -1.0), x)
    return tl.where(infinite > 0, tl.where(x == float("inf"), 0.0, finite), x)


@triton.jit
def head(tile, io, at, n, cap, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return a row's scale, top, and marks: no live atom, bad masses, bad caps; and the sum of its caps.

    The scale: where distances start, half the range, what shrinks masses, their sum, if there is +inf, and the two
    factors that bring distances to [0, 1].
    """
    count = at[4]
    none = count.to(tl.float32) * 0.0
    shrink = none + 1.0
    if PRIOR & FLAGS:
        peak = none
        if LOOPED & FLAGS:
            for start in range(0, n, BLOCK):
                _, p, _, _ = load(io, at, start, cap, FLAGS, BLOCK)
                peak = tl.maximum(peak, most(tl.where((p > 0) & (p < float("inf")), p, 0.0)))
        else:
            peak = most(tl.where((tile[1] > 0) & (tile[1] < float("inf")), tile[1], 0.0))
        shrink = binade(tl.where(peak > 0, peak, 1.0))
    top = none - float("inf")
    bottom = none + float("inf")
    mass = none
    marks = none
    room = none
    if LOOPED & FLAGS:
        for start in range(0, n, BLOCK):
            x, p, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            a, b, m, k, r = _look(x, p, c, inside, shrink, FLAGS)
            top = tl.maximum(top, a)
            bottom = tl.minimum(bottom, b)
            mass += m
            marks = tl.maximum(marks, k)
            room += r
    else:
        top, bottom, mass, marks, room = _look(tile[0], tile[1], tile[2], tile[3], shrink, FLAGS)
    infinite = (top == float("inf")).to(tl.float32)
    flat = (infinite > 0) | ((top > -float("inf")) == 0)
    anchor = tl.where(flat, 0.0, top)
    top = tl.where(infinite > 0, top, anchor)
    half = tl.where(infinite > 0, 0.5, 0.5 * anchor - 0.5 * tl.where(flat, 0.0, bottom))
    if CAPPED & FLAGS:
        half = none + 0.5
        marks = tl.where((infinite > 0) & (marks == 0), 1.0, marks)
    half = tl.where(half > 0, half, 0.5)
    empty = mass == 0
    mass = tl.where(empty, 1.0, mass)
    near = binade(half)
    return (anchor, half, shrink, mass, infinite, 0.5 * near, 1 / (half * near)), top, empty, marks, room


@triton.jit
def _look(x, p, c, inside, shrink, FLAGS: tl.constexpr):
    """Return top, bottom, mass, marks and the sum of caps of a tile; NaN scores show later, in the mean distance."""
    marks = shrink * 0.0
    if ((PRIOR | CAPS) & FLAGS) == 0:
        top, bottom = ends(x)
        mass = marks + x.shape[0] * x.shape[2]
        if tl.min(bottom) == -float("inf"):  # else all atoms live, and are not asked one by one
            live = x > -float("inf")
            bottom = -most(tl.where(live, -x, -float("inf")))
            mass = total(tl.where(live, 1.0, 0.0))
        room = marks
        if CAPPED & FLAGS:
            mass = tl.where(c > 0, mass, 0.0)
            room = tl.where(c > 0, mass * c, 0.0)
            marks = tl.where(c >= 0, marks, 2.0)
        return top, bottom, mass, marks, room
    if PRIOR & FLAGS:
        marks = most(tl.where(((p > 0) & (p < float("inf"))) | (p == 0), 0.0, 2.0))
    if CAPPED & FLAGS:
        marks = tl.maximum(marks, most(tl.where(inside & ((c != c) | (c < 0)), 2.0, 0.0)))
    x, p = _living(x, p, c, shrink, FLAGS)
    live = x > -float("inf")
    bottom = -most(tl.where(live, -x, -float("inf")))
    return most(x), bottom, total(tl.where(live, p, 0.0)), marks, total(tl.where(live, c, 0.0))
