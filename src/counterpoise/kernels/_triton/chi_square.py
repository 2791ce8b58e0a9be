"""χ²: the active set {x < δ} shrinks until nothing leaves it (`counterpoise._solvers.chi_square`)."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .root import CLOSE, CLOSER
from .sums import BELOW, MOMENTS, RAMP, SPREAD, ramp, sums, unit
from .tile import LOOPED, PRIOR, once

ROUNDING = tl.constexpr(2.384185791015625e-07)


@triton.jit
def _edge(moments, second, amount, BALL: tl.constexpr):
    """Return δ from mass, first moment and complement of the set, and its second moment from its mean; and δ − mean."""
    mass, first, outside = moments
    safe = tl.where(mass > 0, mass, 1.0)
    if BALL:
        rest = tl.where(outside < 0.5, amount - (1 + amount) * outside, (1 + amount) * mass - 1)
        usable = (rest > 0) & (second > 0)
        reach = tl.sqrt(tl.where(usable, second, 1.0)) * tl.rsqrt(tl.where(usable, rest * safe, 1.0))
        return tl.where(usable, first / safe + reach, float("inf")), reach
    else:
        return tl.where(mass > 0, (amount + first) / safe, float("inf")), amount / safe


@triton.jit
def _falls(weight, held, delta, amount):
    """Return Newton's next δ of Σ p(δ − x)₊ = amount, and whether it lies below by no more than rounding."""
    new = delta - (weight - amount) / held  # the argmax is below any δ > 0
    return new, new >= delta * (1 - ROUNDING)


@triton.jit
def _bound(x, one, amount, delta, done):
    """Return an upper bound of δ: that of the nearest atom of every column alone, which are in registers already."""
    near = tl.min(x, axis=0, keep_dims=True)
    stop = done.to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 8):
        weight, held = ramp(near, delta)
        new, _ = _falls(weight * one, held * one, delta, amount)
        ended = new >= delta * (1 - CLOSE)
        delta = tl.where(stop > 0, delta, tl.minimum(new, delta))
        stop = stop | ended.to(tl.int32)
        steps += 1
    return delta


@triton.jit
def _recounted(tile, env, delta, amount, BALL: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return what `shrink` does, counted from the last atom below δ.

    An atom with most of the prior may matter though δ is above it by less than a rounding: there are no more than 16
    distances so near, and those that are found to be beyond δ are dropped again.
    """
    zero = amount * 0.0
    limit = delta * (1 + 4 * ROUNDING)
    atom = zero
    inner = zero
    around = zero
    far = zero
    last = zero
    more = 1
    while more > 0:
        atom, _, _, _ = sums(tile, env, limit, zero, 0.0, BELOW, FLAGS, BLOCK)
        inner, around, _, far = sums(tile, env, limit, atom, 0.0, MOMENTS, FLAGS, BLOCK)
        spread = zero
        if BALL:
            middle = atom + around / tl.where(inner > 0, inner, 1.0)
            spread, _, _, _ = sums(tile, env, limit, middle, 0.0, SPREAD, FLAGS, BLOCK)
        last, _ = _edge((inner, around, far), spread, amount, BALL)
        over = (atom >= delta) & (last <= 0)
        limit = tl.where(over, atom, limit)
        more = tl.max(over.to(tl.int32))
    reach = tl.where(last < float("inf"), last, tl.where(delta < float("inf"), limit - atom, 1.0))
    return (limit, atom, reach, zero + 1.0), (inner, around, far)


@triton.jit
def shrink(tile, env, amount, mean, start, done, BALL: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return (δ, the atom below it, reach, 1), for weights p(reach − (x − atom))₊ on {x < δ}, and that set's moments.

    A ball's second moments are counted from the last set's mean (``mean`` is that of all atoms), the last set's own
    when nothing leaves it: one look at the atoms a step. The δ that a set of nearest atoms asks for is never below the
    ball's, whichever set it is: the first step, from a guess, may also rise, and later ones fall. A step leaves an
    error of its square's size: without a prior one that is small beside the weights needs no look after it. There no
    weight's error exceeds its rounding when distances are counted from the top, since none exceeds 1; with one, an
    atom of little mass may lie far above all others, and they are counted from the last atom of the set.
    """
    zero = amount * 0.0
    fresh = zero + 1.0
    delta = tl.where(done, 2.0, start)
    if (((PRIOR | LOOPED) & FLAGS) == 0) & (BALL == 0) & (tile[0].shape[0] > 2):
        delta = _bound(tile[0], unit(env, FLAGS), amount, delta, done)
    centre = zero
    if BALL:
        centre = mean
    stop = done.to(tl.int32)
    mass = zero + 1.0
    first = zero
    outside = zero
    steps = 0
    while (tl.min(stop) == 0) & (steps < 64):
        delta = once(delta)
        centre = once(centre)
        stop = once(stop)
        fresh = once(fresh)
        if BALL or (PRIOR & FLAGS):
            held, moved, second, beyond = sums(tile, env, delta, centre, 0.0, MOMENTS, FLAGS, BLOCK)
            off = moved / tl.where(held > 0, held, 1.0)
            edge, reach = _edge((held, moved, beyond), second - moved * off, amount, BALL)
            new = centre + edge
            ended = new >= delta
            if BALL:
                known = tl.abs(new - delta) <= delta * (4 * ROUNDING)
                if ((PRIOR | LOOPED) & FLAGS) == 0:
                    small = tl.abs(new - delta) <= reach * CLOSER
                    known = known | small
                    ended = ended | small
                ended = tl.where((fresh > 0) & (delta < float("inf")), known, ended)
            ended = ended.to(tl.int32)
        else:
            weight, held, _, _ = sums(tile, env, delta, zero, 0.0, RAMP, FLAGS, BLOCK)
            beyond = 1 - held
            off = delta - weight / held
            new, ended = _falls(weight, held, delta, amount)
            ended = ended.to(tl.int32)
        mass = tl.where(stop > 0, mass, held)
        first = tl.where(stop > 0, first, (centre + off) * held)
        outside = tl.where(stop > 0, outside, beyond)
        if BALL:
            lower = tl.where(fresh > 0, new, tl.minimum(new, delta))
            fresh = zero
            centre = tl.where(stop > 0, centre, centre + off)
        else:
            lower = tl.minimum(new, delta)
        delta = tl.where(stop > 0, delta, lower)
        stop = stop | ended
        steps += 1
    if PRIOR & FLAGS:
        return _recounted(tile, env, delta, amount, BALL, FLAGS, BLOCK)
    else:
        reach = tl.where(delta < float("inf"), delta, 1.0)
        whole = delta > 2  # no distance is above 1: moments of all atoms are known, and δ's rounding is not theirs
        first = tl.where(whole, mean, first)
        outside = tl.where(whole, 0.0, outside)
        return (delta, zero, reach, zero + 1.0), (tl.where(whole, 1.0, mass), first, outside)
