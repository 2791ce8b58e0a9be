"""Weights under a cap: filling prior mass from the largest loss down."""

from __future__ import annotations

import math

from .._problem import Problem
from .._roots import State, iterate
from .._types import Array
from .._xp import sorts_fast
from .ball import STEPS


def fill(problem: Problem, level: Array, done: Array) -> tuple[Array, Array]:
    """Fill prior mass ``level`` from the largest loss down; return the filled masses and the last x reached.

    The last x is the smallest atom c with prior mass of {x ≤ c} at least ``level``: by sorting where that is cheap and
    turns out right, else by pivoting.
    """
    guess = _by_sorting(problem, level)
    if guess is not None:
        filled, right = _up_to(problem, level, guess)
        if bool(problem.xp.all(right | done)):
            return filled, guess
    last = _by_pivoting(problem, level, done)
    return _up_to(problem, level, last)[0], last


def _up_to(problem: Problem, level: Array, last: Array) -> tuple[Array, Array]:
    """Fill all mass before ``last`` and what the level leaves of its own; tell whether that is the level."""
    xp, p, x = problem.xp, problem.p, problem.x
    over = xp.astype(x < last, p.dtype)
    at = xp.astype(x == last, p.dtype)
    filled, tie = problem.expect(over, at)
    part = xp.minimum(xp.maximum((level - filled) / xp.where(tie > 0, tie, 1.0), 0.0), 1.0)
    near = 4 * float(xp.finfo(p.dtype).eps) * level
    at *= part
    over += at
    over *= p
    return over, (filled <= level + near) & (filled + tie >= level - near) & (tie > 0)


def _by_sorting(problem: Problem, level: Array) -> Array | None:
    """Return the last x by a sort and a running sum, right up to rounding; None where sorting is dear."""
    xp, x = problem.xp, problem.x
    if problem.reduce.all_reduce is not None or not sorts_fast(x):
        return None
    n = x.shape[-1]
    if problem.even:
        fuzz = 1 - 4 * float(xp.finfo(x.dtype).eps)  # a level of k/n means k atoms
        k = xp.astype(xp.ceil(level * (n * fuzz)), xp.int64) - 1
        return xp.take_along_axis(xp.sort(x, axis=-1, stable=False), xp.minimum(xp.maximum(k, 0), n - 1), axis=-1)
    order = xp.argsort(x, axis=-1, stable=False)
    mass = xp.cumulative_sum(xp.take_along_axis(problem.p, order, axis=-1), axis=-1)
    k = xp.sum(xp.astype(mass < level, xp.int64), axis=-1, keepdims=True)
    last = xp.take_along_axis(order, xp.minimum(k, n - 1), axis=-1)
    return xp.take_along_axis(x, last, axis=-1)


def _by_pivoting(problem: Problem, level: Array, done: Array) -> Array:
    """Pivot between atoms: by interpolated mass, by mean, and geometrically so that heavy tails cannot stall it."""
    xp, p, x = problem.xp, problem.p, problem.x
    tiny = float(xp.finfo(p.dtype).smallest_normal)
    far = x + 4 * xp.astype(~problem.live, p.dtype)
    px = p * x

    def step(
        lo: Array, a_lo: Array, b_lo: Array, hi: Array, a_hi: Array, b_hi: Array, turn: Array, stop: Array
    ) -> State:
        between = xp.where(a_hi > a_lo, a_hi - a_lo, 1.0)
        mean = (b_hi - b_lo) / between
        share = lo + (hi - lo) * (level - a_lo) / between
        ratio = xp.sqrt(xp.maximum(lo, tiny)) * xp.sqrt(hi)
        pivot = xp.where(turn == 0, share, xp.where(turn == 1, mean, ratio))
        pivot = xp.where((pivot >= lo) & (pivot < hi), pivot, lo)
        below = x <= pivot
        inside = xp.astype(below, p.dtype)
        a, b = problem.reduce.sum(p * inside, px * inside)
        highest = problem.reduce.max(x * inside)
        inside *= 4
        inside += far
        lowest = problem.reduce.min(inside)
        enough = a >= level
        grow, shrink = ~stop & ~enough, ~stop & enough
        lo, a_lo, b_lo = (xp.where(grow, new, old) for new, old in ((lowest, lo), (a, a_lo), (b, b_lo)))
        hi, a_hi, b_hi = (xp.where(shrink, new, old) for new, old in ((highest, hi), (a, a_hi), (b, b_hi)))
        return lo, a_lo, b_lo, hi, a_hi, b_hi, xp.where(turn == 2, turn * 0, turn + 1), stop | (lo >= hi)

    (mass,) = problem.reduce.sum(p)
    zero = xp.zeros_like(level)
    state = (zero, zero, zero, problem.reduce.max(x) + zero, mass, problem.mean, zero, done)
    return iterate(xp, step, state, steps=3 * STEPS)[3]


def capped_tilt(problem: Problem, level: Array, last: Array, smoothing: Array, done: Array) -> tuple[Array, Array]:
    """Weights p·min(e^s, 1/α), s = (l − η)/λ: monotone Newton on the factor e^v, counted from the last filled atom."""
    xp, p = problem.xp, problem.p
    smoothing = xp.where(done, 1.0, smoothing)
    cap = 1 / level
    highest = 0.9 * math.log(float(xp.finfo(p.dtype).max))
    tilt = xp.exp(xp.clip((last - problem.x) / smoothing, -2 * highest, highest))
    tilt = problem.masked(tilt, 0.0)

    def step(factor: Array, stop: Array) -> State:
        free = (factor * tilt < cap) & problem.live
        capped, rest = problem.reduce.sum(xp.where(problem.live & ~free, p, 0.0), xp.where(free, p * tilt, 0.0))
        new = (1 - capped * cap) / xp.where(rest > 0, rest, 1.0)
        new = xp.where((rest > 0) & ~stop, xp.maximum(new, factor), factor)
        return new, stop | (new <= factor)

    (above,) = problem.reduce.sum(xp.where(problem.live & (problem.x < last), p, 0.0))
    start = (1 - above * cap) / xp.where(above < 1, 1 - above, 1.0)
    factor, _ = iterate(xp, step, (start, done), steps=STEPS)
    q = problem.masked(p * xp.minimum(factor * tilt, cap), 0.0)
    (total,) = problem.reduce.sum(q)
    return q / xp.where(total > 0, total, 1.0), last + smoothing * xp.log(xp.where(factor > 0, factor, 1.0))
