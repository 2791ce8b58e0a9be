"""χ²: the active set {x < δ} shrinks until nothing leaves it (`counterpoise._solvers.chi_square`)."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .sums import BELOW, MOMENTS, SPREAD, sums


@triton.jit
def _edge(tile, env, delta, origin, amount, BALL: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return δ from the moments of {x < δ}, counted from ``origin``; and that set's mass, mean and complement."""
    mass, first, outside, _ = sums(tile, env, delta, origin, 0.0, MOMENTS, FLAGS, BLOCK)
    safe = tl.where(mass > 0, mass, 1.0)
    mean = first / safe
    if BALL:
        second, _, _, _ = sums(tile, env, delta, origin + mean, 0.0, SPREAD, FLAGS, BLOCK)
        rest = tl.where(outside < 0.5, amount - (1 + amount) * outside, (1 + amount) * mass - 1)
        usable = (rest > 0) & (second > 0)
        new = tl.where(
            usable, mean + tl.sqrt(tl.where(usable, second, 1.0) / tl.where(usable, rest * safe, 1.0)), float("inf")
        )
    else:
        new = tl.where(mass > 0, (amount + first) / safe, float("inf"))
    return new, mass, first, outside


@triton.jit
def shrink(tile, env, amount, start, done, BALL: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return (δ, the atom below it, reach): weights p(reach − (x − atom))₊ on {x < δ}; mass and moments of that set."""
    zero = amount * 0.0
    delta = tl.where(done, 2.0, start)
    stop = done.to(tl.int32)
    steps = 0
    while (tl.min(stop) == 0) & (steps < 64):
        new, _, _, _ = _edge(tile, env, delta, zero, amount, BALL, FLAGS, BLOCK)
        new = tl.minimum(new, delta)
        ended = (new >= delta).to(tl.int32)
        delta = tl.where(stop > 0, delta, new)
        stop = stop | ended
        steps += 1
    atom, _, _, _ = sums(tile, env, delta, zero, 0.0, BELOW, FLAGS, BLOCK)
    last, mass, first, outside = _edge(tile, env, delta, atom, amount, BALL, FLAGS, BLOCK)
    reach = tl.where(last < float("inf"), last, tl.where(delta < float("inf"), delta - atom, 1.0))
    # Σ p(reach − y)₊ over the set is the penalty; the caller sums it as it stores
    return (delta, atom, reach), (mass, first, outside)
