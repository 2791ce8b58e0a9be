"""What an iteration asks of its rows: a few sums over the atoms, from registers or, for long rows, from memory."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .elementary import LN2, grown, power_log, tilted
from .tile import (
    CAPPED,
    CAPS,
    LOOPED,
    PRIOR,
    SQUARED,
    binade,
    canonical,
    clamped,
    fold,
    load,
    most,
    total,
    totals,
    totals3,
)

MOMENTS = tl.constexpr(0)
SPREAD = tl.constexpr(1)
TILT = tl.constexpr(2)
POWER = tl.constexpr(3)
REACHED = tl.constexpr(4)
NEAREST = tl.constexpr(12)
BELOW = tl.constexpr(5)
UP_TO = tl.constexpr(6)
CLIP = tl.constexpr(7)
TOP = tl.constexpr(8)
ROOT = tl.constexpr(9)
RAMP = tl.constexpr(10)
GROWTH = tl.constexpr(11)
STEEPER = tl.constexpr(33554432.0)
"""More than the reciprocal of a rounding: the least difference from u, times it and 1/u, is above 1."""
STEEPEST = tl.constexpr(8.507059173023462e37)
SHORT = tl.constexpr(1e-30)
FEW = tl.constexpr(1)
"""Columns of four atoms that a thread rereads at a time."""


@triton.jit
def below(x, u):
    """Return 1 where x < u and 0 elsewhere, for x >= 0; at thresholds u up to SHORT it may be a part of 1."""
    steep = tl.minimum(binade(u) * STEEPER, STEEPEST)
    return clamped(tl.fma(x, -steep, u * steep))


@triton.jit
def _ramp(x, u):
    exponent = tl.minimum(u.to(tl.int32, bitcast=True) & 0x7F800000, 0x7D800000)
    near = (0x7E800000 - exponent).to(tl.float32, bitcast=True)  # u near lies in [½, 1)
    weight = fold(clamped(tl.fma(x, -near, u * near)))
    return weight * (exponent + 0x00800000).to(tl.float32, bitcast=True), fold(below(x, u))


@triton.jit
def ramp(x, u):
    """Return Σ (u − x)₊ and how many atoms it has, for x >= 0."""
    weight, held = _ramp(x, u)
    return totals(weight, held)


@triton.jit
def clipped(x, p, c, u, v):
    """Return p((v − x) + u) clipped to [0, c], and where it is not clipped."""
    off = (v - x) + u
    w = p * tl.maximum(off, 0.0)
    return tl.minimum(w, c), (off >= 0) & (w <= c)


@triton.jit
def clip(x, c, u):
    """Return Σ min((u − x)₊, c) and how many atoms are not clipped."""
    off = u - x
    held = tl.minimum(tl.maximum(off, 0.0), c)
    return totals(held, tl.where(held == off, 1.0, 0.0))


@triton.jit
def _root(x, p, g):
    base = clamped(tl.fma(x, -g, 1.0))
    return fold(p * base * base), fold(p * base)


@triton.jit
def root(x, p, g):
    """Return Σ p b² and Σ p b for b = (1 − gx)₊."""
    square, linear = _root(x, p, g)
    return totals(square, linear)


@triton.jit
def _reached(x, p, u, FLAGS: tl.constexpr):
    if PRIOR & FLAGS:
        held = fold(tl.where(x <= u, p, 0.0))
    elif tl.min(u) > SHORT:
        held = fold(below(x, (u.to(tl.int32, bitcast=True) + 1).to(tl.float32, bitcast=True)))
    else:
        held = fold(tl.where(x <= u, 1.0, 0.0))
    return held


@triton.jit
def _terms(x, p, c, u, v, k, PHASE: tl.constexpr, FLAGS: tl.constexpr):
    """Return sums of a tile's columns, up to four. Dead atoms have x = +inf.

    BELOW and UP_TO are a largest value instead, NEAREST a smallest number of steps from v to u x, u = ±1: integers
    order distances as floats do, and one below 0 is large without its sign, so that it takes a product and a minimum.
    """
    none = v * 0.0
    live = x < float("inf")
    if PHASE == TOP:
        return fold(tl.where(x == 0, p, 0.0)), fold(tl.where(x == float("inf"), 0.0, p * x)), none, none
    elif PHASE == MOMENTS and ((PRIOR | LOOPED) & FLAGS) == 0:  # no atom is at infinity
        held = below(x, tl.minimum(u, 1e30))
        off = x - v
        first = held * off
        return fold(held), fold(first), fold(first * off), none
    elif PHASE == MOMENTS:
        inside = x < u
        off = tl.where(inside, x - v, 0.0)
        first = p * off
        outside = fold(tl.where(live & (inside == 0), p, 0.0))
        return fold(tl.where(inside, p, 0.0)), fold(first), fold(first * off), outside
    elif PHASE == RAMP:
        weight, held = _ramp(x, u)
        return weight, held, none, none
    elif PHASE == SPREAD:
        off = tl.where(x < u, x - v, 0.0)
        return fold(p * off * off), none, none, none
    elif PHASE == TILT:
        z, e = tilted(x, v, u)
        w = p * e
        rise = w * z
        return fold(w), fold(rise) * LN2, fold(rise * z) * (LN2 * LN2), none
    elif PHASE == GROWTH:
        # written so that nothing is shared with the tilt: what its branch needs would be kept in registers before it
        _, e = tilted(x, v, u)
        return fold(tl.where(x * u < float("inf"), p * grown((v - x) * u, e), 0.0)), none, none, none
    elif PHASE == ROOT:
        square, linear = _root(x, p, u)
        return square, linear, none, none
    elif PHASE == POWER and (SQUARED & FLAGS):
        z = tl.maximum(x * (-0.5 / u), -1.0)
        rise = fold(tl.where(live, p * (z * (z + 2)), 0.0))
        return fold(p * (z + 1) * (z + 1)), rise, none, none
    elif PHASE == POWER:
        y, inside, base = power_log(x * (-k / u), k)
        e = tl.exp(y)
        w = tl.where(inside, p * e, 0.0)
        rise = tl.where(live, p * tl.where(inside, grown(y, e), -1.0), 0.0)
        return fold(w), fold(rise), fold(tl.where(inside, w * x / base, 0.0)), none
    elif PHASE == REACHED:
        return _reached(x, p, u, FLAGS), none, none, none
    elif PHASE == NEAREST:
        start = tl.abs(v).to(tl.int32, bitcast=True)
        sign = tl.where(u > 0, -1, 1)
        steps = (x.to(tl.int32, bitcast=True) * sign - start * sign).to(tl.uint32, bitcast=True)
        return tl.min(steps, axis=0, keep_dims=True), none, none, none
    elif PHASE == BELOW:
        return tl.max(tl.where(x < u, x, 0.0), axis=0, keep_dims=True), none, none, none
    elif PHASE == UP_TO:
        return tl.max(tl.where(live & (x <= u), x, 0.0), axis=0, keep_dims=True), none, none, none
    else:
        held, free = clipped(x, p, c, u, v)
        return fold(held), fold(tl.where(free, p, 0.0)), none, none


@triton.jit
def _met(a, b, c, d, u, v, PHASE: tl.constexpr, FLAGS: tl.constexpr):
    """Return sums of rows from those of columns: here threads and warps meet, once or twice."""
    none = v * 0.0
    if PHASE == NEAREST:
        step = tl.min(a, axis=2, keep_dims=True).to(tl.int32, bitcast=True)
        sign = tl.where(u > 0, -1, 1)
        near = u * (tl.abs(v).to(tl.int32, bitcast=True) + sign * step).to(tl.float32, bitcast=True)
        return tl.where(step >= 0, near, -float("inf")), none, none, none
    elif PHASE == BELOW or PHASE == UP_TO:
        return most(a), none, none, none
    elif PHASE == SPREAD or PHASE == GROWTH or PHASE == REACHED:
        return total(a), none, none, none
    elif PHASE == TILT or PHASE == MOMENTS or (PHASE == POWER and (SQUARED & FLAGS) == 0):
        a, b, c = totals3(a, b, c)
        if PHASE == MOMENTS and (PRIOR & FLAGS):
            none = total(d)
        return a, b, c, none
    else:
        a, b = totals(a, b)
        return a, b, none, none


@triton.jit
def unit(env, FLAGS: tl.constexpr):
    """Return what masses of a tile are multiplied by: 1, or without a prior one of an atom's."""
    if (PRIOR & FLAGS) or (CAPPED & FLAGS):
        return env[2][3] * 0.0 + 1.0
    else:
        return 1 / env[2][3]


@triton.jit
def sums(tile, env, u, v, k, PHASE: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum a phase's terms over all atoms of each row, at (u, v), each of shape (1, rows, 1)."""
    if LOOPED & FLAGS:
        io, at, scale, n, cap = env
        a = v * 0.0 + tl.zeros([1, 1, tile[0].shape[2]], tl.float32)
        b = a
        c = a
        d = a
        if PHASE == NEAREST:
            a = a.to(tl.uint32) - 1
        for start in range(0, n, BLOCK):
            z, m, ceiling, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, ceiling, inside, scale, FLAGS)
            a1, b1, c1, d1 = _terms(x, p, ceiling, u, v, k, PHASE, FLAGS)
            if PHASE == NEAREST:
                a = tl.minimum(a, a1)
            elif PHASE == BELOW or PHASE == UP_TO:
                a = tl.maximum(a, a1)
            else:
                a += a1
                b += b1
                c += c1
                d += d1
    else:
        a, b, c, d = _terms(tile[0], tile[1], tile[2], u, v, k, PHASE, FLAGS)
    a, b, c, d = _met(a, b, c, d, u, v, PHASE, FLAGS)
    if PHASE == BELOW or PHASE == UP_TO or PHASE == NEAREST:
        return a, b, c, d
    else:
        if PHASE == MOMENTS and (PRIOR & FLAGS) == 0:
            d = env[2][3] - a  # counts are exact
        one = unit(env, FLAGS)
        return a * one, b * one, c * one, d * one


@triton.jit
def narrow(at, tile, CHUNKS: tl.constexpr):
    """Return places of a tile's first CHUNKS columns a thread alone, for passes in pieces of so many."""
    chunk = tl.arange(0, CHUNKS)[:, None, None] * tile[0].shape[2]
    return at[0], at[1], at[2], at[3], at[4], chunk + tl.arange(0, tile[0].shape[2])[None, None, :]


@triton.jit
def reread(tile, env, u, v, k, PHASE: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Do what `sums` does, for phases that are seldom asked for: from cache, in pieces.

    In registers what they need would be set aside for all passes, and fewer programs would share a multiprocessor.
    """
    if LOOPED & FLAGS:
        return sums(tile, env, u, v, k, PHASE, FLAGS, BLOCK)
    else:
        pieces = (env[0], narrow(env[1], tile, FEW), env[2], env[3], env[4])
        return sums(tile, pieces, u, v, k, PHASE, LOOPED | FLAGS, FEW * tile[0].shape[2])


@triton.jit
def _looked(x, live, none, TIES: tl.constexpr, SPREAD_TOO: tl.constexpr):
    """Return how many x are 0, and sums of the others and of their squares."""
    if TIES and SPREAD_TOO:
        return totals3(fold(tl.where(x == 0, 1.0, 0.0)), fold(live), fold(live * live))
    elif SPREAD_TOO:
        first, second = totals(fold(live), fold(live * live))
        return none, first, second
    elif TIES:
        ties, first = totals(fold(tl.where(x == 0, 1.0, 0.0)), fold(live))
        return ties, first, none
    else:
        return none, total(live), none


@triton.jit
def first_look(tile, env, TIES: tl.constexpr, SPREAD_TOO: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the mass of the argmax, the mean distance, NaN where a score is, and the variance of distances.

    The first is asked for by ``TIES``, the last by ``SPREAD_TOO``, for a start: without a prior it is a mean square
    less the mean's, as one of a row's distances is 0 and one 1, so that little cancels.
    """
    mass = env[2][3]
    spread = mass * 0.0
    if (LOOPED | PRIOR | CAPS) & FLAGS:
        argmass, mean, _, _ = sums(tile, env, mass, mass, 0.0, TOP, FLAGS, BLOCK)
        if SPREAD_TOO:
            spread, _, _, _ = sums(tile, env, mean * 0.0 + 2.0, mean, 0.0, SPREAD, FLAGS, BLOCK)
    else:
        argmass, mean, spread = _looked(tile[0], tile[0], mass, TIES, SPREAD_TOO)
        if tl.min(mass) < BLOCK:  # else all atoms live, and are not asked one by one
            live = tl.where(tile[0] == float("inf"), 0.0, tile[0])
            argmass, mean, spread = _looked(tile[0], live, mass, TIES, SPREAD_TOO)
        argmass = argmass / mass
        mean = mean / mass
        spread = spread / mass - mean * mean
    return argmass, mean, spread
