"""Linear policies for many problems at once: seeds × settings, by BFGS on arrays with leading batch axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import counterpoise as cp

__all__ = ["Objective", "fit_linear"]

Floats = NDArray[np.float64]
Objective = Callable[[Floats], cp.Objective]
ITERATIONS, TOLERANCE = 60, 1e-4


def fit_linear(differences: Floats, objective: Objective, l2: Floats) -> Floats:
    """Minimise objective(log(1 + e^{-Dθ})) + l2/2 ‖θ‖² for every seed and setting.

    Parameters
    ----------
    differences : array, shape (S, N, d)
        D: features of the preferred response minus those of the other, for S seeds.
    objective : callable
        Maps losses of shape (S, C, N), for C settings of each seed, to an `Objective`; its weights are the gradient.
    l2 : array, shape (S, C)
        > 0.

    Returns
    -------
    array, shape (S, C, d)
        θ. CVaR has kinks, where it stops after a fixed number of steps.
    """
    seeds, settings = l2.shape
    d = differences.shape[-1]
    flat = np.ascontiguousarray(differences.swapaxes(1, 2))  # (S, d, N)

    def at(theta: Floats) -> tuple[Floats, Floats, Floats]:
        margins = theta @ flat
        small = np.exp(-np.abs(margins))
        losses = np.maximum(-margins, 0.0) + np.log1p(small)
        found = objective(losses)
        slopes = -np.where(margins >= 0, small, 1.0) / (1.0 + small)
        value = found.value + 0.5 * l2 * (theta**2).sum(axis=-1)
        return value, (found.weights * slopes) @ differences + l2[..., None] * theta, found.weights

    theta = np.zeros((seeds, settings, d))
    value, gradient, weights = at(theta)
    curvature = 0.25 * np.einsum("scn,snd,sne->scde", weights, differences, differences, optimize=True)
    inverse = np.linalg.inv(curvature + l2[..., None, None] * np.eye(d))
    for _ in range(ITERATIONS):
        moving = np.abs(gradient).max(axis=-1) > TOLERANCE
        if not moving.any():
            break
        step = -(inverse @ gradient[..., None])[..., 0]
        slope = (step * gradient).sum(axis=-1)
        length = np.where(moving, 1.0, 0.0)
        for _halving in range(12):
            trial = at(theta + length[..., None] * step)
            worse = moving & ~(trial[0] <= value + 1e-4 * length * slope + 1e-13)
            if not worse.any():
                break
            length = np.where(worse, 0.5 * length, length)
        length = np.where(worse, 0.0, length)
        moved = length[..., None] * step
        turned = np.where(worse[..., None], 0.0, trial[1] - gradient)
        theta = theta + moved
        value, gradient = np.where(worse, value, trial[0]), gradient + turned
        inverse = _updated(inverse, moved, turned)
        if worse[moving].all():
            break
    return theta


def _updated(inverse: Floats, moved: Floats, turned: Floats) -> Floats:
    """BFGS's update of the inverse Hessian, where there is curvature to learn from."""
    product = (moved * turned).sum(axis=-1)
    usable = product > 1e-14
    rho = (1.0 / np.where(usable, product, 1.0))[..., None, None]
    outer = moved[..., :, None] * turned[..., None, :]
    left = np.eye(moved.shape[-1]) - rho * outer
    new = left @ inverse @ left.swapaxes(-1, -2) + rho * moved[..., :, None] * moved[..., None, :]
    return np.where(usable[..., None, None], new, inverse)
