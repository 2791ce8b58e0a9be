"""Damped Newton for the smooth convex fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _xp
from .._types import Array

STEPS = 50

Derivatives = Callable[[Array], tuple[Array, Array, Array]]


def minimise(xp: Any, derivatives: Derivatives, start: Array, *, tolerance: float) -> tuple[Array, Array]:
    """Minimise a convex function from its value, gradient and Hessian; return the point and Newton's decrement there.

    Half the squared decrement, gᵀH⁻¹g/2, is how far the value is above its minimum to second order. Where rounding
    hides from the value what a step gains, whole steps are taken for as long as each halves the decrement.
    """
    theta, found = start, derivatives(start)
    tiny = float(xp.finfo(start.dtype).smallest_normal) ** 0.5
    identity = xp.eye(int(start.shape[0]), dtype=start.dtype, device=_xp.device(start))
    above = found[0] * 0 + xp.inf
    best, least = theta, above
    for _ in range(STEPS):
        _, gradient, hessian = found
        largest = xp.max(xp.abs(hessian))
        if not bool(largest > tiny):
            break  # all the weight is on one row: there is no curvature left to step by
        ridge = start.shape[0] * float(xp.finfo(start.dtype).eps) * largest  # what a solve of this size rounds off
        direction = xp.linalg.solve(hessian + ridge * identity, gradient[:, None])[:, 0]
        above = xp.sum(gradient * direction) / 2
        if not bool(above > tolerance):
            break
        downhill = _downhill(xp, derivatives, theta, found[0], direction, above)
        if downhill is None:
            if not bool(above < least / 2):
                break
            best, least = theta, above
            downhill = theta - direction, derivatives(theta - direction)
        theta, found = downhill
    return (best, least) if bool(least <= above) else (theta, above)


def _downhill(
    xp: Any, derivatives: Derivatives, theta: Array, value: Array, direction: Array, above: Array
) -> tuple[Array, tuple[Array, Array, Array]] | None:
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
