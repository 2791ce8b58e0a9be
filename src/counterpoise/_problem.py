"""A weight problem in canonical form, and its answer with the certificate.

Every row becomes distances x = (M − l)/R in [0, 1] below its largest loss M, on a prior p that sums to 1; the solvers
see nothing else, so offsets and scales of the losses cannot hurt them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ._types import AllReduce, Array, Solution, Status
from ._xp import Reduce, aligned, amount, anywhere, is_traced, namespace
from .divergences import Divergence


class Problem(NamedTuple):
    """Rows of (prior, distances); arrays of shape (..., n) or, for one number a row, (..., 1)."""

    xp: Any
    reduce: Reduce
    dtype: Any
    p: Array
    x: Array
    live: Array
    whole: bool
    """Whether every atom of every row is known to be live."""
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

    def masked(self, array: Array, fill: float) -> Array:
        """Fill the entries of dead atoms."""
        return array if self.whole else self.xp.where(self.live, array, fill)


class Answer(NamedTuple):
    """What a solver found, in units of the range: weights, λ/R, (M − η)/R."""

    q: Array
    penalty: Array
    shift: Array


def pose(
    losses: Array, prior: Array | None, how_much: float | Array, name: str, all_reduce: AllReduce | None
) -> Problem:
    """Check the input and bring it into canonical form."""
    xp = namespace(losses=losses, prior=prior, **{name: how_much})
    loss, *rest = aligned(xp, {"losses": losses} if prior is None else {"losses": losses, "prior": prior})
    given = amount(xp, name, how_much, loss)
    reduce = Reduce(xp, all_reduce)

    live, whole, mass, nan_loss, bad_prior = _atoms(xp, reduce, loss, rest[0] if rest else None)
    p, empty = _normalised(xp, reduce, loss, mass)

    top = reduce.max(loss if whole else xp.where(live, loss, -xp.inf))
    infinite = top == xp.inf
    flat = infinite | (top == -xp.inf)
    x = 0.5 * xp.where(flat, 0.0, top) - 0.5 * loss
    x = x if whole else xp.where(live & ~flat, x, 0.0)
    half = reduce.max(x)
    x /= xp.where(half > 0, half, 1.0)
    x = x if whole else xp.where(infinite & live & (loss < xp.inf), 1.0, x)
    argmax = x == 0 if whole else live & (x == 0)
    at_top, mean = reduce.sum(xp.astype(argmax, p.dtype) * p, p * x)
    at_top = xp.where(mean > 0, at_top, 1.0)  # constant losses: their masses may sum to a little less

    bad_amount = ~(given > 0) | ~(given <= 1) if name == "level" else ~(given >= 0)
    status = xp.zeros_like(top, dtype=xp.int32)
    for code, where in (
        (Status.INVALID_AMOUNT, bad_amount),
        (Status.EMPTY_PRIOR, empty),
        (Status.NAN_LOSS, nan_loss),
        (Status.INVALID_PRIOR, bad_prior),
    ):
        if where is not None:
            status = xp.where(where, xp.zeros_like(status) + int(code), status)
    safe = xp.where(bad_amount, 1.0, given)
    half = xp.where(half > 0, half, 0.5)
    return Problem(
        xp, reduce, losses.dtype, p, x, live, whole, mean, argmax, at_top, top, half, safe, infinite, status
    )  # fmt: skip


def _atoms(
    xp: Any, reduce: Reduce, loss: Array, mass: Array | None
) -> tuple[Array, bool, Array | None, Array | None, Array | None]:
    """Return live atoms, whether all are, masses that are 0 elsewhere, rows with NaN losses and with bad priors.

    Rows without a mask are the usual case, and one look at the ends of eager ones spares them a dozen passes.
    """
    if reduce.all_reduce is None and not is_traced(loss):
        ends = xp.isfinite(reduce.min(loss)) & xp.isfinite(reduce.max(loss))
        if mass is not None:
            ends = ends & (reduce.min(mass) > 0) & (reduce.max(mass) < xp.inf)
        if bool(xp.all(ends)):
            return xp.ones_like(loss, dtype=xp.bool), True, mass, None, None
    live, known = loss != -xp.inf, loss == loss
    if mass is None:
        live = live & known
        return live, False, xp.astype(live, loss.dtype), reduce.any(~known), None
    possible = (mass > 0) & (mass < xp.inf)
    bad_prior = reduce.any(~possible & (mass != 0))
    live = live & possible
    nan_loss = reduce.any(live & ~known)
    live = live & known
    return live, False, xp.where(live, mass, 0.0), nan_loss, bad_prior


def _normalised(xp: Any, reduce: Reduce, loss: Array, mass: Array | None) -> tuple[Array, Array]:
    """Return masses that sum to 1 (uniform for None), and the rows that have none."""
    if mass is None:
        share = xp.zeros_like(loss[..., :1]) + 1 / loss.shape[-1]
        return xp.broadcast_to(share, loss.shape), share == 0
    largest = reduce.max(mass)
    mass = mass / xp.where(largest > 0, largest, 1.0)
    (total,) = reduce.sum(mass)
    return mass / xp.where(total > 0, total, 1.0), total == 0


def scaled(problem: Problem, penalty: Array) -> Array:
    """Penalty in units of the range, as the solvers want it."""
    return 0.5 * penalty / problem.half


def choose(problem: Problem, answer: Answer, *, uniform: Array, saturated: Array) -> Answer:
    """Replace rows whose answer is known: the prior itself, or the prior on the argmax."""
    if not anywhere(uniform | saturated):
        return answer
    xp, p = problem.xp, problem.p
    extreme = xp.where(problem.argmax, p, 0.0) / xp.where(problem.mass > 0, problem.mass, 1.0)
    zero = xp.zeros_like(problem.mean)
    q = xp.where(saturated, extreme, xp.where(uniform, p, answer.q))
    penalty = xp.where(saturated, zero, xp.where(uniform, zero + xp.inf, answer.penalty))
    shift = xp.where(saturated, zero, xp.where(uniform, problem.mean, answer.shift))
    return Answer(q, penalty, shift)


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
    shift = problem.top - 2 * (problem.half * answer.shift)
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
    weights = answer.q
    if anywhere(failed):
        weights = xp.where(failed, xp.where(empty, 0.0, xp.zeros_like(weights) + xp.nan), weights)

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
    s = shift - problem.x
    s /= penalty
    convex = problem.masked(divergence.conjugate(s) - s, 0.0)
    convex *= problem.p
    change = answer.q - problem.p
    change *= problem.x
    conjugate, moved = problem.reduce.sum(convex, change)
    return xp.where(usual, penalty * (conjugate + budget) + moved, 0.0)


def divergence_of(problem: Problem, divergence: Divergence, q: Array) -> Array:
    """D(q‖p), shape (..., 1)."""
    p = problem.p
    ratio = problem.masked(q / problem.masked(p, 1.0), 1.0)
    return problem.reduce.sum(problem.masked(p * divergence.f(ratio), 0.0))[0]
