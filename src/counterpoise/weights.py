"""The verbs: losses and a prior in, certified worst-case weights out."""

from __future__ import annotations

from ._blocks import in_blocks
from ._divergence import Divergence, Power, require_divergence
from ._problem import Answer, Problem, certificate, choose, divergence_of, finish, pose, scaled
from ._solvers.ball import largest_radius, saturates
from ._solvers.cap import capped_tilt, fill
from ._solvers.chi_square import chi_square_ball, chi_square_penalty
from ._solvers.generic import generic_ball, generic_penalty
from ._solvers.kl import kl_ball, kl_penalty
from ._solvers.power import power_ball, power_penalty
from ._types import AllReduce, Array, Solution
from ._xp import number
from .divergences import KL, TotalVariation

LEAST = 4096.0
"""Least penalty that is solved, in smallest normal numbers of ranges: 5e-35 ranges in float32."""


@in_blocks
def penalized(
    losses: Array,
    divergence: Divergence,
    penalty: float | Array,
    /,
    *,
    prior: Array | None = None,
    all_reduce: AllReduce | None = None,
) -> Solution:
    """Solve max over q of ⟨q, l⟩ − λ D(q‖p), q a distribution absolutely continuous with respect to p.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask, as is zero prior; +inf takes all the mass.
    divergence : Divergence
        D.
    penalty : float or array of shape (...,)
        λ ≥ 0, in units of the losses. 0 puts all mass on the largest losses, infinity returns the prior, and so
        does all above ε^-5/4 ranges of the losses (4e19 in float64, 5e8 in float32): rounding leaves nothing else.
    prior : array, shape broadcastable to the losses', optional
        Non-negative masses of any scale; uniform by default. Zero masks the atom, whatever its loss.
    all_reduce : callable, optional
        Combines reductions across shards when the last axis is spread over processes: called with an array and
        one of "sum", "max", "min".

    Returns
    -------
    Solution
        In the losses' namespace, device and dtype; half precision is accumulated in float32.

    Raises
    ------
    TypeError, ValueError
        Wrong dtypes, shapes, devices, mixed array libraries. Wrong *values* (NaN losses, negative masses or penalty)
        set ``status`` and make the row NaN: see `raise_on_failure`.

    Notes
    -----
    The weights are p (f*)'((l − η)/λ). For KL this is the softmax of l/λ under the prior and the value is
    λ log Σ p e^{l/λ}; for χ² it is a Euclidean projection onto the simplex. Ben-Tal et al., "Robust solutions of
    optimization problems affected by uncertain probabilities", Management Science 59 (2013), theorem 4.1.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> solution = cp.penalized(np.array([0.0, 1.0, 2.0]), cp.KL(), 1.0)
    >>> solution.weights.round(6), float(solution.value)
    (array([0.090031, 0.244728, 0.665241]), 1.308994)
    """
    require_divergence(divergence)
    problem = pose(losses, prior, penalty, "penalty", all_reduce)
    xp = problem.xp
    lam = _solvable(problem, problem.amount)
    saturated = (lam == 0) | (problem.infinite & (problem.amount < xp.inf))
    # so far above the range that weights are the prior to rounding, and that rounding them costs more than they gain
    uniform = (lam > float(xp.finfo(lam.dtype).eps) ** -1.25) | (problem.status > 0)
    done = saturated | uniform
    if isinstance(divergence, TotalVariation):
        answer = _move_mass(problem.p * xp.astype(problem.x > lam, problem.p.dtype), problem, lam)
    elif isinstance(divergence, Power):
        if divergence.exponent == 1:
            answer = kl_penalty(problem, xp.where(done, 1.0, lam))
        elif divergence.exponent == 2:
            answer = chi_square_penalty(problem, lam * divergence.scale, done)
        else:
            answer = power_penalty(problem, divergence, lam, done)
        answer = answer._replace(penalty=lam)
    else:
        answer = generic_penalty(problem, divergence, lam, done)
    answer = choose(problem, answer, uniform=uniform, saturated=saturated)
    spent = divergence_of(problem, divergence, answer.q)
    usual = ~(saturated | uniform)
    cost = xp.where(usual, lam, 0.0) * xp.where(usual, spent, 0.0)
    gap = certificate(problem, divergence, answer, spent)
    multiplier = problem.amount
    return finish(problem, answer, gap=gap, cost=cost, saturated=saturated, multiplier=multiplier)


@in_blocks
def constrained(
    losses: Array,
    divergence: Divergence,
    radius: float | Array,
    /,
    *,
    prior: Array | None = None,
    all_reduce: AllReduce | None = None,
) -> Solution:
    """Solve max over q of ⟨q, l⟩ subject to D(q‖p) ≤ ρ, q a distribution absolutely continuous with respect to p.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask, as is zero prior; +inf takes all the mass that the radius allows.
    divergence : Divergence
        D.
    radius : float or array of shape (...,)
        ρ ≥ 0, in units of the divergence. 0 returns the prior, as subnormal numbers do; from `max_radius`
        on, the prior restricted to the largest losses (status ``SATURATED``, multiplier 0).
    prior : array, shape broadcastable to the losses', optional
        Non-negative masses of any scale; uniform by default. Zero masks the atom, whatever its loss.
    all_reduce : callable, optional
        As in `penalized`.

    Returns
    -------
    Solution
        ``multiplier`` is λ, the derivative of the value in the radius.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`; wrong values set ``status``.

    Notes
    -----
    Ben-Tal et al., Management Science 59 (2013), theorem 4.1; for χ², Namkoong and Duchi, NeurIPS 2016.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> solution = cp.constrained(np.array([0.0, 1.0, 2.0]), cp.KL(), 0.1)
    >>> solution.weights.round(6), float(solution.value)
    (array([0.169735, 0.300006, 0.530259]), 1.360523)
    """
    require_divergence(divergence)
    problem = pose(losses, prior, radius, "radius", all_reduce)
    xp, rho = problem.xp, problem.amount
    saturated = saturates(problem, divergence)
    uniform = (rho < float(xp.finfo(rho.dtype).smallest_normal)) | (problem.status > 0)
    done = saturated | uniform
    rho = xp.where(saturated | uniform, 1.0, rho)
    if isinstance(divergence, TotalVariation):
        kept, last = fill(problem, 1 - rho, done)
        answer = _move_mass(problem.p - kept, problem, last)
    elif not isinstance(divergence, Power):
        answer = generic_ball(problem, divergence, rho, done)
    elif divergence.exponent == 1:
        answer = kl_ball(problem, rho, done)
    elif divergence.exponent == 2:
        answer = chi_square_ball(problem, 2 * rho / divergence.scale, done)
        answer = answer._replace(penalty=answer.penalty / divergence.scale)
    else:
        answer = power_ball(problem, divergence, rho, done)
    answer = choose(problem, answer, uniform=uniform, saturated=saturated)
    gap = certificate(problem, divergence, answer, rho)
    return finish(problem, answer, gap=gap, cost=xp.zeros_like(gap), saturated=saturated)


@in_blocks
def cvar(
    losses: Array,
    level: float | Array,
    /,
    *,
    prior: Array | None = None,
    smoothing: float = 0.0,
    all_reduce: AllReduce | None = None,
) -> Solution:
    """Solve max over q of ⟨q, l⟩ − λ KL(q‖p) subject to q ≤ p/α: the mean of the worst α of the mass, at λ = 0.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask, as is zero prior; +inf takes all the mass that the cap allows.
    level : float or array of shape (...,)
        α in (0, 1]. 1 returns the prior.
    prior : array, shape broadcastable to the losses', optional
        Non-negative masses of any scale; uniform by default.
    smoothing : float
        λ ≥ 0, in units of the losses. Above 0 the weights vary smoothly with the losses.
    all_reduce : callable, optional
        As in `penalized`.

    Returns
    -------
    Solution
        ``shift`` is a value at risk (the (1 − α)-quantile of the losses) when ``smoothing`` is 0; ``multiplier`` is
        the smoothing. Losses tied at the quantile share in proportion to the prior.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`; a level outside (0, 1] sets ``status``.

    Notes
    -----
    Rockafellar and Uryasev, "Optimization of conditional value-at-risk", Journal of Risk 2 (2000).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> solution = cp.cvar(np.array([0.0, 1.0, 2.0, 3.0]), 0.375)
    >>> solution.weights.round(6), float(solution.value), float(solution.shift)
    (array([0.      , 0.      , 0.333333, 0.666667]), 2.666667, 2.0)
    """
    smoothing = number("smoothing", smoothing, lambda v: v >= 0, "a float >= 0 in units of the losses")
    problem = pose(losses, prior, level, "level", all_reduce)
    xp, alpha = problem.xp, problem.amount
    lam = _solvable(problem, xp.zeros_like(alpha) + float(smoothing))
    uniform = (alpha == 1) | (lam == xp.inf) | (problem.status > 0)
    filled, last = fill(problem, alpha, uniform)
    (total,) = problem.reduce.sum(filled)
    filled /= xp.where(total > 0, total, 1.0)
    q, shift = filled, last
    if smoothing > 0:
        smooth, smooth_shift = capped_tilt(problem, alpha, last, lam, uniform | (lam == 0))
        q, shift = xp.where(lam > 0, smooth, q), xp.where(lam > 0, smooth_shift, shift)
    spent = divergence_of(problem, KL(), xp.where(uniform, problem.p, q)) if smoothing > 0 else xp.zeros_like(lam)
    bounded = xp.where(lam < xp.inf, lam, 0.0)
    answer = choose(problem, Answer(q, xp.ones_like(lam), shift), uniform=uniform, saturated=xp.zeros_like(uniform))
    conjugate = _capped_conjugate(problem, alpha, shift, bounded if smoothing > 0 else None)
    conjugate -= shift - problem.x
    (bound,) = problem.expect(problem.masked(conjugate, 0.0))
    (gain,) = problem.reduce.sum((answer.q - problem.p, problem.x))
    gap = xp.where(uniform, 0.0, bound + bounded * spent + gain)
    multiplier = xp.zeros_like(alpha) + float(smoothing)
    none = xp.zeros_like(uniform)
    return finish(problem, answer, gap=gap, cost=bounded * spent, saturated=none, multiplier=multiplier)


def _capped_conjugate(problem: Problem, level: Array, shift: Array, smoothing: Array | None) -> Array:
    """λ f*(s/λ) of s = η − x under the cap: λ(e^{s/λ} − 1) up to its slope 1/α and linear beyond, or s₊/α."""
    xp, cap = problem.xp, 1 / level
    hard = xp.maximum(shift - problem.x, 0.0) * cap
    if smoothing is None:
        return hard
    top = xp.log(cap)
    s = (shift - problem.x) / xp.where(smoothing > 0, smoothing, 1.0)
    inner = xp.expm1(xp.minimum(s, top)) + xp.maximum(s - top, 0.0) * cap
    return xp.where(smoothing > 0, smoothing * inner, hard)


def max_radius(divergence: Divergence, losses: Array, /, *, prior: Array | None = None) -> Array:
    """Return the radius from which `constrained` saturates: P f(1/P) + (1 − P) f(0), P the prior mass of the argmax.

    Parameters
    ----------
    divergence : Divergence
        D.
    losses : array of real floating dtype, shape (..., n)
        Only their ties at the top matter.
    prior : array, shape broadcastable to the losses', optional
        Non-negative masses of any scale; uniform by default.

    Returns
    -------
    array, shape (...,)
        Infinite for divergences whose weights cannot vanish; 0 for constant losses; NaN for rows with bad values.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.max_radius(cp.KL(), np.array([0.0, 1.0, 2.0, 2.0]))
    array(0.69314718)
    """
    require_divergence(divergence)
    problem = pose(losses, prior, 0.0, "radius", None)
    xp = problem.xp
    largest = xp.where(problem.status > 0, xp.nan, largest_radius(xp, divergence, problem.at_top()[1]))
    return xp.astype(xp.squeeze(largest, axis=-1), problem.dtype)


def _solvable(problem: Problem, penalty: Array) -> Array:
    """Return a penalty in units of the range; one so small that quotients by it leave the dtype costs nothing more."""
    xp, lam = problem.xp, scaled(problem, penalty)
    return xp.where(lam > 0, xp.maximum(lam, LEAST * float(xp.finfo(lam.dtype).smallest_normal)), lam)


def _move_mass(moved: Array, problem: Problem, penalty: Array) -> Answer:
    """Total variation's weights: take ``moved`` off the prior and give it to the largest losses."""
    xp, p = problem.xp, problem.p
    (total,) = problem.reduce.sum(moved)
    argmax, mass = problem.at_top()
    share = xp.where(argmax, p, 0.0) / xp.where(mass > 0, mass, 1.0)
    return Answer(p - moved + total * share, penalty, penalty / 2)
