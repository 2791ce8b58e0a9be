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
"""Bits of FLAGS: what is given, how scores are meant, and whether rows are read again in every pass."""


@triton.jit
def log1p(z):
    """log(1 + z); Kahan's quotient undoes the rounding of 1 + z."""
    u = 1.0 + z
    safe = tl.where(u == 1.0, 2.0, u)
    return tl.where(u == 1.0, z, tl.log(tl.where(safe > 0, safe, 1.0)) * (z / (safe - 1.0)))


@triton.jit
def expm1(z):
    """e^z − 1, likewise; large arguments need no help."""
    u = tl.exp(z)
    help = (u != 1.0) & (z > -0.5) & (z < 0.5)
    safe = tl.where(help, u, 2.0)
    small = (safe - 1.0) * (z / tl.log(safe))
    return tl.where(u == 1.0, z, tl.where(help, small, u - 1.0))


@triton.jit
def total(v):
    """Sum of each row, shape (rows, 1)."""
    return tl.sum(v, axis=1)[:, None]


@triton.jit
def most(v):
    """Largest of each row, shape (rows, 1)."""
    return tl.max(v, axis=1)[:, None]


@triton.jit
def load(io, at, start, cap, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return scores, masses, caps of a tile and what of it is inside: what is not inside has score -inf and mass 0."""
    scores, prior, mask, caps = io
    at_scores, at_prior, at_mask, at_caps, count = at
    cols = start + tl.arange(0, BLOCK)[None, :]
    inside = cols < count
    if MASK & FLAGS:
        inside = inside & (tl.load(mask + at_mask + cols, mask=inside, other=0) != 0)
    x = tl.load(scores + at_scores + cols, mask=inside, other=-float("inf")).to(tl.float32)
    p = inside.to(tl.float32)
    if PRIOR & FLAGS:
        p = tl.load(prior + at_prior + cols, mask=inside, other=0.0).to(tl.float32)
    c = p * 0.0 + cap
    if CAPS & FLAGS:
        c = tl.load(caps + at_caps + cols, mask=inside, other=0.0).to(tl.float32)
    return x, p, c, inside


@triton.jit
def alive(x, p, c, inside, FLAGS: tl.constexpr):
    """Return which atoms count; comparisons are false for NaN."""
    live = inside & (p > 0) & (p < float("inf")) & (x == x) & (x != -float("inf"))
    if CAPPED & FLAGS:
        live = live & (c > 0)
    return live


@triton.jit
def canonical(x, p, c, inside, scale, FLAGS: tl.constexpr):
    """Return distances below the top in [0, 1] and normalised masses, 0 where dead: no mask is kept in registers."""
    top, half, peak, mass, infinite, flat = scale
    live = alive(x, p, c, inside, FLAGS)
    p = tl.where(live, p / peak, 0.0)
    if (METRIC & FLAGS) and (PRIOR & FLAGS):
        x = x / tl.where(p > 0, p, 1.0)
    finite = (0.5 * top - 0.5 * tl.where(live & (x < float("inf")), x, 0.0)) / half
    d = tl.where(live & (flat == 0), finite, 0.0)
    d = tl.where(live & (infinite > 0) & (x < float("inf")), 1.0, d)
    if CAPPED & FLAGS:
        return d, p
    else:
        return d, p / mass


@triton.jit
def head(tile, io, at, n, cap, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return a row's top, half range, largest and total mass, and marks: NaN scores, bad masses, bad or short caps."""
    count = at[4]
    none = count.to(tl.float32) * 0.0
    peak = none
    if PRIOR & FLAGS:
        if LOOPED & FLAGS:
            for start in range(0, n, BLOCK):
                _, p, _, _ = load(io, at, start, cap, FLAGS, BLOCK)
                peak = tl.maximum(peak, most(tl.where((p > 0) & (p < float("inf")), p, 0.0)))
        else:
            peak = most(tl.where((tile[1] > 0) & (tile[1] < float("inf")), tile[1], 0.0))
        peak = tl.where(peak > 0, peak, 1.0)
    else:
        peak = none + 1.0
    top = none - float("inf")
    bottom = none + float("inf")
    mass = none
    marks = none
    room = none
    if LOOPED & FLAGS:
        for start in range(0, n, BLOCK):
            x, p, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            a, b, m, k, r = _look(x, p, c, inside, peak, FLAGS)
            top = tl.maximum(top, a)
            bottom = tl.minimum(bottom, b)
            mass += m
            marks = tl.maximum(marks, k)
            room += r
    else:
        top, bottom, mass, marks, room = _look(tile[0], tile[1], tile[2], tile[3], peak, FLAGS)
    infinite = (top == float("inf")).to(tl.float32)
    flat = ((top == float("inf")) | (top == -float("inf"))).to(tl.float32)
    top = tl.where(flat > 0, tl.where(infinite > 0, top, 0.0), top)
    anchor = tl.where(flat > 0, 0.0, top)
    half = 0.5 * anchor - 0.5 * tl.where(flat > 0, 0.0, bottom)
    if CAPPED & FLAGS:
        half = none + 0.5
    half = tl.where(half > 0, half, 0.5)
    empty = mass == 0
    mass = tl.where(empty, 1.0, mass)
    return (anchor, half, peak, mass, infinite, flat), top, empty, marks, room


@triton.jit
def _look(x, p, c, inside, peak, FLAGS: tl.constexpr):
    live = alive(x, p, c, inside, FLAGS)
    possible = (p > 0) & (p < float("inf"))
    marks = tl.where(inside & possible & (x != x), 1.0, 0.0)
    if CAPPED & FLAGS:
        marks = tl.where(live & (x == float("inf")), 1.0, tl.where(c > 0, marks, 0.0))
        marks = tl.where(inside & ((c != c) | (c < 0)), 2.0, marks)
    marks = tl.where(inside & (possible == 0) & (p != 0), 2.0, marks)
    z = x
    if (METRIC & FLAGS) and (PRIOR & FLAGS):
        z = x / tl.where(live, p / peak, 1.0)
    a = most(tl.where(live, z, -float("inf")))
    b = -most(tl.where(live, -z, -float("inf")))
    m = total(tl.where(live, p / peak, 0.0))
    r = total(tl.where(live, c, 0.0))
    return a, b, m, most(marks), r
