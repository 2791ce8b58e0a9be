"""A small policy: linear scores of responses, fitted to rankings under any of counterpoise's objectives."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from counterpoise import Objective

__all__ = ["accuracy", "fit_policy", "ranking_losses"]

Floats = NDArray[np.float64]


def ranking_losses(scores: Floats) -> tuple[Floats, Floats]:
    """Plackett-Luce losses −log P(1st ≻ 2nd ≻ … ≻ Kth) and their derivatives; with K = 2 it is Bradley-Terry.

    Parameters
    ----------
    scores : array, shape (n, K)
        Scores of the responses, the preferred first.

    Returns
    -------
    (array of shape (n,), array of shape (n, K))
        Losses in nats, and d losses / d scores.

    Examples
    --------
    >>> losses, slopes = ranking_losses(np.array([[0.0, 0.0]]))
    >>> losses.round(6), slopes
    (array([0.693147]), array([[-0.5,  0.5]]))
    """
    losses, slopes = np.zeros(len(scores)), np.zeros_like(scores)
    for place in range(scores.shape[1] - 1):
        rest = scores[:, place:]
        top = rest.max(axis=1, keepdims=True)
        chance = np.exp(rest - top)
        total = chance.sum(axis=1, keepdims=True)
        losses += (top + np.log(total))[:, 0] - rest[:, 0]
        slopes[:, place:] += chance / total
        slopes[:, place] -= 1.0
    return losses, slopes


def fit_policy(items: Floats, objective: Callable[[Floats], Objective], *, l2: float) -> Floats:
    """Minimise objective(losses(θ)) + l2/2 ‖θ‖² over the linear policies θ.

    Parameters
    ----------
    items : array, shape (n, K, d)
        Features of the responses of each list, the preferred first.
    objective : callable
        Losses of shape (n,) to an `Objective`, whose weights give the exact gradient (Danskin).
    l2 : float
        > 0; it makes the problem strongly convex.

    Returns
    -------
    array, shape (d,)
        θ.

    Raises
    ------
    RuntimeError
        If L-BFGS stops short of the optimum.
    """
    n, size, d = items.shape
    flat = items.reshape(n * size, d)

    def value(theta: Floats) -> tuple[float, Floats]:
        losses, slopes = ranking_losses((flat @ theta).reshape(n, size))
        found = objective(losses)
        gradient = (found.weights[:, None] * slopes).reshape(-1) @ flat
        return float(found.value) + 0.5 * l2 * float(theta @ theta), gradient + l2 * theta

    result = minimize(value, np.zeros(d), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "maxfun": 4000})
    slope = float(np.abs(result.jac).max())
    if not result.success and slope > 1e-3:
        raise RuntimeError(f"the policy did not converge (largest slope {slope:.2g}): {result.message}")
    return np.asarray(result.x)


def accuracy(scores: Floats) -> Floats:
    """Whether each list's preferred response has the highest score; a tie counts by its share.

    Parameters
    ----------
    scores : array, shape (n, K)
        The preferred first.

    Examples
    --------
    >>> accuracy(np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]]))
    array([1. , 0. , 0.5])
    """
    best = scores == scores.max(axis=1, keepdims=True)
    return np.asarray(best[:, 0] / best.sum(axis=1))
