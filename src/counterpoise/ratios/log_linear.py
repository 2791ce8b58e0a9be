"""Ratios that balance moments: exponential weights that give the training sample the target's mean features."""

from __future__ import annotations

import math
from typing import Any, Literal

from .._types import AllReduce, Array
from .features import Blocks, Features, blocks_of, linear_features
from .grids import amounts
from .logistic import norm_of
from .model import Ratio
from .newton import minimise
from .samples import samples

__all__ = ["fit_log_linear"]

TOLERANCE = 1e-13


def fit_log_linear(
    *,
    target: Array,
    train: Array,
    features: Literal["linear", "quadratic"] | Features = "linear",
    penalty: float = 0.0,
    all_reduce: AllReduce | None = None,
) -> Ratio:
    """Fit r = exp(φᵀθ)/E_train[exp(φᵀθ)]: min log E_train[exp(φᵀθ)] − θᵀE_target[φ] + ½ λ ‖θ‖².

    Without a penalty this is entropy balancing: of all weights that give the training sample the target's mean
    features, the ones nearest to uniform in KL.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    features : {"linear", "quadratic"} or Features
        φ of the scaled samples.
    penalty : float
        λ ≥ 0.
    all_reduce : callable, optional
        ``all_reduce(array, "sum")`` adds up arrays over ranks that each hold a shard of both samples, and
        ``all_reduce(array, "max")`` takes their maximum; needs ``features`` that are the same on all ranks.

    Returns
    -------
    Ratio
        Its ``gap`` is the largest difference between the mean features of the reweighted training sample and the
        target's, less what the penalty asks for, in standard deviations.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; a negative penalty.
    RuntimeError
        No weights balance the features: the target's mean is outside the hull of the training features, or at its
        edge.

    References
    ----------
    Tsuboi et al., J. Information Processing 17 (2009); Hainmueller, Political Analysis 20 (2012).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> train = np.array([[0.0], [1.0], [2.0]])
    >>> model = cp.fit_log_linear(target=np.array([[1.5]]), train=train)
    >>> weights = cp.ratio(model, train) / 3
    >>> weights.round(4), float((weights @ train)[0].round(6))
    (array([0.1162, 0.2676, 0.6162]), 1.5)
    """
    xp, target, train = samples(target, train)
    (lam,) = amounts("penalty", penalty, zero=True)
    if isinstance(features, Features):
        base = features
    elif all_reduce is not None:
        raise ValueError("all_reduce needs the same features on every rank; pass them")
    elif features in ("linear", "quadratic"):
        base = linear_features(target=target, train=train, degree=1 if features == "linear" else 2)
    else:
        raise ValueError(f"features is {features!r}; 'linear', 'quadratic' or Features are needed")
    goal = _mean(xp, blocks_of(xp, base, target), all_reduce)
    blocks = blocks_of(xp, base, train)
    norm = norm_of(xp, base, int(goal.shape[0]), target) * lam

    def derivatives(theta: Array) -> tuple[Array, Array, Array]:
        log_mass, mean, second = _moments(xp, blocks, theta, all_reduce)
        pull = norm @ theta
        value = log_mass - xp.sum(theta * goal) + xp.sum(theta * pull) / 2
        return value, mean - goal + pull, second - mean[:, None] * mean[None, :] + norm

    theta, _ = minimise(xp, derivatives, xp.zeros_like(goal), tolerance=TOLERANCE)
    log_mass, mean, _ = _moments(xp, blocks, theta, all_reduce)
    gap = xp.max(xp.abs(mean - goal + norm @ theta))
    if not float(gap) <= float(xp.finfo(theta.dtype).eps) ** 0.375:
        raise RuntimeError(
            f"no weights balance the features (off by {float(gap):.1e} standard deviations): the target's mean is "
            "outside the hull of the training features, or at its edge; pass a penalty above 0, or fewer features"
        )
    theta = xp.concat([theta[:1] - log_mass, theta[1:]], axis=0)
    return Ratio("log_linear", base, theta, 0.0, xp.zeros_like(gap) + lam, gap, None)


def _mean(xp: Any, blocks: Blocks, all_reduce: AllReduce | None) -> Array:
    total: Array = 0.0
    count = 0
    for phi in blocks():
        total, count = total + xp.sum(phi, axis=0), count + int(phi.shape[0])
    if all_reduce is None:
        return total / count
    return all_reduce(total, "sum") / all_reduce(total[:1] * 0 + count, "sum")


def _moments(xp: Any, blocks: Blocks, theta: Array, all_reduce: AllReduce | None) -> tuple[Array, Array, Array]:
    """Return log E[e^{φᵀθ}], and mean and second moment of φ under the weights; shifted by the largest exponent."""
    most = -math.inf + theta[:1] * 0
    for phi in blocks():
        most = xp.maximum(most, xp.max(xp.matmul(phi, theta))[None])
    most = most if all_reduce is None else all_reduce(most, "max")
    mass, first, second, count = theta[:1] * 0, theta * 0, theta[:, None] * theta[None, :] * 0, theta[:1] * 0
    for phi in blocks():
        w = xp.exp(xp.matmul(phi, theta) - most)
        mass, first = mass + xp.sum(w), first + xp.matmul(w, phi)
        second = second + xp.matmul(xp.matrix_transpose(phi), phi * w[:, None])
        count = count + float(phi.shape[0])
    if all_reduce is not None:
        mass, first, second, count = (all_reduce(v, "sum") for v in (mass, first, second, count))
    return (xp.log(mass / count) + most)[0], first / mass, second / mass
