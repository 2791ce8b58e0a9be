"""A weight problem in canonical form, and its answer with the certificate.

Every row becomes distances x = (M − l)/R in [0, 1] below its largest loss M, on a prior p that sums to 1; the solvers
see nothing else, so offsets and scales of the losses cannot hurt them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ._types import AllReduce, Array, Solution, Status
from ._xp import Reduce, aligned, amount, namespace
from .divergences import Divergence


class Problem(NamedTuple):
    """Rows of (prior, distances); arrays of shape (..., n) or, for one number a row, (..., 1)."""

    xp: Any
    reduce: Reduce
    dtype: Any
    p: Array
    x: Array
    live: Array
    mean: Array
    """Prior mean of x."""
    argmax: Array
    """Mask of the largest losses."""
    mass: Array
    """Prior mass P of the argmax."""
    top: Array
    half: Array
    """Half the range R/2: halves cannot overflow."""
    amount: Array
    """Penalty, radius or level as given."""
    infinite: Array
    """Rows whose largest loss is +inf."""
    status: Array


class Answer(NamedTuple):
    """What a solver found, in units of the range: weights, λ/R, (M − η)/R, D(q‖p)."""

    q: Array
    penalty: Array
    shift: Array
    divergence: Array


def pose(
    losses: Array, prior: Array | None, how_much: float | Array, name: str, all_reduce: AllReduce | None
) -> Problem:
    """Check the input and bring it into canonical form."""
    xp = namespace(losses=losses, prior=prior, **{name: how_much})
    loss, *rest = aligned(xp, {"losses": losses} if prior is None else {"losses": losses, "prior": prior})
    given = amount(xp, name, how_much, loss)
    reduce = Reduce(xp, all_reduce)

    live, known = loss != -xp.inf, loss == loss
    if prior is None:
        nan_loss, bad_prior = reduce.any(~known), None
        mass = xp.astype(live & known, loss.dtype)
    else:
        (mass,) = rest
        possible = (mass > 0) & (mass < xp.inf)
        bad_prior = reduce.any(~possible & (mass != 0))
        live = live & possible
        nan_loss = reduce.any(live & ~known)
        mass = xp.where(live & known, mass, 0.0)
        largest = reduce.max(mass)
        mass = mass / xp.where(largest > 0, largest, 1.0)
    live = live & known
    (total,) = reduce.sum(mass)
    p = mass / xp.where(total > 0, total, 1.0)

    top = reduce.max(xp.where(live, loss, -xp.inf))
    infinite = top == xp.inf
    flat = infinite | (top == -xp.inf)
    x = xp.where(live & ~flat, 0.5 * xp.where(flat, 0.0, top) - 0.5 * loss, 0.0)
    half = reduce.max(x)
    x = x / xp.where(half > 0, half, 1.0)
    x = xp.where(infinite & live & (loss < xp.inf), 1.0, x)
    argmax = live & (x == 0)
    mass, mean = reduce.sum(p * xp.astype(argmax, p.dtype), p * x)
    mass = xp.where(mean > 0, mass, 1.0)  # constant losses: their masses may sum to a little less

    bad_amount = ~(given > 0) | ~(given <= 1) if name == "level" else ~(given >= 0)
    status = xp.zeros_like(top, dtype=xp.int32)
    for code, where in (
        (Status.INVALID_AMOUNT, bad_amount),
        (Status.EMPTY_PRIOR, total == 0),
        (Status.NAN_LOSS, nan_loss),
        (Status.INVALID_PRIOR, bad_prior),
    ):
        if where is not None:
            status = xp.where(where, xp.zeros_like(status) + int(code), status)
    safe = xp.where(bad_amount, 1.0, given)
    half = xp.where(half > 0, half, 0.5)
    return Problem(xp, reduce, losses.dtype, p, x, live, mean, argmax, mass, top, half, safe, infinite, status)


def scaled(problem: Problem, penalty: Array) -> Array:
    """Penalty in units of the range, as the solvers want it."""
    return 0.5 * penalty / problem.half


def choose(problem: Problem, answer: Answer, *, uniform: Array, saturated: Array) -> Answer:
    """Replace rows whose answer is known: the prior itself, or the prior on the argmax."""
    xp, p = problem.xp, problem.p
    extreme = xp.where(problem.argmax, p, 0.0) / xp.where(problem.mass > 0, problem.mass, 1.0)
    zero = xp.zeros_like(problem.mean)
    q = xp.where(saturated, extreme, xp.where(uniform, p, answer.q))
    penalty = xp.where(saturated, zero, xp.where(uniform, zero + xp.inf, answer.penalty))
    shift = xp.where(saturated, zero, xp.where(uniform, problem.mean, answer.shift))
    divergence = xp.where(uniform & ~saturated, zero, answer.divergence)
    return Answer(q, penalty, shift, divergence)


def finish(
    problem: Problem,
    answer: Answer,
    *,
    gap: Array,
    cost: Array,
    saturated: Array,
    multiplier: Array | None = None,
) -> Solution:
    """Return to the units of the losses; ``gap`` and ``cost`` (λD of the penalised value) are in units of the range."""
    xp = problem.xp
    (below,) = problem.reduce.sum(answer.q * problem.x)
    value = problem.top - 2 * (problem.half * (below + cost))
    value = xp.where(problem.infinite, xp.inf, value)
    shift = xp.where(problem.infinite, xp.inf, problem.top - 2 * (problem.half * answer.shift))
    if multiplier is None:
        multiplier = 2 * (problem.half * answer.penalty)
        multiplier = xp.where(problem.infinite & ~saturated, xp.inf, multiplier)
    gap = xp.where(problem.infinite | (answer.penalty == 0) | (answer.penalty == xp.inf), 0.0, gap)

    eps = float(xp.finfo(answer.q.dtype).eps)
    code = xp.zeros_like(problem.status)
    code = xp.where(saturated, code + int(Status.SATURATED), code)
    code = xp.where(xp.abs(gap) <= eps**0.75, code, code * 0 + int(Status.NOT_CONVERGED))
    status = xp.where(problem.status == 0, code, problem.status)
    gap = 2 * (problem.half * gap)

    failed = status >= int(Status.NAN_LOSS)
    empty = status == int(Status.EMPTY_PRIOR)
    weights = xp.where(failed, xp.where(empty, 0.0, xp.zeros_like(answer.q) + xp.nan), answer.q)

    def number(v: Array) -> Array:
        return xp.astype(xp.squeeze(xp.where(failed, xp.nan, v), axis=-1), problem.dtype)

    return Solution(
        weights=xp.astype(weights, problem.dtype),
        value=number(value),
        multiplier=number(multiplier + xp.zeros_like(value)),
        shift=number(shift),
        gap=number(gap),
        status=xp.squeeze(status, axis=-1),
    )


def certificate(problem: Problem, divergence: Divergence, answer: Answer, budget: Array) -> Array:
    """Dual bound minus primal value in units of the range: λ(Σ p (f*(s) − s) + budget) + Σ (q − p) x.

    ``budget`` is D(q‖p) for a penalty and ρ for a radius. Linear terms are taken out of both sides by hand (they sum
    to the prior mean), so that a large λ does not swamp the difference.
    """
    xp = problem.xp
    usual = (answer.penalty > 0) & (answer.penalty < xp.inf)
    penalty = xp.where(usual, answer.penalty, 1.0)
    # any shift gives a bound: one that rounding has pushed to the pole of the conjugate is moved off it
    eps = float(xp.finfo(penalty.dtype).eps)
    shift = xp.minimum(answer.shift, penalty * (divergence.link_limit * (1 - 2 * eps)))
    s = (shift - problem.x) / penalty
    convex = xp.where(problem.live, divergence.conjugate(s) - s, 0.0)
    conjugate, moved = problem.reduce.sum(
        xp.where(problem.live, problem.p * xp.where(problem.live, convex, 0.0), 0.0),
        (answer.q - problem.p) * problem.x,
    )
    return xp.where(usual, penalty * (conjugate + budget) + moved, 0.0)


def divergence_of(problem: Problem, divergence: Divergence, q: Array) -> Array:
    """D(q‖p), shape (..., 1)."""
    xp, p = problem.xp, problem.p
    ratio = xp.where(problem.live, q / xp.where(problem.live, p, 1.0), 1.0)
    return problem.reduce.sum(xp.where(problem.live, p * divergence.f(ratio), 0.0))[0]
