"""Euclidean projections onto weights, row by row: the readable specification of the fused kernel."""

from __future__ import annotations

from numbers import Real
from typing import Any

from ._divergence import Divergence
from ._lending import lent, returned
from ._roots import find_root
from ._solvers.ball import STEPS
from ._solvers.metric import project_in_metric
from ._types import Array, Status
from ._xp import Reduce, aligned, filled, namespace
from .divergences import ChiSquare
from .weights import constrained, penalized


def project_simplex(values: Array, /, *, prior: Array | None = None) -> Array:
    """Solve min over w of Σ (w − v)²/p subject to w ≥ 0, Σ w = 1: sparsemax, in the metric of the prior.

    Parameters
    ----------
    values : array of real floating dtype, shape (..., n)
        v. A value of -inf is a mask, as is zero prior.
    prior : array, shape broadcastable to the values', optional
        Non-negative masses of any scale; uniform by default, which is the plain Euclidean projection.

    Returns
    -------
    array, shape (..., n)
        (v + τp)₊, τ such that they sum to 1. Rows with NaN values or negative masses are NaN, empty rows 0.

    Raises
    ------
    TypeError, ValueError
        Wrong dtypes, shapes, devices, mixed array libraries.

    Notes
    -----
    It is the penalised χ² problem with losses v/p and penalty ½, p summing to 1 over the live atoms; v/p is not formed,
    so that weights err by a rounding of the values, however many decades the prior spans. Michelot, "A finite
    algorithm for finding the projection of a point onto the canonical simplex", JOTA 50 (1986); Martins and Astudillo,
    ICML 2016.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.project_simplex(np.array([0.5, 0.9, -2.0]))
    array([0.3, 0.7, 0. ])
    """
    if prior is not None:
        return project_in_metric(values, prior)[0]
    xp = namespace(values=values)
    return xp.astype(penalized(*_as_losses(values)).weights, values.dtype)


def project_ball(
    values: Array, divergence: Divergence, radius: float | Array, /, *, prior: Array | None = None
) -> Array:
    """Solve min over w of Σ (w − v)²/p subject to w ≥ 0, Σ w = 1, χ²(w‖p) ≤ ρ.

    Parameters
    ----------
    values : array of real floating dtype, shape (..., n)
        v. A value of -inf is a mask, as is zero prior.
    divergence : ChiSquare
        The divergence whose ball is a Euclidean one; for others there is `constrained`.
    radius : float or array of shape (...,)
        ρ ≥ 0.
    prior : array, shape broadcastable to the values', optional
        Non-negative masses of any scale; uniform by default.

    Returns
    -------
    array, shape (..., n)
        The projection onto the simplex where that is inside the ball, else the χ²-constrained weights of losses v/p.
        Rows with NaN values, negative masses or radius are NaN, empty rows 0.

    Raises
    ------
    TypeError, ValueError
        Wrong dtypes, shapes, devices, mixed array libraries, a divergence other than χ².

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.project_ball(np.array([0.5, 0.9, -2.0]), cp.ChiSquare(), 0.5).round(6)
    array([0.461909, 0.535381, 0.00271 ])
    """
    if not isinstance(divergence, ChiSquare):
        raise TypeError(
            f"the divergence is {divergence!r}; only ChiSquare() has a Euclidean ball: use constrained() for others"
        )
    return ball_in_metric(values, radius, prior)[0]


def project_capped_simplex(values: Array, /, *, cap: float | Array, prior: Array | None = None) -> Array:
    """Solve min over w of Σ (w − v)²/p subject to 0 ≤ w ≤ c, Σ w = 1.

    Parameters
    ----------
    values : array of real floating dtype, shape (..., n)
        v. A value of -inf is a mask, as is zero prior.
    cap : float or array, shape broadcastable to the values'
        c ≥ 0, the largest weight of each atom; infinity leaves it free.
    prior : array, shape broadcastable to the values', optional
        Non-negative masses of any scale; uniform by default, which is the plain Euclidean projection.

    Returns
    -------
    array, shape (..., n)
        Clip of v + τp to [0, c], τ such that they sum to 1. Rows whose caps sum to less than 1, or with NaN or
        +inf values, NaN or negative caps or negative masses, are NaN; rows without a live atom 0.

    Raises
    ------
    TypeError, ValueError
        Wrong dtypes, shapes, devices, mixed array libraries.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.project_capped_simplex(np.array([0.5, 0.9, -2.0]), cap=0.6)
    array([0.4, 0.6, 0. ])
    """
    borrowed = lent([values, cap, prior])
    if borrowed is not None:
        return returned(project_capped_simplex(borrowed[0], cap=borrowed[1], prior=borrowed[2]))
    xp = namespace(values=values, cap=cap, prior=prior)
    named = {"values": values} if prior is None else {"values": values, "prior": prior}
    v, *rest = aligned(xp, {**named, "cap": cap} if not isinstance(cap, Real) else named)
    p = xp.ones_like(v) if prior is None else rest[0]
    c = filled(xp, v, float(cap)) if isinstance(cap, Real) else rest[-1]
    valid = (c >= 0) & (p >= 0) & (p < xp.inf)
    live = (p > 0) & (c > 0) & (v != -xp.inf)
    bad = xp.any(~valid | (live & ~(v < xp.inf)), axis=-1, keepdims=True)
    most = xp.max(xp.where(live, p, 0.0), axis=-1, keepdims=True)
    p = xp.where(live & valid, p / xp.where(most > 0, most, 1.0), 0.0)
    room = xp.sum(xp.where(live, c, 0.0), axis=-1, keepdims=True)
    eps = float(xp.finfo(v.dtype).eps)
    empty = ~xp.any(live, axis=-1, keepdims=True)
    bad = bad | (~empty & (room < 1 - eps * 4))
    w = _clip_to_sum(xp, xp.where(live & ~bad, v, 0.0), p, xp.where(live, c, 0.0), bad | empty)
    w = xp.where(bad, xp.nan, xp.where(empty, 0.0, w))
    return xp.astype(w, values.dtype)


def _as_losses(values: Array) -> tuple[Array, Divergence, Array]:
    """Return the χ² penalty problem that projects v without a prior: losses, divergence, and a penalty of ½ over n."""
    xp = namespace(values=values)
    (v,) = aligned(xp, {"values": values})
    live = xp.sum(xp.astype(v != -xp.inf, v.dtype), axis=-1)
    return v, ChiSquare(), 0.5 / xp.where(live > 0, live, 1.0)


def ball_in_metric(values: Array, radius: float | Array, prior: Array | None) -> tuple[Array, Array]:
    """Return the projection onto the ball, and the multiplier of Σ (w − v)²/p + λ'χ² as ½(1 + λ'): ½ where it is free.

    The multiplier is infinite where the weights are the prior, and 0 where they do not move with the values.
    """
    xp = namespace(values=values, prior=prior)
    if prior is not None:
        return project_in_metric(values, prior, radius)
    losses, divergence, penalty = _as_losses(values)
    free = penalized(losses, divergence, penalty)
    bound = constrained(losses, divergence, radius)
    # a larger multiplier than the projection's own penalty means that the ball binds
    inside = (bound.multiplier <= penalty) & (bound.status <= int(Status.SATURATED))
    chosen = xp.where(inside, free.multiplier, bound.multiplier) / penalty / 2
    moves = xp.where(inside, free.status, bound.status) == int(Status.CONVERGED)
    weights = xp.where(inside[..., None], free.weights, bound.weights)
    return xp.astype(weights, values.dtype), xp.where(moves, chosen, 0.0)


def _clip_to_sum(xp: Any, v: Array, p: Array, c: Array, done: Array) -> Array:
    """Weights clip(v + τp, 0, c) that sum to 1; τ is found twice, the second time from the last atom to enter."""
    live = p > 0
    safe = xp.where(live, p, 1.0)
    # in ratios and counted from an atom, its own slack is exact whatever the scale of the values
    slack, room = xp.where(live, v / safe, -xp.inf), xp.where(live, c / safe, 0.0)
    slack = slack - xp.where(done, 0.0, xp.max(slack, axis=-1, keepdims=True))
    slack = xp.where(live & ~done, slack, -1.0)
    y = _threshold(xp, slack, p, room, done, xp.zeros_like(slack[..., :1]))
    shift = _last_atom(xp, slack, p, room, y)
    slack = slack - shift
    t = slack + _threshold(xp, slack, p, room, done, y + shift)
    w = xp.where(live & (t >= room), c, xp.minimum(p * xp.clip(t, 0.0, room), c))
    free = xp.where((w > 0) & (w < c), p, 0.0)
    short = 1 - xp.sum(w, axis=-1, keepdims=True)
    total = xp.sum(free, axis=-1, keepdims=True)
    return xp.clip(w + xp.where(total > 0, short * free / xp.where(total > 0, total, 1.0), 0.0), 0.0, c)


def _last_atom(xp: Any, slack: Array, p: Array, room: Array, y: Array) -> Array:
    """Return the slack of the last atom that enters before the root, y being known to a rounding of its size."""
    rounding = 8 * float(xp.finfo(y.dtype).eps) * y
    below, at = (
        xp.min(xp.where(-slack <= end, slack, 0.0), axis=-1, keepdims=True) for end in (y - rounding, y + rounding)
    )
    filled = xp.sum(p * xp.clip(slack - at, 0.0, room), axis=-1, keepdims=True)
    return xp.where(filled <= 1, at, below)


def _threshold(xp: Any, slack: Array, p: Array, room: Array, done: Array, near: Array) -> Array:
    """Root y ≥ 0 of Σ p clip(slack + y, 0, room) = 1, looked for from ``near``; 0 where that sum is 1 at y = 0."""
    reduce, eps = Reduce(xp, None), float(xp.finfo(slack.dtype).eps)

    def residual(y: Array) -> tuple[Array, Array]:
        t = slack + y
        inside = xp.clip(t, 0.0, room)
        filled, rising = reduce.sum((inside, p), (xp.astype((t > 0) & (t < room), p.dtype), p))
        short = filled - 1
        # less than a rounding of y makes up for: bisection would go on for thirty steps
        return xp.where(xp.abs(short) <= 2 * eps * y * rising, 0.0, short), rising

    empty, _ = residual(xp.zeros_like(near))
    done = done | (empty >= 0)
    total = xp.sum(p, axis=-1, keepdims=True)
    missing = xp.where(done, 1.0, -empty / xp.where(total > 0, total, 1.0))
    noise = xp.zeros_like(missing) + 2 * eps
    # no weight exceeds 1: once all are there or at their cap, they sum to 1 at least
    full = xp.where(p > 0, xp.minimum(room, 1 / xp.where(p > 0, p, 1.0)) - slack, 0.0)
    low, high = 0.5 * missing, 2 * xp.maximum(missing, xp.max(full, axis=-1, keepdims=True))
    start = xp.where((near > low) & (near < high) & ~done, near, missing)
    (y,) = find_root(xp, residual, start, low=low, high=high, done=done, noise=noise, steps=4 * STEPS)
    return xp.where(done, 0.0, y)
