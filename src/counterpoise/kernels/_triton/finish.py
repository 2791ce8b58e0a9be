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
from .tile import FULL, LOOPED, PRIOR, SQUARED, binade, canonical, clamped, expm1, grown, load, total

GAP = tl.constexpr(6.415306e-06)
"""Largest duality gap in units of the range, ε^{3/4} of float32."""
TINY = tl.constexpr(1.1754943508222875e-38)


@triton.jit
def settle(numbers, saturated, uniform, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    """Return numbers that make a row the argmax where it is saturated, the prior where it is uniform.

    The slope is then too steep or too flat for any distance but 0 and, of dead atoms, infinity. Without a prior χ²'s
    reach and slope are brought to where no weight is above 1, by a power of two.
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
        reach = tl.where(known, plain, reach)
        if (plain == 1.0) & ((PRIOR & FLAGS) == 0):
            near = 0.5 * binade(reach)
            reach = reach * near
            slope = slope * near
        return limit, tl.where(known, 0.0, origin), reach, slope


@triton.jit
def _ratio(x, numbers, k, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    """Return weights over masses up to a factor a row, from the family's numbers, and a log or root at hand."""
    limit, origin, reach, slope = numbers
    none = origin * 0.0
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL or FAMILY == PROJECT_BALL or FAMILY == PROJECT_SIMPLEX:
        if PRIOR & FLAGS:
            return tl.where(x < limit, tl.maximum(reach - (x - origin) * slope, 0.0), 0.0), none
        else:
            return clamped(tl.fma(x, -slope, reach)), none
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        z, e = tilted(x, origin, slope)
        return e, z * LN2
    elif FAMILY == CVAR:
        return tl.where(x < limit, 1.0, tl.where(x == limit, reach, 0.0)), none
    elif SQUARED & FLAGS:
        base = clamped(tl.fma(x, -0.5 * slope, 1.0))
        return base * base, base
    else:
        y, positive, _ = power_log(x * (-k * slope), k)
        return tl.where(positive, tl.exp(y - reach), 0.0), none


@triton.jit
def measure(tile, env, numbers, k, FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum the weights up to a factor, rounding cannot then cost their sum; and what `foreseen` needs beside that."""
    io, at, scale, n, cap = env
    size = scale[1] * 0.0
    extra = size
    if LOOPED & FLAGS:
        for start in range(0, n, BLOCK):
            z, m, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, c, inside, scale, FLAGS)
            ratio, _ = _ratio(x, numbers, k, FAMILY, FLAGS)
            size += total(p * ratio)
    else:
        ratio, root = _ratio(tile[0], numbers, k, FAMILY, FLAGS)
        size = total(tile[1] * ratio)
        if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
            extra = total(ratio * ratio)
        elif FAMILY == POWER_PENALTY and (SQUARED & FLAGS):
            extra = total(ratio * root)
    return size * unit(env, FLAGS), extra * unit(env, FLAGS)


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
def foreseen(env, numbers, sums, bound, mean, scale_of, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    """Return what `_checks` sums over all atoms, and where it cancels: near the prior.

    All of it follows from sums that were taken for the weights, if the dual is asked at the threshold that they have:
    any threshold bounds the optimum. Of KL from the mean of y = log e^{t(c − x)} under q; of χ² from Σ w and Σ w² of
    weights w = a(δ − x)₊, up to a factor; of a = 1.5 from those of (1 − x/2τ)₊² and its power 3/2.
    """
    size, extra = sums
    _, penalty, _ = bound
    count = env[2][3]
    spent = mean * 0.0 + 1.0
    primal = spent
    convex = spent
    if FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        _, centre, log_mass, t = numbers
        primal = centre - extra / t
        spent = extra - log_mass
        convex = (mean - centre) * t + log_mass
        near = tl.abs(log_mass) <= 0.4
    elif FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        _, _, reach, slope = numbers
        far = extra / size
        primal = (reach - far) / slope
        spent = 0.5 * scale_of * (far / size - 1)
        near = (spent > 0.125 * scale_of) == 0
        steep = penalty * scale_of * slope
        convex = scale_of * (0.5 * (extra / steep / steep + 1) - (reach - mean * slope) / steep)
    elif FAMILY == POWER_PENALTY and (SQUARED & FLAGS):
        tau = 1 / numbers[3]
        rise = tau / penalty
        cubed = extra / size
        primal = (1 - cubed) * 2 * tau
        spent = (cubed / tl.sqrt(size) - 1) * (1 / 0.75)
        near = (spent > 1 / 3) == 0
        convex = extra * rise * rise * rise * (2 / 3) + (4 / 3 - 2 * rise) + mean / penalty
    else:
        near = count > 0
    return primal, spent * count, convex * count, near


@triton.jit
def _checks(
    x, p, q, r, y, env, numbers, factors, bound, ahead, k, scale_of,
    FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return sums of a tile: Σ q x, D(q‖p), Σ p (f*(s) − s) at s = (η − x)/λ; f*(s) − s is a maximum at r = f'⁻¹.

    Some are known ahead, except near the prior, where they would cancel.
    """
    primal, spent, convex, near = ahead
    if (LOOPED | PRIOR) & FLAGS:
        return _summed(x, p, q, r, y, bound, k, scale_of, False, FAMILY, FLAGS)
    elif FAMILY != CVAR and (FAMILY != POWER_PENALTY or (SQUARED & FLAGS)):
        if tl.max(near.to(tl.int32)) > 0:
            # computed again, and otherwise: kept since the weights were, it would take the registers of another warp
            _, origin, reach, slope = numbers
            one = unit(env, FLAGS)
            if FAMILY == KL_PENALTY or FAMILY == KL_BALL:
                y = tl.maximum(tl.fma(x, -slope, origin * slope), -1e30) + factors[2]
            elif FAMILY == POWER_PENALTY:
                share = tl.sqrt(factors[1])
                y = tl.maximum(share - x * (0.5 * slope * share), 0.0)
                r = y * y
                q = r * one
            else:
                r = tl.maximum(reach / slope - x, 0.0) * (slope * factors[1])
                q = r * one
            primal, spent, convex = _summed(x, p, q, r, y, bound, k, scale_of, False, FAMILY, FLAGS)
        return primal, spent, convex
    else:
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
        live = x < 1e38
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
        convex = clamped(shift - x)  # what else is in f*(s) − s is known: `report` adds it
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
            _put(out + start + cols, q, here & (start + cols < n), FLAGS)
            if DETAILS:
                s1, s2, s3 = _checks(
                    x, p, q, r, y, env, numbers, factors, bound, ahead, k, scale_of, FAMILY, FLAGS, BLOCK
                )  # fmt: skip
                primal += s1
                spent += s2
                convex += s3
    else:
        x, p, c = tile
        q, r, y = _final(x, p, c, numbers, k, factors, FAMILY, FLAGS)
        _put(out + cols, q, here & (cols < n), FLAGS)
        if DETAILS:
            primal, spent, convex = _checks(
                x, p, q, r, y, env, numbers, factors, bound, ahead, k, scale_of, FAMILY, FLAGS, BLOCK
            )  # fmt: skip
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
