"""Projections onto the simplex: χ² penalties and radii by shrinking the active set."""

from __future__ import annotations

from collections.abc import Callable

from .._problem import Answer, Problem
from .._roots import State, iterate
from .._types import Array
from .ball import STEPS


def chi_square_penalty(problem: Problem, penalty: Array, done: Array) -> Answer:
    """For half of χ², shrink the active set {x < δ} of Σ p(δ − x)₊ = λ until nothing leaves it."""
    xp = problem.xp
    penalty = xp.where(done, 1.0, penalty)

    def edge(active: Array, x: Array) -> Array:
        mass, first = problem.reduce.sum(active, active * x)
        return xp.where(mass > 0, (penalty + first) / xp.where(mass > 0, mass, 1.0), xp.inf)

    return _shrink(problem, edge, penalty + problem.mean, done)


def chi_square_ball(problem: Problem, radius: Array, done: Array) -> Answer:
    """For a Pearson radius, shrink {x < δ}: δ = μ + √(V/((1 + ρ)P − 1)), moments of the active set."""
    xp, p = problem.xp, problem.p

    def edge(active: Array, x: Array) -> Array:
        mass, first, outside = problem.reduce.sum(active, active * x, p - active)
        safe = xp.where(mass > 0, mass, 1.0)
        mean = first / safe
        off = x - mean
        off *= off
        off *= active
        (second,) = problem.reduce.sum(off)
        rest = xp.where(outside < 0.5, radius - (1 + radius) * outside, (1 + radius) * mass - 1)
        usable = (rest > 0) & (second > 0)  # an active set of equal losses is the argmax: the radius saturates
        return xp.where(usable, mean + xp.sqrt(second / xp.where(usable, rest * safe, 1.0)), xp.inf)

    return _shrink(problem, edge, xp.zeros_like(problem.top) + xp.inf, done)


def _shrink(problem: Problem, edge: Callable[[Array, Array], Array], start: Array, done: Array) -> Answer:
    """Iterate δ = edge({x < δ}); take the last step with x counted from the atom below δ, which resolves its weight."""
    xp, p, x = problem.xp, problem.p, problem.x

    def below(delta: Array) -> Array:
        active = xp.astype(x < delta, p.dtype)  # a product, as a choice costs eight times as much
        active *= p
        return active

    def step(delta: Array, stop: Array) -> State:
        new = xp.minimum(edge(below(delta), x), delta)
        return xp.where(stop, delta, new), stop | (new >= delta)

    delta, _ = iterate(xp, step, (xp.where(done, 2.0, start), done), steps=STEPS)
    atom = problem.reduce.max(xp.astype(problem.live & (x < delta), p.dtype) * x)
    active = below(delta)
    y = x - atom
    last = edge(active, y)
    reach = xp.where(last < xp.inf, last, xp.where(delta < xp.inf, delta - atom, 1.0))
    w = xp.maximum(reach - y, 0.0)
    w *= active
    penalty, mass, first, outside = problem.reduce.sum(w, active, active * y, p - active)
    safe = xp.where(penalty > 0, penalty, 1.0)
    # δ − λ, for half of χ²
    shift = atom + (first + safe * outside) / xp.where(mass > 0, mass, 1.0)
    return Answer(w / safe, safe, shift)
