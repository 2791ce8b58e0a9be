"""Robust weights over groups: the worst group, or a divergence's worst case over group means."""

from __future__ import annotations

import math
from typing import Any

from . import _xp
from ._divergence import Divergence
from ._problem import Problem, pose
from ._types import Array, Solution, Status
from .divergences import KL
from .weights import constrained, penalized


def group_weights(
    losses: Array,
    groups: Array,
    /,
    *,
    n_groups: int,
    divergence: Divergence | None = None,
    penalty: float | Array | None = None,
    radius: float | Array | None = None,
    size_adjustment: float = 0.0,
    prior: Array | None = None,
) -> Solution:
    """Solve max over w of Σ_g w_g (L_g + C/√n_g), w over all distributions or within D(w‖m) of the group masses m.

    L_g is the prior mean of the losses in group g, m_g its prior mass and n_g the number of its examples.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask, as is zero prior.
    groups : array of integers, shape broadcastable to the losses'
        Group of each example, in 0..n_groups - 1. Groups without a live example get no weight.
    n_groups : int
        Number of groups.
    divergence : Divergence, optional
        D; without it all weight goes to the worst group (shared by mass if several are).
    penalty, radius : float or array of shape (...,)
        λ or ρ as in `penalized` and `constrained`: exactly one of them with a divergence, neither without.
    size_adjustment : float
        C ≥ 0, in units of the losses: small groups generalise worse and are treated as if their loss were larger.
    prior : array, shape broadcastable to the losses', optional
        Non-negative masses of any scale; uniform by default.

    Returns
    -------
    Solution
        ``weights`` per example, w_g p_i/m_g; ``value`` includes the adjustment; the rest is that of the problem over
        groups.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`; and for groups of a dtype other than integer. Indices outside the range set ``status``.

    Notes
    -----
    Sagawa et al., "Distributionally robust neural networks for group shifts", ICLR 2020, equations 4 and 5.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> losses, groups = np.array([1.0, 3.0, 1.5, 1.7]), np.array([0, 0, 1, 1])
    >>> cp.group_weights(losses, groups, n_groups=2).weights
    array([0.5, 0.5, 0. , 0. ])
    >>> cp.group_weights(losses, groups, n_groups=2, divergence=cp.KL(), penalty=1.0).weights.round(6)
    array([0.299344, 0.299344, 0.200656, 0.200656])
    """
    n_groups = _xp.count("n_groups", n_groups)
    _check(divergence, penalty, radius, size_adjustment)
    xp = _xp.namespace(losses=losses, groups=groups, prior=prior)
    if not xp.isdtype(groups.dtype, "integral"):
        raise TypeError(f"groups has dtype {groups.dtype}; integers in 0..{n_groups - 1} are needed")
    problem = pose(losses, prior, 0.0, "radius", None)
    groups = xp.astype(groups, _xp.integer(xp, groups))  # torch compares uint8 with 300 as with 44
    try:
        groups = xp.broadcast_to(groups, problem.p.shape)
    except (ValueError, RuntimeError, TypeError) as error:
        found = f"groups {tuple(groups.shape)}, losses {tuple(losses.shape)}"
        raise ValueError(f"shapes do not broadcast: {found}") from error
    mass, mean = _by_group(problem, groups, n_groups, size_adjustment)
    if divergence is None:
        solution = penalized(mean, KL(), 0.0, prior=mass)
    elif penalty is not None:
        solution = penalized(mean, divergence, penalty, prior=mass)
    else:
        assert radius is not None
        solution = constrained(mean, divergence, radius, prior=mass)
    share = xp.where(mass > 0, solution.weights / xp.where(mass > 0, mass, 1.0), 0.0)
    weights = xp.zeros_like(problem.p)
    for g in range(n_groups):
        weights = xp.where(groups == g, problem.p * share[..., g : g + 1], weights)
    return _report(problem, solution, weights, xp.any((groups < 0) | (groups >= n_groups), axis=-1))


def _check(
    divergence: Divergence | None,
    penalty: float | Array | None,
    radius: float | Array | None,
    size_adjustment: float,
) -> None:
    _xp.number("size_adjustment", size_adjustment, lambda v: 0 <= v < math.inf, "a finite float >= 0")
    given = [name for name, value in (("penalty", penalty), ("radius", radius)) if value is not None]
    if len(given) != (divergence is not None):
        wanted = "neither penalty nor radius" if divergence is None else "exactly one of penalty and radius"
        raise ValueError(f"with divergence={divergence!r} give {wanted}; given: {', '.join(given) or 'none'}")


def _by_group(problem: Problem, groups: Array, n_groups: int, size_adjustment: float) -> tuple[Array, Array]:
    """Prior mass and adjusted mean loss of each group, shape (..., n_groups)."""
    xp, p = problem.xp, problem.p
    top, _ = problem.at_top()
    masses, means = [], []
    for g in range(n_groups):
        inside = problem.live & (groups == g)
        mine = xp.where(inside, p, 0.0)
        count = xp.astype(inside, p.dtype)
        worst = xp.any(inside & top, axis=-1, keepdims=True)
        mass, below, size = problem.reduce.sum(mine, mine * problem.x, count)
        mean = problem.top - 2 * (problem.half * (below / xp.where(mass > 0, mass, 1.0)))
        mean = xp.where(problem.infinite, xp.where(worst, xp.inf, xp.zeros_like(mean)), mean)
        masses.append(mass)
        means.append(mean + size_adjustment / xp.sqrt(xp.maximum(size, 1.0)))
    mean = xp.concat(means, axis=-1)
    return xp.concat(masses, axis=-1), xp.where(xp.isfinite(mean) | (mean == xp.inf), mean, 0.0)


def _report(problem: Problem, solution: Solution, weights: Array, stray: Array) -> Solution:
    """Put the examples' status before the groups', and make failed rows NaN."""
    xp: Any = problem.xp
    status = xp.squeeze(problem.status, axis=-1)
    status = xp.where(status == 0, solution.status, status)
    status = xp.where(stray, xp.zeros_like(status) + int(Status.INVALID_GROUP), status)
    failed = status >= int(Status.NAN_LOSS)
    empty = (status == int(Status.EMPTY_PRIOR))[..., None]
    weights = xp.where(failed[..., None], xp.where(empty, 0.0, xp.zeros_like(weights) + xp.nan), weights)

    def number(value: Array) -> Array:
        return xp.astype(xp.where(failed, xp.nan, value), problem.dtype)

    return Solution(
        weights=xp.astype(weights, problem.dtype),
        value=number(solution.value),
        multiplier=number(solution.multiplier),
        shift=number(solution.shift),
        gap=number(solution.gap),
        status=status,
    )
