"""Damped Newton for the smooth convex fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _xp
from .._types import Array

STEPS = 50
HALVINGS = 40

Derivatives = Callable[[Array], tuple[Array, Array, Array]]


def minimise(xp: Any, derivatives: Derivatives, start: Array, *, tolerance: float) -> tuple[Array, Array]:
    """Minimise a convex function from its value, gradient and Hessian; return the point and Newton's decrement there.

    Half the squared decrement, gᵀH⁻¹g/2, is how far the value is above its minimum to second order.
    """
    theta = start
    value, gradient, hessian = derivatives(theta)
    eps, tiny = float(xp.finfo(start.dtype).eps), float(xp.finfo(start.dtype).smallest_normal) ** 0.5
    identity = xp.eye(int(start.shape[0]), dtype=start.dtype, device=_xp.device(start))
    above = value * 0 + xp.inf
    for _ in range(STEPS):
        largest = xp.max(xp.abs(hessian))
        if not bool(largest > tiny):
            break  # all the weight is on one row: there is no curvature left to step by
        ridge = eps * largest  # lifts directions without data off zero
        direction = xp.linalg.solve(hessian + ridge * identity, gradient[:, None])[:, 0]
        above = xp.sum(gradient * direction) / 2
        if not bool(above > tolerance):
            break
        share = 1.0
        for _ in range(HALVINGS):
            new = theta - share * direction
            found = derivatives(new)
            if bool(found[0] <= value - 1e-4 * share * 2 * above + 8 * eps * xp.abs(value)):
                break
            if not bool(share * above > eps * xp.abs(value)):
                return theta, above  # rounding hides what a shorter step would gain
            share /= 2
        else:
            break
        theta, (value, gradient, hessian) = new, found
    return theta, above
