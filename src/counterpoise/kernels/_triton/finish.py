"""From a row's numbers to its weights, and to what is reported of it."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .certificate import summed
from .elementary import LN2, power_log, tilted
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
from .sums import FEW, narrow, unit
from .tile import (
    FULL,
    LOOPED,
    PRIOR,
    SQUARED,
    binade,
    canonical,
    clamped,
    fold,
    load,
    total,
    totals,
    totals3,
)

GAP = tl.constexpr(6.415306e-06)
"""Largest duality gap in units of the range, ε^{3/4} of float32."""


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
        slope = tl.where(saturated, STEEP, tl.where(uniform, FLAT, slope))
        limit = tl.where(known, float("inf"), limit)
        if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL or FAMILY == PROJECT_BALL or FAMILY == PROJECT_SIMPLEX:
            reach = tl.where(known, 1.0, reach)
            if (PRIOR & FLAGS) == 0:
                near = 0.5 * binade(reach)
                reach = reach * near
                slope = slope * near
        else:
            reach = tl.where(known, 0.0, reach)
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
        columns = size + tl.zeros([1, 1, tile[0].shape[2]], tl.float32)
        for start in range(0, n, BLOCK):
            z, m, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
            x, p = canonical(z, m, c, inside, scale, FLAGS)
            ratio, _ = _ratio(x, numbers, k, FAMILY, FLAGS)
            columns += fold(p * ratio)
        size = total(columns)
    else:
        ratio, root = _ratio(tile[0], numbers, k, FAMILY, FLAGS)
        if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
            w = tile[1] * ratio
            size, extra = totals(w, w * ratio)
        elif FAMILY == POWER_PENALTY and (SQUARED & FLAGS):
            w = tile[1] * ratio
            size, extra = totals(w, w * root)
        else:
            size = total(tile[1] * ratio)
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
def _put(out, q, inside, FLAGS: tl.constexpr):
    if FULL & FLAGS:
        tl.store(out, q.to(out.dtype.element_ty))
    else:
        tl.store(out, q.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _in_pieces(
    env, at, numbers, k, factors, bound, scale_of, out, here, STORE: tl.constexpr, DETAILS: tl.constexpr,
    FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Do what `write` does, reading the rows again, BLOCK atoms at a time."""
    io, _, scale, n, cap = env
    primal = scale[1] * 0.0 + tl.zeros([1, 1, at[5].shape[2]], tl.float32)
    spent = primal
    convex = primal
    for start in range(0, n, BLOCK):
        z, m, c, inside = load(io, at, start, cap, FLAGS, BLOCK)
        x, p = canonical(z, m, c, inside, scale, FLAGS)
        q, r, y = _final(x, p, c, numbers, k, factors, FAMILY, FLAGS)
        if STORE:
            _put(out + start + at[5], q, here & (start + at[5] < n), FLAGS)
        if DETAILS:
            s1, s2, s3 = summed(x, p, q, r, y, bound, k, scale_of, FAMILY, FLAGS)
            primal += s1
            spent += s2
            convex += s3
    primal, spent, convex = totals3(primal, spent, convex)
    one = unit(env, FLAGS)
    return primal, spent * one, convex * one


@triton.jit
def write(
    tile, env, numbers, k, factors, bound, ahead, scale_of, out, here,
    FAMILY: tl.constexpr, DETAILS: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store the weights; return what `summed` sums, 0 where no details are wanted."""
    at = env[1]
    x, p, c = tile
    primal, spent, convex, near = ahead
    if LOOPED & FLAGS:
        primal, spent, convex = _in_pieces(
            env, at, numbers, k, factors, bound, scale_of, out, here, True, DETAILS, FAMILY, FLAGS, BLOCK
        )  # fmt: skip
    else:
        q, r, y = _final(x, p, c, numbers, k, factors, FAMILY, FLAGS)
        _put(out + at[5], q, here & (at[5] < env[3]), FLAGS)
        if DETAILS == 0:
            primal = env[2][1] * 0.0
        elif FAMILY == CVAR:
            s1, _, s3 = summed(x, p, q, r, y, bound, k, scale_of, FAMILY, FLAGS)
            primal, convex = totals(s1, s3)
            convex = convex * unit(env, FLAGS)
        elif FAMILY != KL_PENALTY and FAMILY != KL_BALL:  # all of theirs is known ahead, everywhere
            if (PRIOR & FLAGS) > 0 or (FAMILY == POWER_PENALTY and (SQUARED & FLAGS) == 0):
                s1, s2, s3 = summed(x, p, q, r, y, bound, k, scale_of, FAMILY, FLAGS)
                primal, spent, convex = totals3(s1, s2, s3)
                spent = spent * unit(env, FLAGS)
                convex = convex * unit(env, FLAGS)
            elif tl.max(near.to(tl.int32)) > 0:
                primal, spent, convex = _in_pieces(
                    env, narrow(at, tile, FEW), numbers, k, factors, bound, scale_of, out, here, False, True, FAMILY,
                    LOOPED | FLAGS, FEW * x.shape[2],
                )  # fmt: skip
    return primal, spent, convex


@triton.jit
def report(
    env, sums, bound, given, mean, known, status, top, k, scale_of, FAMILY: tl.constexpr, DETAILS: tl.constexpr
):  # fmt: skip
    """Return value, multiplier, shift, gap, the Jacobian's rate and the status, in units of the losses."""
    primal, spent, convex = sums
    shift, penalty = bound
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
