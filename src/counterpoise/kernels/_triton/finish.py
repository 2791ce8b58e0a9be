"""From a row's numbers to its weights, and to what is reported of it."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .families import (
    CAPPED_SIMPLEX,
    CHI_BALL,
    CHI_PENALTY,
    CVAR,
    FLAT,
    KL_BALL,
    KL_PENALTY,
    POWER_PENALTY,
    PROJECT_BALL,
    PROJECT_SIMPLEX,
    STEEP,
)
from .sums import LN2, power_log, tilted, unit
from .tile import FULL, LOOPED, PRIOR, SQUARED, canonical, expm1, grown, load, total

GAP = tl.constexpr(6.415306e-06)
"""Largest duality gap in units of the range, ε^{3/4} of float32."""
TINY = tl.constexpr(1.1754943508222875e-38)


@triton.jit
def settle(numbers, saturated, uniform, FAMILY: tl.constexpr):
    """Return numbers that make a row the argmax where it is saturated, the prior where it is uniform.

    The slope is then too steep or too flat for any distance but 0 and, of dead atoms, infinity.
    """
    limit, origin, reach, slope = numbers
    known = saturated | uniform
    if FAMILY == CAPPED_SIMPLEX or FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        return numbers
    else:
        plain = 0.0
        if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL or FAMILY == PROJECT_BALL or FAMILY == PROJECT_SIMPLEX:
            plain = 1.0
        slope = tl.where(saturated, STEEP, tl.where(uniform, FLAT, slope))
        limit = tl.where(known, float("inf"), limit)
        return limit, tl.where(known, 0.0, origin), tl.where(known, plain, reach), slope


@triton.jit
def _ratio(x, numbers, k, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    """Return weights over masses up to a factor a row, from the family's numbers, and a log or root at hand."""
    limit, origin, reach, slope = numbers
    none = origin * 0.0
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL or FAMILY == PROJECT_BALL or FAMILY == PROJECT_SIMPLEX:
        if PRIOR & FLAGS:
            return tl.where(x < limit, tl.maximum(reach - (x - origin) * slope, 0.0), 0.0), none
        else:
            return tl.maximum(reach - x * slope, 0.0), none
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        z, e = tilted(x, origin, slope)
        return e, z * LN2
    elif FAMILY == CVAR:
        return tl.where(x < limit, 1.0, tl.where(x == limit, reach, 0.0)), none
    elif SQUARED & FLAGS:
        base = tl.maximum(1 - x * (0.5 * slope), 0.0)
        return base * base, base
    else:
        y, positive, _ = power_log(x * (-k * slope), k)
        return tl.where(positive, tl.exp(y - reach), 0.0), none


@triton.jit
def measure(tile, env, numbers, k, FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum the weights up to a factor: rounding cannot then cost their sum."""
    if LOOPED & FLAGS:
        io, at, scale, n, cap = env
        size = scale[1] * 0.0
        for start in range(0, n, BLOCK):
            z, m, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, c, inside, scale, FLAGS)
            ratio, _ = _ratio(x, numbers, k, FAMILY, FLAGS)
            size += total(p * ratio)
    else:
        ratio, _ = _ratio(tile[0], numbers, k, FAMILY, FLAGS)
        size = total(tile[1] * ratio)
    return size * unit(env, FLAGS)


@triton.jit
def _final(x, p, c, numbers, k, factors, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    """Return weights, their ratios to the prior, and the ratios' logs or square roots; NaN where a factor is."""
    to_weight, to_ratio, log_ratio = factors
    if FAMILY == CAPPED_SIMPLEX:
        origin, threshold, _, _ = numbers
        off = ((origin - x) + threshold) + to_ratio  # what the sum lacks, shared by who is not clipped
        q = tl.minimum(p * tl.maximum(off, 0.0), c)
        return q * to_weight, q, q
    else:
        ratio, y = _ratio(x, numbers, k, FAMILY, FLAGS)
        if SQUARED & FLAGS:
            return p * (ratio * to_weight), ratio * to_ratio, y * tl.sqrt(to_ratio)
        else:
            return p * (ratio * to_weight), ratio * to_ratio, y + log_ratio


@triton.jit
def foreseen(env, numbers, first, mean):
    """Return what `_checks` sums for KL in all atoms, from the mean of x and that of y = log e^{t(c − x)} under q."""
    _, centre, log_mass, t = numbers
    count = env[2][3]
    return centre - first / t, (first - log_mass) * count, ((mean - centre) * t + log_mass) * count


@triton.jit
def _checks(
    x, p, q, r, y, env, numbers, bound, ahead, k, scale_of,
    FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return sums of a tile: Σ q x, D(q‖p), Σ p (f*(s) − s) at s = (η − x)/λ; f*(s) − s is a maximum at r = f'⁻¹.

    Of KL they are known ahead, except near the prior, where they would cancel.
    """
    if (LOOPED | PRIOR) & FLAGS:
        return _summed(x, p, q, r, y, bound, k, scale_of, False, FAMILY, FLAGS)
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        primal, spent, convex = ahead
        plain = (env[2][3] == BLOCK) & (tl.abs(numbers[2]) > 0.4)
        if tl.min(plain.to(tl.int32)) == 0:
            # computed again, and otherwise: kept since the weights were, it would take the registers of another warp
            y = tl.fma(x, -numbers[3], numbers[1] * numbers[3])
            y = tl.maximum(y, -1e30) - numbers[2]
            primal, spent, convex = _summed(x, p, q, r, y, bound, k, scale_of, False, FAMILY, FLAGS)
        return primal, spent, convex
    else:
        primal = env[2][1] * 0.0
        spent = primal
        convex = primal
        plain = env[2][3] == BLOCK  # all atoms live, and are not asked one by one
        if tl.min(plain.to(tl.int32)) > 0:
            primal, spent, convex = _summed(x, p, q, r, y, bound, k, scale_of, True, FAMILY, FLAGS)
        else:
            primal, spent, convex = _summed(x, p, q, r, y, bound, k, scale_of, False, FAMILY, FLAGS)
        return primal, spent, convex


@triton.jit
def _summed(x, p, q, r, y, bound, k, scale_of, ALL: tl.constexpr, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    shift, penalty, _ = bound
    live = x == x
    if ALL == 0:
        live = x < float("inf")
        x = tl.where(live, x, 0.0)
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        f = (r - 1) * (r - 1)
        h = (shift - x) * (1 / (penalty * scale_of))
        m = tl.maximum(h, -1.0)
        convex = 0.5 * m * m + (m - h)
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        above = grown(y, r)
        f = r * y - above
        convex = above - y  # s = y
    elif SQUARED & FLAGS:  # polynomials in the roots of r and of the maximum's
        y = y - 1
        f = y * y * (y + 1.5)
        h = (shift - x) * (0.5 / penalty)
        m = tl.maximum(h, -1.0)
        convex = m * m * (m * (1 / 3) + 1) + (m - h)
    elif FAMILY == POWER_PENALTY:
        y = tl.log(tl.maximum(r, TINY))
        f = (r * expm1(k * y) / k - (r - 1)) / (k + 1)
        z = (shift - x) * (1 / penalty)
        y, inside, _ = power_log(z * k, k)
        convex = tl.where(inside, expm1((k + 1) * y), -1.0) / (k + 1) - z
    else:
        f = r * 0.0
        convex = tl.maximum(shift - x, 0.0)  # what else is in f*(s) − s is known: `report` adds it
    f = p * f
    convex = p * convex
    if ALL == 0:
        f = tl.where(live, f, 0.0)
        convex = tl.where(live, convex, 0.0)
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        return total(q * x), total(f) * (0.5 * scale_of), total(convex) * scale_of
    elif SQUARED & FLAGS:
        return total(q * x), total(f) * (1 / 0.75), total(convex) * 2
    else:
        return total(q * x), total(f), total(convex)


@triton.jit
def _put(out, q, inside, FLAGS: tl.constexpr):
    if FULL & FLAGS:
        tl.store(out, q.to(out.dtype.element_ty))
    else:
        tl.store(out, q.to(out.dtype.element_ty), mask=inside)


@triton.jit
def write(
    tile, env, numbers, k, factors, bound, ahead, scale_of, out, here,
    FAMILY: tl.constexpr, DETAILS: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store the weights; return what `_checks` sums, 0 where no details are wanted."""
    io, at, scale, n, cap = env
    cols = at[5]
    primal = scale[1] * 0.0
    spent = primal
    convex = primal
    if LOOPED & FLAGS:
        for start in range(0, n, BLOCK):
            z, m, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, c, inside, scale, FLAGS)
            q, r, y = _final(x, p, c, numbers, k, factors, FAMILY, FLAGS)
            if DETAILS:
                s1, s2, s3 = _checks(x, p, q, r, y, env, numbers, bound, ahead, k, scale_of, FAMILY, FLAGS, BLOCK)
                primal += s1
                spent += s2
                convex += s3
            _put(out + start + cols, q, here & (start + cols < n), FLAGS)
    else:
        x, p, c = tile
        q, r, y = _final(x, p, c, numbers, k, factors, FAMILY, FLAGS)
        if DETAILS:
            primal, spent, convex = _checks(
                x, p, q, r, y, env, numbers, bound, ahead, k, scale_of, FAMILY, FLAGS, BLOCK
            )  # fmt: skip
        _put(out + cols, q, here & (cols < n), FLAGS)
    return primal, spent * unit(env, FLAGS), convex * unit(env, FLAGS)


@triton.jit
def report(
    env, sums, bound, given, mean, known, status, top, k, scale_of, FAMILY: tl.constexpr, DETAILS: tl.constexpr
):  # fmt: skip
    """Return value, multiplier, shift, gap, the Jacobian's rate and the status, in units of the losses."""
    primal, spent, convex = sums
    shift, penalty, _ = bound
    saturated, uniform = known
    _, half, shrink, mass, infinite, _, _ = env[2]
    zero = half * 0.0
    mass = mass / shrink
    if DETAILS:
        moved = primal - mean
        if FAMILY == CVAR:
            gap = convex / given + (primal - shift)
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
            rate = rate / mass / scale_of
        elif FAMILY == POWER_PENALTY:
            rate = rate * tl.exp(-k * tl.log(mass))
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
