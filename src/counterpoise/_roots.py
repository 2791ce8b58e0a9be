"""The one root-finder: branch-free, bracketed, batched; the only loop over iterations."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import array_api_compat as aac

from ._types import Array
from ._xp import is_traced

State = tuple[Array, ...]


def iterate(xp: Any, step: Callable[..., State], state: State, *, steps: int) -> State:
    """Apply ``step`` until the last entry of the state, a boolean array, is true everywhere.

    Eager arrays stop as soon as they may. Under a jax transform the loop is a ``lax.while_loop``; every other traced
    or lazy array takes all ``steps``, so that nothing depends on its values.
    """
    if aac.is_jax_namespace(xp):
        lax = sys.modules["jax"].lax

        def undone(carry: tuple[Array, State]) -> Array:
            return (carry[0] < steps) & ~xp.all(carry[1][-1])

        def advance(carry: tuple[Array, State]) -> tuple[Array, State]:
            return carry[0] + 1, step(*carry[1])

        return tuple(lax.while_loop(undone, advance, (0, state))[1])
    eager = not is_traced(state[-1])
    for _ in range(steps):
        if eager and bool(xp.all(state[-1])):
            break
        state = step(*state)
    return state


def find_root(
    xp: Any,
    function: Callable[[Array], tuple[Array, Array | None]],
    start: Array,
    *,
    low: Array,
    high: Array,
    done: Array,
    noise: Array,
    steps: int,
) -> Array:
    """Solve ``function(x) = 0`` for an increasing function of x > 0, row by row.

    Newton's step is taken when it falls inside the bracket and the residual falls fast enough (Brent's rule as in
    rtsafe); otherwise the bracket is halved, in ratio while its ends are a factor 4 apart.

    Parameters
    ----------
    function : callable
        Maps x to the residual and its slope; a slope of None asks for the secant's.
    start, low, high : array, shape (..., 1)
        First point and bracket; ``low`` may be 0 and ``high`` infinite.
    done : array of bool
        Rows that are not to be solved.
    noise : array
        What rounding does to the residual: a row stops once its residual is no larger, or its step is a rounding.
    steps : int
        Largest number of evaluations.
    """
    tiny = float(xp.finfo(start.dtype).smallest_normal)
    huge = float(xp.finfo(start.dtype).max) ** 0.9
    tolerance = 2 * float(xp.finfo(start.dtype).eps)

    def step(x: Array, lo: Array, hi: Array, x0: Array, v0: Array, last: Array, stop: Array) -> State:
        v, slope = function(x)
        if slope is None:
            slope = (v - v0) / xp.where(x == x0, tiny, x - x0)
        lo = xp.where(v <= 0, xp.maximum(lo, x), lo)
        hi = xp.where(v >= 0, xp.minimum(hi, x), hi)
        # while nothing bounds the root from one side, the exponent of the step doubles
        ratio = xp.where(x0 > 0, xp.maximum(x, x0) / xp.maximum(xp.where(x0 > 0, xp.minimum(x, x0), 1.0), tiny), 8.0)
        growth = xp.clip(ratio, 8.0, 1e8) ** 2
        far = xp.where(lo > 0, lo, xp.maximum(hi / growth / growth, tiny))
        middle = xp.where(hi > 4 * lo, xp.sqrt(far) * xp.sqrt(hi), lo + (hi - lo) / 2)
        middle = xp.where(hi < xp.inf, middle, xp.minimum(x * growth, huge))
        safe = xp.where((slope > 0) & (slope < xp.inf), slope, 1.0)
        newton = xp.minimum(x - v / safe, 8 * x)
        good = (slope > 0) & (slope < xp.inf) & (newton > lo) & (newton < hi) & (2 * xp.abs(v) <= last * safe)
        new = xp.where(good, newton, middle)
        moved = xp.abs(new - x)
        settled = stop | (xp.abs(v) <= noise)
        ended = settled | (moved <= tolerance * x) | (hi - lo <= tolerance * lo)
        new = xp.where(settled, x, new)
        return new, lo, hi, x, v, moved, ended

    zero = xp.zeros_like(start)
    state = (start, low + zero, high + zero, zero, zero - 1, zero + xp.inf, done)
    return iterate(xp, step, state, steps=steps)[0]
