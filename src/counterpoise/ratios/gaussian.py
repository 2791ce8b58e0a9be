"""Ratios of two Gaussians, from means and covariances."""

from __future__ import annotations

from typing import Any

from .. import _xp
from .._types import Array
from .features import linear_features
from .model import Ratio
from .samples import samples

__all__ = ["fit_gaussian"]


def fit_gaussian(*, target: Array, train: Array, shared: bool = False, independent: bool = False) -> Ratio:
    """Fit log r as that of two Gaussians: one covariance each, drawn towards the pooled one, or one for both.

    Each sample's covariance is averaged with the pooled one as if that had one row more than there are features (two
    rows for independent features); the pooled one gets 10⁻⁶ of each variance on its diagonal. With few rows, or many
    features, a shared covariance (linear discriminant analysis) or independent features (naive Bayes) are the safer
    choices.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    shared : bool
        Whether both have one covariance; then log r is linear.
    independent : bool
        Whether features are independent in both samples; then log r holds no products of two.

    Returns
    -------
    Ratio
        In closed form; its ``gap`` is 0.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`.

    References
    ----------
    Friedman, "Regularized discriminant analysis", JASA 84 (1989).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_gaussian(target=rng.normal(1, 1, (500, 1)), train=rng.normal(0, 1, (500, 1)))
    >>> cp.ratio(model, np.array([[-1.0], [0.5], [1.5]])).round(1)
    array([0.2, 1. , 3.3])
    """
    xp, target, train = samples(target, train)
    features = linear_features(target=target, train=train, degree=1 if shared else 2)
    (mean_t, cov_t), (mean_s, cov_s) = (_moments(xp, (x - features.shift) / features.scale) for x in (target, train))
    n_t, n_s, d = int(target.shape[0]), int(train.shape[0]), int(target.shape[1])
    pooled = (n_t * cov_t + n_s * cov_s) / (n_t + n_s)
    eye = xp.eye(d, dtype=pooled.dtype, device=_xp.device(pooled))
    variance = xp.linalg.diagonal(pooled)
    varies = xp.astype(variance > 0, pooled.dtype)
    # a column that is constant in both samples gets any variance: its mean differs by nothing
    free = eye * (1 - varies)
    pooled = pooled + 1e-6 * eye * variance + free
    rows = xp.sum(varies) + 1
    if independent:
        rows, pooled, cov_t, cov_s = 2 * xp.ones_like(rows), eye * pooled, eye * cov_t, eye * cov_s
    if shared:
        slope = xp.linalg.solve(pooled, (mean_t - mean_s)[:, None])[:, 0]
        constant = -xp.sum(slope * (mean_t + mean_s)) / 2
        theta = xp.concat([constant[None], slope], axis=0)
    else:
        parts = [
            _coefficients(xp, mean, (n * (cov + free) + rows * pooled) / (n + rows))
            for mean, cov, n in ((mean_t, cov_t, n_t), (mean_s, cov_s, n_s))
        ]
        theta = parts[0] - parts[1]
    zero = xp.zeros_like(theta[0])
    return Ratio("gaussian", features, theta, 0.0, zero, zero, None)


def _moments(xp: Any, z: Array) -> tuple[Array, Array]:
    mean = xp.mean(z, axis=0)
    off = z - mean
    return mean, xp.matmul(xp.matrix_transpose(off), off) / int(z.shape[0])


def _coefficients(xp: Any, mean: Array, covariance: Array) -> Array:
    """Log density over 1, z and the products z_i z_j, j ≥ i, up to a constant that all Gaussians share."""
    precision = xp.linalg.inv(covariance)
    slope = xp.matmul(precision, mean)
    constant = -(xp.sum(mean * slope) + xp.linalg.slogdet(covariance)[1]) / 2
    rows = [
        xp.concat([-precision[i, i : i + 1] / 2, -precision[i, i + 1 :]], axis=0) for i in range(int(mean.shape[0]))
    ]
    return xp.concat([constant[None], slope, *rows], axis=0)
