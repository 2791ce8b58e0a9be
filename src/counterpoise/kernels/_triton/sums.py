"""What an iteration asks of its rows: a few sums over the atoms, from registers or, for long rows, from memory."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .tile import LOOPED, canonical, expm1, load, log1p, most, total

MOMENTS = tl.constexpr(0)
SPREAD = tl.constexpr(1)
TILT = tl.constexpr(2)
POWER = tl.constexpr(3)
KEYS = tl.constexpr(4)
BELOW = tl.constexpr(5)
UP_TO = tl.constexpr(6)
CLIP = tl.constexpr(7)
TOP = tl.constexpr(8)


@triton.jit
def power_log(x, tau, k):
    """Return the log of (1 − kx/τ)₊^{1/k}, whether its base is positive, and the base."""
    z = x * (-k / tau)
    inside = z > -1
    z = tl.where(inside, z, 0.0)
    return log1p(z) * (1 / k), inside, 1 + z


@triton.jit
def _terms(x, p, c, u, v, k, PHASE: tl.constexpr):
    """Return sums of a tile, four columns; BELOW and UP_TO are a largest value instead."""
    none = v * 0.0
    live = p > 0
    if PHASE == TOP:
        return total(tl.where(live & (x == 0), p, 0.0)), total(p * x), none, none
    elif PHASE == MOMENTS:
        a = tl.where(x < u, p, 0.0)
        return total(a), total(a * (x - v)), total(p - a), none
    elif PHASE == SPREAD:
        off = x - v
        return total(tl.where(x < u, p, 0.0) * off * off), none, none, none
    elif PHASE == TILT:
        z = u * (v - x)
        w = tl.where(live, p * tl.exp(z), 0.0)
        return total(w), total(tl.where(live, p * expm1(z), 0.0)), total(w * z), total(w * z * z)
    elif PHASE == POWER:
        y, inside, base = power_log(x, u, k)
        w = tl.where(live & inside, p * tl.exp(y), 0.0)
        grown = tl.where(live, p * tl.where(inside, expm1(y), -1.0), 0.0)
        return total(w), total(grown), total(w * x / base), none
    elif PHASE == KEYS:
        inside = live & (x.to(tl.int32, bitcast=True) <= u)
        return total(tl.where(inside, p, 0.0)), none, none, none
    elif PHASE == BELOW:
        return most(tl.where(live & (x < u), x, 0.0)), none, none, none
    elif PHASE == UP_TO:
        return most(tl.where(live & (x <= u), x, 0.0)), none, none, none
    else:
        w = p * tl.maximum((v - x) + u, 0.0)
        return total(tl.where(live, tl.minimum(w, c), 0.0)), total(tl.where((w > 0) & (w < c), p, 0.0)), none, none


@triton.jit
def sums(tile, env, u, v, k, PHASE: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum a phase's terms over all atoms of each row, at (u, v), each of shape (rows, 1)."""
    if LOOPED & FLAGS:
        io, at, scale, n, cap = env
        a = v * 0.0
        b = v * 0.0
        c = v * 0.0
        d = v * 0.0
        for start in range(0, n, BLOCK):
            z, m, ceiling, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, ceiling, inside, scale, FLAGS)
            a1, b1, c1, d1 = _terms(x, p, ceiling, u, v, k, PHASE)
            if PHASE == BELOW or PHASE == UP_TO:
                a = tl.maximum(a, a1)
            else:
                a += a1
                b += b1
                c += c1
                d += d1
    else:
        a, b, c, d = _terms(tile[0], tile[1], tile[2], u, v, k, PHASE)
    return a, b, c, d
