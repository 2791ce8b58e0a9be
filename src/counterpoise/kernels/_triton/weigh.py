"""The forward kernel: rows in, weights and a few numbers a row out; one read and one write where rows fit."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .certificate import foreseen
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
    solve,
)
from .finish import measure, report, settle, write
from .power import root_shift
from .sums import first_look, unit
from .tile import LOOPED, PRIOR, SQUARED, begin, canonical, head, load, places

FARTHEST = tl.constexpr(3e38)
ROOM = tl.constexpr(1 - 4.76837158203125e-07)
"""Caps may sum to a few roundings less than 1."""


@triton.jit
def _amounts(amounts, amount, row, here, FAMILY: tl.constexpr, PER_ROW: tl.constexpr):
    """Return the penalty, radius or level of each row, 1 where it is wrong, and where that is."""
    given = row.to(tl.float32) * 0.0 + amount
    if PER_ROW:
        given = tl.load(amounts + row, mask=here, other=1.0).to(tl.float32)
    if FAMILY == PROJECT_SIMPLEX or FAMILY == CAPPED_SIMPLEX or FAMILY == ENTMAX:
        wrong = here == 0
    elif FAMILY == CVAR:
        wrong = ((given > 0) & (given <= 1)) == 0
    else:
        wrong = (given >= 0) == 0
    return tl.where(wrong, 1.0, given), wrong


@triton.jit
def _scaled(
    tile, env, solved, bad, mean, k, scale_of, FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Return what brings the weights' sum to 1, NaN where the row is bad, the dual's numbers, and sums ahead."""
    numbers, moments, penalty, shift = solved
    if FAMILY == KL_PENALTY or FAMILY == KL_BALL or FAMILY == CVAR:
        size, extra, _ = moments  # already summed; of KL, with the mean of y = log e^y
    elif FAMILY == CAPPED_SIMPLEX:
        size = numbers[2]  # likewise
        extra = size
    else:
        size, extra = measure(tile, env, numbers, k, FAMILY, FLAGS, BLOCK)
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        inner, first, outside = moments
        weight = size / numbers[3]
        shift = numbers[1] + (first + weight * outside) / tl.where(inner > 0, inner, 1.0)
        if FAMILY == CHI_BALL:
            penalty = tl.where(size > 0, weight, 1.0) / scale_of
    size = tl.where(size > 0, size, 1.0)
    if FAMILY == CAPPED_SIMPLEX:
        free = numbers[3]
        factors = (bad + 1.0, (1 - size) / tl.where(free > 0, free, 1.0), bad)
    else:
        factors = (unit(env, FLAGS) / size + bad, 1 / size + bad, -numbers[2])
    if FAMILY == POWER_PENALTY and (SQUARED & FLAGS):
        shift = root_shift(tile, env, 1 / numbers[3], size, FLAGS, BLOCK)
    bound = (shift, penalty)
    return factors, bound, foreseen(numbers, (size, extra), bound, mean, scale_of, FAMILY, FLAGS)


@triton.jit
def _first(tile, env, FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Take the first look, for what the family asks of it."""
    of_ball: tl.constexpr = FAMILY == CHI_BALL or FAMILY == PROJECT_BALL
    of_power: tl.constexpr = FAMILY == POWER_PENALTY or FAMILY == ENTMAX
    of_root: tl.constexpr = FAMILY == POWER_PENALTY and (SQUARED & FLAGS) > 0
    plain: tl.constexpr = ((PRIOR | LOOPED) & FLAGS) == 0
    ties: tl.constexpr = of_ball or FAMILY == KL_BALL or (of_power and (SQUARED & FLAGS) == 0)
    starts: tl.constexpr = FAMILY == KL_BALL or FAMILY == CVAR or ((of_ball or of_root) and plain)
    return first_look(tile, env, ties, starts, FLAGS, BLOCK)


@triton.jit
def _store(value_out, numbers_out, numbers, row, rows, here):
    """Store value, multiplier, shift, gap and, where the value does not lie in its place, the rate."""
    value, multiplier, shift, gap, rate = numbers
    rated = here & ((numbers_out + 3 * rows).to(tl.int64) != value_out.to(tl.int64))
    tl.store(value_out + row, value, mask=here)
    tl.store(numbers_out + row, multiplier, mask=here)
    tl.store(numbers_out + rows + row, shift, mask=here)
    tl.store(numbers_out + 2 * rows + row, gap, mask=here)
    tl.store(numbers_out + 3 * rows + row, rate, mask=rated)


@triton.jit
def weigh_kernel(
    scores, prior, mask, caps, lengths, amounts, weights, value_out, numbers_out, status_out,
    rows, n, stride_scores, stride_prior, stride_mask, stride_caps, amount, cap, exponent, scale_of,
    FAMILY: tl.constexpr, FLAGS: tl.constexpr, PER_ROW: tl.constexpr, HAS_LENGTHS: tl.constexpr,
    DETAILS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Solve ROWS rows; ``scale_of`` is f''(1) of the divergence, ``exponent`` its a."""
    row, cols = places(ROWS, WIDTH, BLOCK)
    row = tl.program_id(0) * ROWS + row
    here = row < rows
    wide = row.to(tl.int64)
    count = tl.where(here, n, 0)
    if HAS_LENGTHS:
        count = tl.minimum(count, tl.load(lengths + row, mask=here, other=0).to(tl.int32))
    given, wrong = _amounts(amounts, amount, row, here, FAMILY, PER_ROW)
    k = exponent - 1

    io = (scores, prior, mask, caps)
    at = (
        begin(wide, stride_scores), begin(wide, stride_prior), begin(wide, stride_mask), begin(wide, stride_caps),
        count, cols,
    )  # fmt: skip
    z, m, c, inside = load(io, at, 0, cap, FLAGS, BLOCK)
    scale, top, empty, marks, room = head((z, m, c, inside), io, at, n, cap, FLAGS, BLOCK)
    x, p = canonical(z, m, c, inside, scale, FLAGS)
    tile = (x, p, c)
    env = (io, at, scale, n, cap)
    argmass, mean, spread = _first(tile, env, FAMILY, FLAGS, BLOCK)
    argmass = tl.where(mean > 0, argmass, 1.0)
    marks = tl.where((mean != mean) & (marks == 0), 1.0, marks)
    mean = tl.where(mean == mean, mean, 0.0)

    if (FAMILY == CHI_BALL or FAMILY == PROJECT_BALL) and ((PRIOR | LOOPED) & FLAGS) == 0:
        if tl.min(scale[3]) < BLOCK:  # dead atoms come to lie beyond all others, but not at infinity: 0 times that is 0
            x = tl.minimum(x, FARTHEST)
        tile = (x, p, c)

    failed = wrong | empty | (marks > 0)
    if FAMILY == CAPPED_SIMPLEX:
        failed = failed | (room < ROOM)
    look = (argmass, mean, spread, failed)
    numbers, moments, penalty, shift, saturated, uniform = solve(
        tile, env, given, look, k, scale_of, FAMILY, FLAGS, BLOCK
    )  # fmt: skip
    numbers = settle(numbers, saturated, uniform, FAMILY, FLAGS)

    empty = empty & (marks == 0)
    bad = tl.where(failed & (empty == 0), float("nan"), 0.0)
    factors, bound, ahead = _scaled(
        tile, env, (numbers, moments, penalty, shift), bad, mean, k, scale_of, FAMILY, FLAGS, BLOCK
    )  # fmt: skip
    out = weights + begin(wide, n)
    checks = write(
        tile, env, numbers, k, factors, bound, ahead, scale_of, out, here, FAMILY, DETAILS, FLAGS, BLOCK
    )  # fmt: skip

    status = tl.where(empty, 4, tl.where(wrong, 6, 0))
    status = tl.where(marks == 1, 3, tl.where(marks == 2, 5, status))
    value, multiplier, shift, gap, rate, status = report(
        env, checks, bound, given, mean, (saturated, uniform), status, top, k, scale_of, FAMILY, DETAILS
    )  # fmt: skip
    _store(value_out, numbers_out, (value, multiplier, shift, gap, rate), row, rows, here)
    tl.store(status_out + row, status, mask=here)
