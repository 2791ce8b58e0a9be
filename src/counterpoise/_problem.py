"""A weight problem in canonical form, and its answer with the certificate.

Every row becomes distances x = (M − l)/R in [0, 1] below its largest loss M, on a prior p that sums to 1; the solvers
see nothing else, so offsets and scales of the losses cannot hurt them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ._divergence import Divergence
from ._types import AllReduce, Array, Solution, Status
from ._xp import Reduce, aligned, amount, anywhere, is_traced, namespace, narrowed

FINE = 4.0
"""Penalty in units of the range up to which rounding 1 is as good as rounding the range."""

Term = Array | tuple[Array, Array]


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
    even: bool
    """Whether the prior is known to be uniform."""
    mean: Array
    """Prior mean of x."""
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

    def expect(self, *terms: Term) -> tuple[Array, ...]:
        """Return the prior mean of each array, or of the product of each pair."""
        return _expect(self.reduce, self.p, self.even, terms)

    def at_top(self) -> tuple[Array, Array]:
        """Return the mask of the largest losses and its prior mass P."""
        argmax = self.x == 0 if self.whole else self.live & (self.x == 0)
        (mass,) = self.expect(self.xp.astype(argmax, self.p.dtype))
        # constant losses: their masses may sum to a little less than 1
        return argmax, self.xp.where(self.mean > 0, mass, 1.0)


class Answer(NamedTuple):
    """What a solver found, in units of the range: weights, λ/R, (M − η)/R."""

    q: Array
    penalty: Array
    shift: Array
    excess: Array | None = None
    """E f*(s) − E s at s = (η − x)/λ, where the solver has it for less than it takes anew."""


def pose(
    losses: Array, prior: Array | None, how_much: float | Array, name: str, all_reduce: AllReduce | None
) -> Problem:
    """Check the input and bring it into canonical form."""
    xp = namespace(losses=losses, prior=prior, **{name: how_much})
    loss, *rest = aligned(xp, {"losses": losses} if prior is None else {"losses": losses, "prior": prior})
    given = amount(xp, name, how_much, loss)
    reduce = Reduce(xp, all_reduce)

    mass = rest[0] if rest else None
    ends = _ends(xp, reduce, loss, mass)
    whole, even = ends is not None, ends is not None and mass is None
    live, mass, nan_loss, bad_prior = (_all(xp, loss), mass, None, None) if whole else _atoms(xp, reduce, loss, mass)
    p, empty = _normalised(xp, reduce, loss, mass)
    top, half, infinite, x = _distances(xp, reduce, loss, live, ends)
    (mean,) = _expect(reduce, p, even, (x,))

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
    return Problem(xp, reduce, losses.dtype, p, x, live, whole, even, mean, top, half, safe, infinite, status)


def _ends(xp: Any, reduce: Reduce, loss: Array, mass: Array | None) -> tuple[Array, Array] | None:
    """Return the largest and least losses of eager rows that have no mask, no bad value and a range within the dtype.

    These are the usual rows, and this look at them spares them a dozen passes.
    """
    if reduce.all_reduce is not None or is_traced(loss):
        return None
    top, low = reduce.max(loss), reduce.min(loss)
    finite = xp.isfinite(top) & xp.isfinite(low)
    half = xp.where(finite, 0.5 * top, 0.0) - xp.where(finite, 0.5 * low, 0.0)  # inf - inf would warn
    usual = finite & (half < 0.5 * float(xp.finfo(loss.dtype).max))
    if mass is not None:
        usual = usual & (reduce.min(mass) > 0) & (reduce.max(mass) < xp.inf)
    return (top, low) if bool(xp.all(usual)) else None


def _all(xp: Any, loss: Array) -> Array:
    return xp.broadcast_to(xp.ones_like(loss[..., :1], dtype=xp.bool), loss.shape)


def _distances(
    xp: Any, reduce: Reduce, loss: Array, live: Array, ends: tuple[Array, Array] | None
) -> tuple[Array, Array, Array, Array]:
    """Return M, R/2, rows where M is +inf, and x = (M − l)/R."""
    if ends is not None:
        top, low = ends
        size = top - low
        x = top - loss
        x /= xp.where(size > 0, size, 1.0)
        return top, 0.5 * size, xp.zeros_like(top, dtype=xp.bool), x
    top = reduce.max(xp.where(live, loss, -xp.inf))
    infinite = top == xp.inf
    flat = infinite | (top == -xp.inf)
    x = xp.where(live & ~flat, 0.5 * xp.where(flat, 0.0, top) - 0.5 * loss, 0.0)
    half = reduce.max(x)
    x /= xp.where(half > 0, half, 1.0)
    return top, half, infinite, xp.where(infinite & live & (loss < xp.inf), 1.0, x)


def _expect(reduce: Reduce, p: Array, even: bool, terms: tuple[Term, ...]) -> tuple[Array, ...]:
    if even:  # the share comes out of the sum
        return tuple(p[..., :1] * total for total in reduce.sum(*terms))
    return reduce.sum(*((p * t[0], t[1]) if isinstance(t, tuple) else (p, t) for t in terms))


def _atoms(xp: Any, reduce: Reduce, loss: Array, mass: Array | None) -> tuple[Array, Array, Array, Array | None]:
    """Return live atoms, masses that are 0 elsewhere, rows with NaN losses and with bad priors."""
    live, known = loss != -xp.inf, loss == loss
    if mass is None:
        live = live & known
        return live, xp.astype(live, loss.dtype), reduce.any(~known), None
    possible = (mass > 0) & (mass < xp.inf)
    bad_prior = reduce.any(~possible & (mass != 0))
    live = live & possible
    nan_loss = reduce.any(live & ~known)
    live = live & known
    return live, xp.where(live, mass, 0.0), nan_loss, bad_prior


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
    """Penalty in units of the range, as the solvers want it: infinite where that is beyond the dtype."""
    xp = problem.xp
    finite = xp.where(penalty < xp.inf, penalty, 0.0)
    beyond = (penalty == xp.inf) | (problem.half < 2 * finite / float(xp.finfo(penalty.dtype).max))
    return xp.where(beyond, xp.inf, 0.5 * finite / xp.where(beyond, 1.0, problem.half))


def choose(problem: Problem, answer: Answer, *, uniform: Array, saturated: Array) -> Answer:
    """Replace rows whose answer is known: the prior itself, or the prior on the argmax."""
    if not anywhere(uniform | saturated):
        return answer
    xp, p = problem.xp, problem.p
    argmax, mass = problem.at_top()
    extreme = xp.where(argmax, p, 0.0) / xp.where(mass > 0, mass, 1.0)
    zero = xp.zeros_like(problem.mean)
    q = xp.where(saturated, extreme, xp.where(uniform, p, answer.q))
    penalty = xp.where(saturated, zero, xp.where(uniform, zero + xp.inf, answer.penalty))
    shift = xp.where(saturated, zero, xp.where(uniform, problem.mean, answer.shift))
    return Answer(q, penalty, shift, answer.excess)


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
    below, total = problem.reduce.sum((answer.q, problem.x), answer.q)
    value = problem.top - 2 * (problem.half * (below + cost))
    shift = problem.top - 2 * (problem.half * answer.shift)
    if multiplier is None:
        multiplier = 2 * (problem.half * answer.penalty)
        multiplier = xp.where(problem.infinite & ~saturated, xp.inf, multiplier)
    gap = xp.where(problem.infinite | (answer.penalty == 0) | (answer.penalty == xp.inf), 0.0, gap)

    eps = float(xp.finfo(answer.q.dtype).eps)
    code = xp.zeros_like(problem.status)
    code = xp.where(saturated, code + int(Status.SATURATED), code)
    # the gap bounds what weights that sum to 1 leave to gain: mass lost at the largest loss would not show in it
    good = (xp.abs(gap) <= eps**0.75) & (xp.abs(total - 1) <= eps**0.75)
    code = xp.where(good, code, code * 0 + int(Status.NOT_CONVERGED))
    status = xp.where(problem.status == 0, code, problem.status)
    gap = 2 * (problem.half * gap)

    failed = status >= int(Status.NAN_LOSS)
    empty = status == int(Status.EMPTY_PRIOR)
    weights = answer.q
    if anywhere(failed):
        weights = xp.where(failed, xp.where(empty, 0.0, xp.zeros_like(weights) + xp.nan), weights)

    def number(v: Array) -> Array:
        return narrowed(xp, xp.squeeze(xp.where(failed, xp.nan, v), axis=-1), problem.dtype)

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
    conjugate = excess(problem, divergence, penalty, answer.shift) if answer.excess is None else answer.excess
    (moved,) = problem.reduce.sum((answer.q - problem.p, problem.x))
    return xp.where(usual, penalty * (conjugate + budget) + moved, 0.0)


def excess(problem: Problem, divergence: Divergence, penalty: Array, shift: Array) -> Array:
    """E f*(s) − E s at s = (η − x)/λ."""
    # any shift gives a bound: one that rounding has pushed to the pole of the conjugate is moved off it
    eps = float(problem.xp.finfo(penalty.dtype).eps)
    shift = problem.xp.minimum(shift, penalty * (divergence.link_limit * (1 - 2 * eps)))
    s = shift - problem.x
    s /= penalty
    (mean,) = problem.expect(problem.masked(divergence.excess(s, fine=penalty > FINE), 0.0))
    return mean


def divergence_of(problem: Problem, divergence: Divergence, q: Array) -> Array:
    """D(q‖p), shape (..., 1)."""
    p = problem.p
    ratio = problem.masked(q / problem.masked(p, 1.0), 1.0)
    return problem.expect(problem.masked(divergence.f(ratio), 0.0))[0]
