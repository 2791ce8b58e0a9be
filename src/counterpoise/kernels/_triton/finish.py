"""From a row's numbers to its weights, and to what is reported of it."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .families import (
    CAPPED_SIMPLEX,
    CHI_BALL,
    CHI_PENALTY,
    CVAR,
    ENTMAX,
    KL_BALL,
    KL_PENALTY,
    POWER_PENALTY,
    PROJECT_BALL,
    PROJECT_SIMPLEX,
)
from .sums import power_log
from .tile import LOOPED, canonical, expm1, load, total

GAP = tl.constexpr(6.415306e-06)
"""Largest duality gap in units of the range, ε^{3/4} of float32."""
TINY = tl.constexpr(1.1754943508222875e-38)


@triton.jit
def _raw(x, p, c, numbers, k, FAMILY: tl.constexpr):
    """Return weights up to a factor a row, from the family's numbers."""
    a, b, d = numbers
    live = p > 0
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL or FAMILY == PROJECT_BALL or FAMILY == PROJECT_SIMPLEX:
        return tl.where(live & (x < a), p * tl.maximum(d - (x - b), 0.0), 0.0)
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        return tl.where(live, p * tl.exp(tl.where(live, a * (b - x), 0.0) - d), 0.0)
    elif FAMILY == POWER_PENALTY or FAMILY == ENTMAX:
        y, inside, _ = power_log(x, a, k)
        return tl.where(live & inside, p * tl.exp(y - d), 0.0)
    elif FAMILY == CVAR:
        return tl.where(live, tl.where(x < a, p, tl.where(x == a, p * d, 0.0)), 0.0)
    else:
        return tl.where(live, tl.minimum(p * tl.maximum((a - x) + b, 0.0), c), 0.0)


@triton.jit
def _sizes(x, p, c, numbers, k, FAMILY: tl.constexpr):
    raw = _raw(x, p, c, numbers, k, FAMILY)
    free = p * 0.0
    if FAMILY == CAPPED_SIMPLEX:
        free = tl.where((raw > 0) & (raw < c), p, 0.0)
    return total(raw), total(free)


@triton.jit
def measure(tile, env, numbers, k, FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum the weights up to a factor, and under caps the mass that is free: rounding cannot then cost their sum."""
    if LOOPED & FLAGS:
        io, at, scale, n, cap = env
        size = scale[1] * 0.0
        free = size
        for start in range(0, n, BLOCK):
            z, m, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, c, inside, scale, FLAGS)
            size1, free1 = _sizes(x, p, c, numbers, k, FAMILY)
            size += size1
            free += free1
        return size, free
    else:
        return _sizes(tile[0], tile[1], tile[2], numbers, k, FAMILY)


@triton.jit
def _final(x, p, c, numbers, k, sizes, known, FAMILY: tl.constexpr):
    """Normalise, and put the rows whose answer is known: the prior, the argmax, NaN, or nothing."""
    size, short, argmass = sizes
    saturated, uniform, bad, empty = known
    live = p > 0
    q = _raw(x, p, c, numbers, k, FAMILY)
    if FAMILY == CAPPED_SIMPLEX:
        free = tl.where(live & (q > 0) & (q < c), p, 0.0)
        q = tl.where(live, tl.minimum(tl.maximum(q + short * free, 0.0), c), 0.0)
    else:
        q = q / size
        q = tl.where(uniform, p, q)
        q = tl.where(saturated, tl.where(live & (x == 0), p / argmass, 0.0), q)
    q = tl.where(empty, 0.0, q)
    return tl.where(bad, float("nan"), q)


@triton.jit
def _checks(x, p, q, bound, k, scale_of, FAMILY: tl.constexpr):
    """Return sums of a tile: Σ q x, D(q‖p), Σ p (f*(s) − s) at s = (η − x)/λ, Σ (q − p) x."""
    shift, penalty, level = bound
    live = p > 0
    r = q / tl.where(live, p, 1.0)
    z = (shift - x) / penalty
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        f = 0.5 * scale_of * (r - 1) * (r - 1)
        h = z / scale_of
        convex = tl.where(h > -1, 0.5 * scale_of * h * h, -0.5 * scale_of - z)
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        f = r * tl.log(tl.maximum(r, TINY)) - (r - 1)
        convex = expm1(z) - z
    elif FAMILY == POWER_PENALTY:
        y = tl.log(tl.maximum(r, TINY))
        f = (r * expm1(k * y) / k - (r - 1)) / (k + 1)
        y, inside, _ = power_log(-z, 1.0, k)
        convex = tl.where(inside, expm1((k + 1) * y), -1.0) / (k + 1) - z
    else:
        f = r * 0.0
        convex = tl.maximum(shift - x, 0.0) / level - (shift - x)
    return total(q * x), total(tl.where(live, p * f, 0.0)), total(tl.where(live, p * convex, 0.0)), total((q - p) * x)


@triton.jit
def write(
    tile, env, numbers, k, sizes, known, bound, scale_of, out, here,
    FAMILY: tl.constexpr, DETAILS: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store the weights; return what `_checks` sums, 0 where no details are wanted."""
    io, at, scale, n, cap = env
    cols = tl.arange(0, BLOCK)[None, :]
    primal = scale[1] * 0.0
    spent = primal
    convex = primal
    moved = primal
    if LOOPED & FLAGS:
        for start in range(0, n, BLOCK):
            z, m, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, c, inside, scale, FLAGS)
            q = _final(x, p, c, numbers, k, sizes, known, FAMILY)
            if DETAILS:
                s1, s2, s3, s4 = _checks(x, p, q, bound, k, scale_of, FAMILY)
                primal += s1
                spent += s2
                convex += s3
                moved += s4
            tl.store(out + start + cols, q.to(out.dtype.element_ty), mask=here & (start + cols < n))
    else:
        x, p, c = tile
        q = _final(x, p, c, numbers, k, sizes, known, FAMILY)
        if DETAILS:
            primal, spent, convex, moved = _checks(x, p, q, bound, k, scale_of, FAMILY)
        tl.store(out + cols, q.to(out.dtype.element_ty), mask=here & (cols < n))
    return primal, spent, convex, moved


@triton.jit
def report(
    env, sums, bound, given, mean, known, status, top, k, scale_of, FAMILY: tl.constexpr, DETAILS: tl.constexpr
):  # fmt: skip
    """Return value, multiplier, shift, gap, the Jacobian's rate and the status, in units of the losses."""
    primal, spent, convex, moved = sums
    shift, penalty, _ = bound
    saturated, uniform, _, _ = known
    _, half, peak, mass, infinite, _ = env[2]
    zero = half * 0.0
    if DETAILS:
        if FAMILY == CVAR:
            gap = convex + moved
        elif FAMILY == CHI_BALL or FAMILY == KL_BALL:
            gap = penalty * (convex + given) + moved
        else:
            gap = penalty * (convex + spent) + moved
        gap = tl.where(saturated | uniform | (infinite > 0), 0.0, gap)
        code = tl.where(tl.abs(gap) <= GAP, tl.where(saturated, 1, 0), 2)
        status = tl.where(status == 0, code, status)
        cost = zero
        multiplier = zero
        if FAMILY == CHI_PENALTY or FAMILY == KL_PENALTY or FAMILY == POWER_PENALTY:
            cost = tl.where(saturated | uniform, 0.0, penalty * spent)
            multiplier = given
        elif FAMILY == CHI_BALL or FAMILY == KL_BALL:
            multiplier = tl.where(saturated, 0.0, tl.where(uniform, float("inf"), 2 * (half * penalty)))
            multiplier = tl.where((infinite > 0) & (saturated == 0), float("inf"), multiplier)
        shift = tl.where(saturated, 0.0, tl.where(uniform, mean, shift))
        moving = (multiplier > 0) & (multiplier < float("inf")) & (status == 0)
        rate = tl.where(moving, 1 / tl.where(moving, multiplier, 1.0), 0.0)
        if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
            rate = rate / (mass * peak) / scale_of
        elif FAMILY == POWER_PENALTY:
            rate = rate * tl.exp(-k * tl.log(mass * peak))
        lost = tl.where(status >= 3, float("nan"), 0.0)
        value = top - 2 * (half * (primal + cost)) + lost
        return value, multiplier + lost, top - 2 * (half * shift) + lost, 2 * (half * gap) + lost, rate, status
    elif FAMILY == PROJECT_BALL:
        multiplier = tl.where(saturated | uniform, 0.0, 2 * (half * penalty) * mass)
        moving = (multiplier > 0) & (status == 0)
        rate = tl.where(moving, 0.5 / tl.where(moving, multiplier, 1.0), 0.0)
        return zero, multiplier, zero, zero, rate, status
    else:
        return zero, zero, zero, zero, zero + 1.0, status
