"""The one root-finder: branch-free, bracketed, batched; the only loop over iterations."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import array_api_compat as aac

from ._types import Array
from ._xp import anywhere, is_traced

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
        if eager and not anywhere(~state[-1]):
            break
        state = step(*state)
    return state


def find_root(
    xp: Any,
    function: Callable[[Array], tuple[Array | None, ...]],
    start: Array,
    *,
    low: Array,
    high: Array,
    done: Array,
    noise: Array,
    steps: int,
    close: float = 0.0,
    kept: State = (),
) -> State:
    """Solve ``function(x) = 0`` for an increasing function of x > 0, row by row.

    Newton's step is taken when it falls inside the bracket and the residual falls fast enough (Brent's rule as in
    rtsafe); otherwise the bracket is halved, in ratio while its ends are a factor 4 apart.

    Parameters
    ----------
    function : callable
        Maps x to the residual, its slope (None asks for the secant's) and arrays to keep.
    start, low, high : array, shape (..., 1)
        First point and bracket; ``low`` may be 0 and ``high`` infinite.
    done : array of bool
        Rows that are not to be solved.
    noise : array
        What rounding does to the residual: a row stops once its residual is no larger, or its step is a rounding.
    steps : int
        Largest number of evaluations.
    close : float
        Relative size of a step that the caller takes itself.
    kept : tuple of arrays
        What to return in their place should there be no evaluation.

    Returns
    -------
    tuple of arrays
        x, and what its evaluation gave to keep (the last one's, where the steps ran out).
    """
    tiny = float(xp.finfo(start.dtype).smallest_normal)
    huge = float(xp.finfo(start.dtype).max) ** 0.9
    tolerance = 2 * float(xp.finfo(start.dtype).eps)
    close = max(close, tolerance)

    def halved(x: Array, lo: Array, hi: Array, x0: Array) -> Array:
        # while nothing bounds the root from one side, the exponent of the step doubles
        ratio = xp.where(x0 > 0, xp.maximum(x, x0) / xp.maximum(xp.where(x0 > 0, xp.minimum(x, x0), 1.0), tiny), 8.0)
        growth = xp.minimum(xp.maximum(ratio, 8.0), 1e8) ** 2
        far = xp.where(lo > 0, lo, xp.maximum(hi / growth / growth, tiny))
        middle = xp.where(hi > 4 * lo, xp.sqrt(far) * xp.sqrt(hi), lo + (hi - lo) / 2)
        return xp.where(hi < xp.inf, middle, xp.minimum(x, huge / growth) * growth)

    def step(x: Array, lo: Array, hi: Array, x0: Array, v0: Array, last: Array, *rest: Array) -> State:
        stop = rest[-1]
        v, slope, *keep = cast(State, function(x))
        if slope is None:
            slope = (v - v0) / xp.where(x == x0, tiny, x - x0)
        lo = xp.where(v <= 0, xp.maximum(lo, x), lo)
        hi = xp.where(v >= 0, xp.minimum(hi, x), hi)
        usable = (slope > 0) & (slope < xp.inf)
        safe = xp.where(usable, slope, 1.0)
        size = xp.abs(v)
        new = xp.minimum(x - v / safe, 8 * x)
        settled = stop | (size <= noise)
        good = settled | (usable & (new > lo) & (new < hi) & (2 * size <= last * safe))
        if anywhere(~good):
            new = xp.where(good, new, halved(x, lo, hi, x0))
        moved = xp.abs(new - x)
        ended = settled | (moved <= tolerance * x) | (good & (moved <= close * x)) | (hi - lo <= tolerance * lo)
        new = xp.where(ended, x, new)
        return new, lo, hi, x, v, moved, *keep, ended

    zero = xp.zeros_like(start)
    state = (start, low + zero, high + zero, zero, zero - 1, zero + xp.inf, *kept, done)
    x, _, _, _, _, _, *keep, _ = iterate(xp, step, state, steps=steps)
    return x, *keep
