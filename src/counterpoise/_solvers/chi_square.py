"""Projections onto the simplex: χ² penalties and radii by shrinking the active set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .._problem import Answer, Problem
from .._roots import State, iterate
from .._types import Array
from .._xp import anywhere
from .ball import STEPS

CLOSE = 8
"""Most steps among atoms that lie within a few roundings of each other."""


class Active(NamedTuple):
    """Masses on {x < δ}, 0 elsewhere, in some unit; their sum, what they leave, and their mean, shape (..., 1)."""

    unit: Array | float
    masses: Array
    mass: Array
    outside: Array
    mean: Array


def chi_square_penalty(problem: Problem, penalty: Array, done: Array) -> Answer:
    """For half of χ², shrink the active set {x < δ} of Σ p(δ − x)₊ = λ until nothing leaves it."""
    xp = problem.xp
    penalty = xp.where(done, 1.0, penalty)

    def edge(active: Active, x: Array) -> Array:
        return xp.where(active.mass > 0, penalty / xp.where(active.mass > 0, active.mass, 1.0) + active.mean, xp.inf)

    return _shrink(problem, edge, penalty + problem.mean, done)


def chi_square_ball(problem: Problem, radius: Array, done: Array) -> Answer:
    """For a Pearson radius, shrink {x < δ}: δ = μ + √(V/((1 + ρ)P − 1)), moments of the active set."""
    xp = problem.xp

    def edge(active: Active, x: Array) -> Array:
        off = x - active.mean
        off *= off
        (second,) = problem.reduce.sum((off, active.masses))
        second *= active.unit
        rest = xp.where(active.outside < 0.5, radius - (1 + radius) * active.outside, (1 + radius) * active.mass - 1)
        usable = (rest > 0) & (second > 0)  # an active set of equal losses is the argmax: the radius saturates
        return xp.where(usable, active.mean + xp.sqrt(second / xp.where(usable, rest * active.mass, 1.0)), xp.inf)

    return _shrink(problem, edge, xp.zeros_like(problem.top) + xp.inf, done)


def _shrink(problem: Problem, edge: Callable[[Active, Array], Array], start: Array, done: Array) -> Answer:
    """Iterate δ = edge({x < δ}); take the last step with x counted from the last atom, which resolves its weight.

    An atom that carries most of the prior may matter although δ is above it by less than a rounding: the last atom is
    looked for a little beyond δ, and dropped again should its own distances say so.
    """
    xp, p, x = problem.xp, problem.p, problem.x

    def below(x: Array, delta: Array) -> Array:
        inside = xp.astype(x < delta, p.dtype)  # products with it, as a choice costs eight times as much
        return inside if problem.even else inside * p

    def settle(x: Array, delta: Array, done: Array, steps: int) -> Array:
        def step(delta: Array, stop: Array) -> State:
            new = xp.minimum(edge(_moments(problem, below(x, delta), x), x), delta)
            return xp.where(stop, delta, new), stop | (new >= delta)

        return iterate(xp, step, (delta, done), steps=steps)[0]

    delta = settle(x, xp.where(done, 2.0, start), done, STEPS)
    beyond = delta * (1 + 8 * float(xp.finfo(x.dtype).eps))
    atom = problem.reduce.max(xp.astype(problem.live & (x < beyond), p.dtype) * x)
    y = x - atom
    inside, doubtful = beyond - atom, atom >= delta
    if anywhere(doubtful):
        inside = settle(y, inside, ~doubtful | done, CLOSE)
    active = _moments(problem, below(y, inside), y)
    last = edge(active, y)
    reach = xp.where(last < xp.inf, last, xp.where(delta < xp.inf, delta - atom, 1.0))
    w = xp.maximum(reach - y, 0.0)
    w *= active.masses
    w *= active.unit
    (penalty,) = problem.reduce.sum(w)
    safe = xp.where(penalty > 0, penalty, 1.0)
    # δ − λ, for half of χ²
    mass = xp.where(active.mass > 0, active.mass, 1.0)
    shift = atom + active.mean + safe * active.outside / mass
    w /= safe
    return Answer(w, safe, shift)


def _moments(problem: Problem, masses: Array, x: Array) -> Active:
    """Sum up the masses; counts of atoms, whose unit is the share of one, are exact."""
    if problem.even:
        unit = problem.p[..., :1]
        mass, first = problem.reduce.sum(masses, (masses, x))
        outside = unit * (x.shape[-1] - mass)
        return Active(unit, masses, unit * mass, outside, first / problem.xp.where(mass > 0, mass, 1.0))
    mass, first, outside = problem.reduce.sum(masses, (masses, x), problem.p - masses)
    return Active(1.0, masses, mass, outside, first / problem.xp.where(mass > 0, mass, 1.0))
