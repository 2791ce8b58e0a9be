"""Damped Newton for the smooth convex fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import _xp
from .._types import Array

STEPS = 100
FALL = 30.0
"""By how much the decrement must fall for a Hessian to serve once more."""

Derivatives = Callable[[Array], tuple[Array, Array, Callable[[], Array]]]
"""Value and gradient at a point, and what computes the Hessian there."""


class Minimum(NamedTuple):
    """Where a function is least; half the squared decrement there, gᵀH⁻¹g/2; and the Hessian that it was told by."""

    point: Array
    above: Array
    hessian: Array


def minimise(
    xp: Any, derivatives: Derivatives, start: Array, *, tolerance: float, hessian: Array | None = None
) -> Minimum:
    """Minimise a convex function by Newton's method, with as few Hessians as will do.

    ``above`` is how far the value is above its minimum, to second order. A Hessian costs as much as many gradients: the
    last one, first that which is given, of a point nearby, serves again where a step by it brings ``above`` down
    thirtyfold. Where rounding hides from the value what a step gains, whole steps are taken for as long as each halves
    it.
    """
    theta, (value, gradient, curvature) = start, derivatives(start)
    tiny = float(xp.finfo(start.dtype).smallest_normal) ** 0.5
    identity = xp.eye(int(start.shape[0]), dtype=start.dtype, device=_xp.device(start))
    above = value * 0 + xp.inf
    best, least, fresh = theta, above, hessian is None
    held = curvature() if hessian is None else hessian
    for _ in range(STEPS):
        largest = xp.max(xp.abs(held))
        if not bool(largest > tiny):
            break  # all the weight is on one row: there is no curvature left to step by
        ridge = start.shape[0] * float(xp.finfo(start.dtype).eps) * largest  # what a solve of this size rounds off
        direction = xp.linalg.solve(held + ridge * identity, gradient[:, None])[:, 0]
        last, above = above, xp.sum(gradient * direction) / 2
        serves = fresh or (bool(above >= 0) and (bool(above < last / FALL) or bool(above <= tolerance)))
        if serves and not bool(above > tolerance):
            break
        downhill = _downhill(xp, derivatives, theta, value, direction, above) if serves else None
        if downhill is None and not fresh:
            held, fresh, above = curvature(), True, last
            continue
        if downhill is None:
            if not bool(above < least / 2):
                break
            best, least = theta, above
            downhill = theta - direction, derivatives(theta - direction)
        (theta, (value, gradient, curvature)), fresh = downhill, False
    return Minimum(best, least, held) if bool(least <= above) else Minimum(theta, above, held)


def _downhill(
    xp: Any, derivatives: Derivatives, theta: Array, value: Array, direction: Array, above: Array
) -> tuple[Array, tuple[Array, Array, Callable[[], Array]]] | None:
    """Shorten a step until the value falls; None where rounding hides what is left of it."""
    rounding = float(xp.finfo(theta.dtype).eps) * xp.abs(value)
    share = 1.0
    while bool(share * above > rounding):
        new = theta - share * direction
        found = derivatives(new)
        if bool(found[0] <= value - 1e-4 * share * 2 * above + 8 * rounding):
            return new, found
        share /= 2
    return None
