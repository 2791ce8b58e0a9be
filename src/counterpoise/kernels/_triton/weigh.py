"""The forward kernel: rows in, weights and a few numbers a row out; one read and one write where rows fit."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .capped import solve_capped
from .chi_square import shrink
from .cvar import solve_cvar
from .kl import solve_kl_ball, tilt
from .power import power_at, solve_power
from .sums import TOP, power_log, sums
from .tile import LOOPED, canonical, expm1, head, load, total

CHI_PENALTY = tl.constexpr(0)
CHI_BALL = tl.constexpr(1)
KL_PENALTY = tl.constexpr(2)
KL_BALL = tl.constexpr(3)
POWER_PENALTY = tl.constexpr(4)
CVAR = tl.constexpr(5)
PROJECT_BALL = tl.constexpr(6)
CAPPED_SIMPLEX = tl.constexpr(7)
PROJECT_SIMPLEX = tl.constexpr(8)
ENTMAX = tl.constexpr(9)
GAP = tl.constexpr(6.415306e-06)
"""Largest duality gap in units of the range, ε^{3/4} of float32."""


@triton.jit
def _raw(x, p, c, a, b, d, k, FAMILY: tl.constexpr):
    """Return weights up to a factor a row, from the family's numbers (a, b, d)."""
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
def _checks(x, p, q, shift, penalty, level, k, scale_of, FAMILY: tl.constexpr):
    """Return sums of a tile: Σ q x, D(q‖p), Σ p (f*(s) − s) at s = (η − x)/λ, Σ (q − p) x."""
    live = p > 0
    r = q / tl.where(live, p, 1.0)
    z = (shift - x) / penalty
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        f = 0.5 * scale_of * (r - 1) * (r - 1)
        h = z / scale_of
        convex = tl.where(h > -1, 0.5 * scale_of * h * h, -0.5 * scale_of - z)
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        f = r * tl.log(tl.maximum(r, 1.1754943508222875e-38)) - (r - 1)
        convex = expm1(z) - z
    elif FAMILY == POWER_PENALTY:
        y = tl.log(tl.maximum(r, 1.1754943508222875e-38))
        f = (r * expm1(k * y) / k - (r - 1)) / (k + 1)
        y, inside, _ = power_log(-z, 1.0, k)
        convex = tl.where(inside, expm1((k + 1) * y), -1.0) / (k + 1) - z
    else:
        f = r * 0.0
        convex = tl.maximum(shift - x, 0.0) / level - (shift - x)
    return total(q * x), total(tl.where(live, p * f, 0.0)), total(tl.where(live, p * convex, 0.0)), total((q - p) * x)


@triton.jit
def weigh_kernel(
    scores, prior, mask, caps, lengths, amounts, weights, value_out, numbers_out, status_out,
    rows, n, stride_scores, stride_prior, stride_mask, stride_caps, amount, cap, exponent, scale_of,
    FAMILY: tl.constexpr, FLAGS: tl.constexpr, PER_ROW: tl.constexpr, HAS_LENGTHS: tl.constexpr,
    DETAILS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Solve ROWS rows; ``scale_of`` is f''(1) of the divergence, ``exponent`` its a."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    here = row < rows
    wide = row.to(tl.int64)
    count = tl.where(here, n, 0)
    if HAS_LENGTHS:
        count = tl.minimum(count, tl.load(lengths + row, mask=here, other=0).to(tl.int32))
    given = row.to(tl.float32) * 0.0 + amount
    if PER_ROW:
        given = tl.load(amounts + row, mask=here, other=1.0).to(tl.float32)
    io = (scores, prior, mask, caps)
    at = (wide * stride_scores, wide * stride_prior, wide * stride_mask, wide * stride_caps, count)
    zero = given * 0.0
    zero = tl.where(zero == zero, zero, 0.0)
    k = exponent - 1

    z, m, c, inside = load(io, at, 0, cap, FLAGS, BLOCK)
    scale, top, empty, marks, room = head((z, m, c, inside), io, at, n, cap, FLAGS, BLOCK)
    anchor, half, peak, mass, infinite, flat = scale
    x, p = canonical(z, m, c, inside, scale, FLAGS)
    tile = (x, p, c)
    env = (io, at, scale, n, cap)
    argmass, mean, _, _ = sums(tile, env, zero, zero, k, TOP, FLAGS, BLOCK)
    argmass = tl.where(mean > 0, argmass, 1.0)

    if FAMILY == CVAR:
        wrong = ((given > 0) & (given <= 1)) == 0
    else:
        wrong = (given >= 0) == 0
    if FAMILY == PROJECT_SIMPLEX or FAMILY == CAPPED_SIMPLEX or FAMILY == ENTMAX:
        wrong = here == 0
    failed = wrong | empty | (marks > 0)
    given = tl.where(wrong, 1.0, given)
    uniform = here == 0
    saturated = here == 0
    a = zero
    b = zero
    d = zero
    penalty = zero + 1.0
    shift = zero
    if (
        FAMILY == CHI_PENALTY
        or FAMILY == KL_PENALTY
        or FAMILY == POWER_PENALTY
        or FAMILY == PROJECT_SIMPLEX
        or FAMILY == ENTMAX
    ):
        if FAMILY == PROJECT_SIMPLEX:
            given = 0.5 / mass
        elif FAMILY == ENTMAX:
            given = tl.exp(-k * tl.log(mass))
        penalty = 0.5 * given / half
        saturated = (penalty == 0) | ((infinite > 0) & (given < float("inf")))
        uniform = penalty == float("inf")
        done = saturated | uniform | failed
        penalty = tl.where(done, 1.0, penalty)
        if FAMILY == CHI_PENALTY or FAMILY == PROJECT_SIMPLEX:
            strength = penalty * scale_of
            a, b, d, inner, first, outside = shrink(
                tile, env, strength, strength + mean, done, False, FLAGS, BLOCK
            )  # fmt: skip
        elif FAMILY == KL_PENALTY:
            a = 1 / penalty
            b, d, _, _ = tilt(tile, env, a, mean, FLAGS, BLOCK)
            shift = b - penalty * d
        else:
            a = solve_power(tile, env, penalty, argmass, k, done, FLAGS, BLOCK)
            d, _ = power_at(tile, env, a, k, FLAGS, BLOCK)
            norm = a * tl.exp(k * d)
            shift = -norm * expm1(-k * d) / -k
    elif FAMILY == CHI_BALL or FAMILY == PROJECT_BALL:
        saturated = given >= tl.where(argmass < 1, 1 / argmass - 1, 0.0)
        uniform = given == 0
        if FAMILY == PROJECT_BALL:
            uniform = uniform & (saturated == 0)
        done = saturated | uniform | failed
        radius = tl.where(done, 1.0, given)
        a, b, d, inner, first, outside = shrink(tile, env, radius, zero + float("inf"), done, True, FLAGS, BLOCK)
        if FAMILY == PROJECT_BALL:
            own = 0.25 / mass / half
            penalty = (d * inner - first) / scale_of
            bound = tl.where(uniform | (infinite > 0), float("inf"), penalty)
            free = tl.where(saturated, 0.0, bound) <= own
            plain = (infinite > 0) | (own == 0)
            stays = failed | (free == 0) | plain | (own == float("inf"))
            own = tl.where(stays & (free == 0), 1.0, own)
            a2, b2, d2, _, _, _ = shrink(tile, env, own * scale_of, own * scale_of + mean, stays, False, FLAGS, BLOCK)
            a = tl.where(free, a2, a)
            b = tl.where(free, b2, b)
            d = tl.where(free, d2, d)
            penalty = tl.where(free, own, penalty)
            saturated = free & plain
            uniform = tl.where(free, own == float("inf"), uniform)
    elif FAMILY == KL_BALL:
        saturated = given >= tl.where(argmass < 1, -tl.log(argmass), 0.0)
        uniform = given == 0
        done = saturated | uniform | failed
        a = solve_kl_ball(tile, env, tl.where(saturated, 1.0, given), mean, done, FLAGS, BLOCK)
        b, d, _, _ = tilt(tile, env, a, mean, FLAGS, BLOCK)
        penalty = 1 / tl.where(a > 0, a, 1.0)
        shift = b - penalty * d
    elif FAMILY == CVAR:
        uniform = given == 1
        a, b, d = solve_cvar(tile, env, given, uniform | failed, FLAGS, BLOCK)
        shift = a
    else:
        failed = failed | (room < 1 - 4.76837158203125e-07)
        a, b = solve_capped(tile, env, mass, failed, FLAGS, BLOCK)
    empty = empty & (marks == 0)

    # how much is to be divided by, from the weights themselves: rounding cannot then cost their sum
    size = zero
    spent = zero
    convex = zero
    moved = zero
    primal = zero
    if LOOPED & FLAGS:
        for start in range(0, n, BLOCK):
            z1, m1, c1, i1 = load(io, at, start, cap, FLAGS, BLOCK)
            x1, p1 = canonical(z1, m1, c1, i1, scale, FLAGS)
            q1 = _raw(x1, p1, c1, a, b, d, k, FAMILY)
            size += total(q1)
            if FAMILY == CAPPED_SIMPLEX:
                spent += total(tl.where((q1 > 0) & (q1 < c1), p1, 0.0))
    else:
        raw = _raw(x, p, c, a, b, d, k, FAMILY)
        size = total(raw)
        if FAMILY == CAPPED_SIMPLEX:
            spent = total(tl.where((raw > 0) & (raw < c), p, 0.0))
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        shift = b + (first + size * outside) / tl.where(inner > 0, inner, 1.0)
        if FAMILY == CHI_BALL:
            penalty = tl.where(size > 0, size, 1.0) / scale_of
    short = (1 - size) / tl.where(spent > 0, spent, 1.0)
    if FAMILY == CAPPED_SIMPLEX:
        spent = zero
    size = tl.where(size > 0, size, 1.0)
    known = saturated | uniform
    bad = failed & (empty == 0)
    out = weights + wide * n
    if LOOPED & FLAGS:
        for start in range(0, n, BLOCK):
            z1, m1, c1, i1 = load(io, at, start, cap, FLAGS, BLOCK)
            x1, p1 = canonical(z1, m1, c1, i1, scale, FLAGS)
            q1 = _raw(x1, p1, c1, a, b, d, k, FAMILY)
            q1 = _final(q1, x1, p1, c1, size, short, argmass, saturated, uniform, bad, empty, FAMILY)
            if DETAILS:
                s1, s2, s3, s4 = _checks(x1, p1, q1, shift, penalty, given, k, scale_of, FAMILY)
                primal += s1
                spent += s2
                convex += s3
                moved += s4
            cols = start + tl.arange(0, BLOCK)[None, :]
            tl.store(out + cols, q1.to(weights.dtype.element_ty), mask=here & (cols < n))
    else:
        q = _final(raw, x, p, c, size, short, argmass, saturated, uniform, bad, empty, FAMILY)
        if DETAILS:
            primal, spent, convex, moved = _checks(x, p, q, shift, penalty, given, k, scale_of, FAMILY)
        cols = tl.arange(0, BLOCK)[None, :]
        tl.store(out + cols, q.to(weights.dtype.element_ty), mask=here & (cols < n))

    status = tl.where(wrong, 6, 0)
    status = tl.where(empty, 4, status)
    status = tl.where(marks == 1, 3, status)
    status = tl.where(marks == 2, 5, status)
    multiplier = zero
    gap = zero
    value = zero
    rate = zero + 1.0
    if DETAILS:
        if FAMILY == CVAR:
            gap = convex + moved
        elif FAMILY == CHI_BALL or FAMILY == KL_BALL:
            gap = penalty * (convex + given) + moved
        else:
            gap = penalty * (convex + spent) + moved
        gap = tl.where(known | (infinite > 0), 0.0, gap)
        code = tl.where(saturated, 1, 0)
        code = tl.where(tl.abs(gap) <= GAP, code, 2)
        status = tl.where(status == 0, code, status)
        cost = zero
        multiplier = zero
        if FAMILY == CHI_PENALTY or FAMILY == KL_PENALTY or FAMILY == POWER_PENALTY:
            cost = tl.where(known, 0.0, penalty * spent)
            multiplier = given
        elif FAMILY == CHI_BALL or FAMILY == KL_BALL:
            multiplier = tl.where(saturated, 0.0, tl.where(uniform, float("inf"), 2 * (half * penalty)))
            multiplier = tl.where((infinite > 0) & (saturated == 0), float("inf"), multiplier)
        shift = tl.where(saturated, 0.0, tl.where(uniform, mean, shift))
        value = top - 2 * (half * (primal + cost))
        shift = top - 2 * (half * shift)
        moving = (multiplier > 0) & (multiplier < float("inf")) & (status == 0)
        rate = tl.where(moving, 1 / tl.where(moving, multiplier, 1.0), 0.0)
        raw_mass = mass * peak
        if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
            rate = rate / raw_mass / scale_of
        elif FAMILY == POWER_PENALTY:
            rate = rate * tl.exp(-k * tl.log(raw_mass))
        gap = 2 * (half * gap)
        lost = status >= 3
        nan = float("nan")
        value = tl.where(lost, nan, value)
        multiplier = tl.where(lost, nan, multiplier)
        shift = tl.where(lost, nan, shift)
        gap = tl.where(lost, nan, gap)
    elif FAMILY == PROJECT_BALL:
        multiplier = tl.where(known, 0.0, 2 * (half * penalty) * mass)
        moving = (multiplier > 0) & (failed == 0)
        rate = tl.where(moving, 0.5 / tl.where(moving, multiplier, 1.0), 0.0)
    tl.store(value_out + row, value, mask=here)
    tl.store(numbers_out + row, multiplier, mask=here)
    tl.store(numbers_out + rows + row, shift, mask=here)
    tl.store(numbers_out + 2 * rows + row, gap, mask=here)
    tl.store(numbers_out + 3 * rows + row, rate, mask=here)
    tl.store(status_out + row, status, mask=here)


@triton.jit
def _final(q, x, p, c, size, short, argmass, saturated, uniform, bad, empty, FAMILY: tl.constexpr):
    """Normalise, and put the rows whose answer is known: the prior, the argmax, NaN, or nothing."""
    live = p > 0
    if FAMILY == CAPPED_SIMPLEX:
        free = tl.where(live & (q > 0) & (q < c), p, 0.0)
        q = tl.where(live, tl.minimum(tl.maximum(q + short * free, 0.0), c), 0.0)
    else:
        q = q / size
        q = tl.where(uniform, p, q)
        q = tl.where(saturated, tl.where(live & (x == 0), p / argmass, 0.0), q)
    q = tl.where(empty, 0.0, q)
    return tl.where(bad, float("nan"), q)
