"""Projections in the metric of a prior: weights (v + τp)₊, τ found in products of v and p.

Losses v/p would cost as many digits as the prior spans decades, since rows of losses are resolved to a rounding of
their range. Here an atom is asked whether v + τp > 0: whatever rounding does to that, rounding v and p does too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .._lending import lent, returned
from .._roots import State, iterate
from .._types import Array
from .._xp import Reduce, aligned, amount, namespace
from .ball import STEPS

Edge = Callable[["Atoms", Array, Array], Array]


class Atoms(NamedTuple):
    """Values and masses, the largest of which is 1; 0 where an atom is dead."""

    v: Array
    p: Array


def project_in_metric(values: Array, prior: Array, radius: float | Array | None = None) -> tuple[Array, Array]:
    """Solve min over w of Σ (w − v)²/p subject to w ≥ 0, Σ w = 1 and, for a radius, χ²(w‖p) ≤ ρ.

    Returns the weights and ½ Σ (v + τp)₊, by which the weights' derivative is divided: ½ where the ball does not bind,
    infinite where the weights are the prior, 0 where they do not move.
    """
    borrowed = lent([values, prior, radius])
    if borrowed is not None:
        weights, multiplier = project_in_metric(*borrowed)
        return returned(weights), returned(multiplier)
    xp = namespace(values=values, prior=prior, radius=radius)
    v, p = aligned(xp, {"values": values, "prior": prior})
    possible = (p > 0) & (p < xp.inf)
    bad = xp.any((~possible & (p != 0)) | (possible & (v != v)), axis=-1, keepdims=True)
    live = possible & (v > -xp.inf)
    empty = ~xp.any(live, axis=-1, keepdims=True)
    at_top = live & (v == xp.inf)
    infinite = xp.any(at_top, axis=-1, keepdims=True)
    p = xp.where(live, p, 0.0)
    most = xp.max(p, axis=-1, keepdims=True)
    p = p / xp.where(most > 0, most, 1.0)
    done = bad | empty

    v = xp.where(live & ~infinite & ~bad, v, 0.0)
    one = _power(xp, xp.max(xp.abs(v), axis=-1, keepdims=True))
    inner = Atoms(_from_top(xp, v, p, one), xp.where(infinite & ~at_top, 0.0, p))
    w = _shrunk(xp, inner, _onto_simplex(xp, xp.ones_like(one)), done)
    total = one
    if radius is not None:
        given = amount(xp, "radius", radius, v)
        bad = bad | ~(given >= 0)
        mass = xp.maximum(xp.sum(p, axis=-1, keepdims=True), _tiny(xp, p))
        off = xp.where(p > 0, _normalised(xp, w) - p / mass, 0.0)
        outside = mass * xp.sum(off * (off / xp.maximum(p, _tiny(xp, p))), axis=-1, keepdims=True) > given
        bound = Atoms(xp.where(infinite, xp.where(at_top, p, 0.0), v * one), p)
        u = _shrunk(xp, bound, _onto_ball(xp, given, p, mass), done | bad | ~outside)
        uniform = (given == 0) & outside
        w = xp.where(outside, xp.where(uniform, p, u), w)
        total = xp.where(outside, xp.sum(u, axis=-1, keepdims=True), one)
        total = xp.where(uniform, xp.inf, total)
    w = xp.where(bad, xp.nan, xp.where(empty, 0.0, _normalised(xp, w)))
    moves, most = ~(bad | empty | infinite), float(xp.finfo(v.dtype).max)
    beyond = total >= one * most
    multiplier = xp.where(beyond, xp.inf, 0.5 * xp.where(beyond, 0.0, total) / one)
    return xp.astype(w, values.dtype), xp.where(moves, multiplier, 0.0)[..., 0]


def _tiny(xp: Any, like: Array) -> float:
    """Return what may be divided by: the quotients, their squares' roots and their sums stay within the dtype."""
    return 2.0 ** (20 - math.frexp(float(xp.finfo(like.dtype).max))[1])


def _power(xp: Any, size: Array) -> Array:
    """Return the power of two that brings a size below 2: larger values might sum to infinity."""
    same = xp.ones_like(size)
    one, k = same, math.frexp(float(xp.finfo(size.dtype).max))[1] // 2
    while k > 0:
        factor = xp.where(size > 2.0**k, 2.0**-k * same, same)
        one, size, k = one * factor, size * factor, k // 2
    return one


def _from_top(xp: Any, v: Array, p: Array, one: Array) -> Array:
    """Count values of which 1 is less than a rounding from the largest v/p, and no further than weights reach."""
    safe = xp.where(p > 0, p, 1.0)
    slack = xp.where(p > 0, v * one / safe, -xp.inf)
    peak = xp.max(slack, axis=-1, keepdims=True)
    slack = xp.where(p > 0, slack - xp.where(peak > -xp.inf, peak, 0.0), 0.0)
    least = -2 / xp.maximum(xp.max(xp.where(slack == 0, p, 0.0), axis=-1, keepdims=True), _tiny(xp, p))
    centred = p * (xp.maximum(slack, least * one) / one)
    huge = xp.max(xp.abs(v), axis=-1, keepdims=True) * float(xp.finfo(v.dtype).eps) > 1
    return xp.where(huge, centred, v)


def _normalised(xp: Any, w: Array) -> Array:
    total = xp.sum(w, axis=-1, keepdims=True)
    return w / xp.where(total > 0, total, 1.0)


def _shrunk(xp: Any, atoms: Atoms, edge: Edge, done: Array) -> Array:
    """Return (v + τp)₊, τ found twice: what rounding left of the first is found among the atoms at hand.

    From there on only atoms count that may be active after all: the others' distances are rounded coarsely.
    """
    v, p = atoms
    tau = _smallest(xp, atoms, edge, done)
    y = v + tau * p
    close = y >= -8 * float(xp.finfo(v.dtype).eps) * (xp.abs(v) + xp.abs(tau) * p)
    near = Atoms(xp.where(close, y, 0.0), xp.where(close, p, 0.0))
    return xp.maximum(near.v + _smallest(xp, near, edge, done) * near.p, 0.0)


def _smallest(xp: Any, atoms: Atoms, edge: Edge, done: Array) -> Array:
    """Shrink the active set {v + τp > 0} until nothing leaves it (Michelot): τ falls to the root."""

    def step(tau: Array, stop: Array) -> State:
        new = xp.minimum(edge(atoms, xp.astype(atoms.v + tau * atoms.p > 0, tau.dtype), tau), tau)
        return xp.where(stop, tau, new), stop | (new >= tau)

    zero = xp.zeros_like(atoms.v[..., :1])
    start = edge(atoms, xp.astype(atoms.p > 0, zero.dtype), zero)
    return iterate(xp, step, (xp.where(done, zero, start), done), steps=STEPS)[0]


def _onto_simplex(xp: Any, one: Array) -> Edge:
    """Return the τ at which an active set sums to ``one``; what was, where the set is empty."""
    reduce = Reduce(xp, None)

    def edge(atoms: Atoms, inside: Array, tau: Array) -> Array:
        mass, first = reduce.sum((inside, atoms.p), (inside, atoms.v))
        return xp.where(mass > 0, (one - first) / xp.maximum(mass, _tiny(xp, mass)), tau)

    return edge


def _onto_ball(xp: Any, radius: Array, prior: Array, whole: Array) -> Edge:
    """Return the τ at which an active set has χ² = ρ: √(V/((1 + ρ)P − 1)) − μ, moments of v/p on the set."""
    reduce = Reduce(xp, None)

    def edge(atoms: Atoms, inside: Array, tau: Array) -> Array:
        p = atoms.p
        mass, first, outside = reduce.sum((inside, p), (inside, atoms.v), prior - inside * p)
        tiny = _tiny(xp, mass)
        safe = xp.maximum(mass, tiny)
        mean = first / safe
        off = inside * (atoms.v - mean * p)
        (second,) = reduce.sum((off, off / xp.maximum(p, tiny)))
        rest = xp.where(
            outside < 0.5 * whole, radius * whole - (1 + radius) * outside, (1 + radius) * mass - whole
        )  # fmt: skip
        usable = (rest > tiny) & (second > 0) & (mass > 0)  # else the active set is the argmax
        size = xp.sqrt(second / xp.where(usable, rest, 1.0)) * xp.sqrt(whole / safe)
        return xp.where(usable, size - mean, tau)

    return edge
