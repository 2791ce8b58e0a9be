"""Ratios of two Gaussians, from means and covariances."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import _xp
from .._lending import on_host
from .._types import Array
from .features import Features, linear_features
from .model import Ratio
from .samples import ROUNDING, samples, warn_disjoint

__all__ = ["fit_gaussian"]

FEW = 50
"""Rows of the smaller sample from which covariances of its own are estimated."""


@on_host
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
        Whether features are independent in both samples; then log r holds no products of two different ones.

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
    warn_disjoint(xp, target, train)
    features = linear_features(target=target, train=train, degree=1 if shared else 2)
    moments = both_moments(xp, features, target, train)
    theta = (shared_covariance if shared else own_covariances)(xp, *moments, independent=independent)
    zero = xp.zeros_like(theta[0])
    return Ratio("gaussian", features, theta, 0.0, zero, zero, None)


def gaussian_noise(xp: Any, model: Ratio, target: Array, train: Array, *, independent: bool) -> Array:
    """Rows whose squared products with the features add up to the sampling variance of log r.

    To first order, m² and n being the squared distance from a sample's mean and its rows: for covariances of their own
    m⁴/2n of both samples, which is what counts far out; for a shared one m²/n of both, for the means, and 2 (log r)²
    over the rows of both, for the covariance.
    """
    features = model.features or linear_features(target=target, train=train)
    t, s, pooled, free = both_moments(xp, features, target, train)
    if features.kind == "quadratic":
        covariances = _drawn(xp, t, s, pooled, free, independent=independent)
        return xp.stack(
            [_distance(xp, x.mean, cov) / math.sqrt(2 * x.rows) for x, cov in zip((t, s), covariances, strict=True)]
        )
    values, vectors = xp.linalg.eigh(pooled)
    floor = float(xp.finfo(values.dtype).eps) * xp.max(values)
    root = xp.matrix_transpose(vectors / xp.sqrt(xp.maximum(values, xp.zeros_like(values) + floor)))
    parts = [xp.concat([-xp.matmul(root, x.mean[:, None]), root], axis=1) / math.sqrt(x.rows) for x in (t, s)]
    return xp.concat([*parts, model.coefficients[None, :] * math.sqrt(2 / (t.rows + s.rows))], axis=0)


class _Sample(NamedTuple):
    rows: int
    mean: Array
    covariance: Array


def both_moments(xp: Any, features: Features, target: Array, train: Array) -> tuple[_Sample, _Sample, Array, Array]:
    """Moments of both scaled samples, their pooled covariance and a diagonal of 1 where columns are constant in both.

    Such a column gets any variance: its mean differs by nothing. What rounding leaves of a variance is none.
    """
    t, s = (_moments(xp, (x - features.shift) / features.scale) for x in (target, train))
    pooled = (t.rows * t.covariance + s.rows * s.covariance) / (t.rows + s.rows)
    eye = xp.eye(int(pooled.shape[0]), dtype=pooled.dtype, device=_xp.device(pooled))
    variance = xp.linalg.diagonal(pooled)
    least = (4 * ROUNDING * float(xp.finfo(pooled.dtype).eps)) ** 2
    free = eye * (1 - xp.astype(variance > least, pooled.dtype))
    return t, s, pooled + 1e-6 * eye * variance + free, free


def shared_covariance(
    xp: Any, t: _Sample, s: _Sample, pooled: Array, free: Array, *, independent: bool = False
) -> Array:
    """Coefficients over 1 and z for Gaussians of one covariance."""
    if independent:
        pooled = pooled * xp.eye(int(pooled.shape[0]), dtype=pooled.dtype, device=_xp.device(pooled))
    slope = xp.linalg.solve(pooled, (t.mean - s.mean)[:, None])[:, 0]
    return xp.concat([-xp.sum(slope * (t.mean + s.mean))[None] / 2, slope], axis=0)


def own_covariances(xp: Any, t: _Sample, s: _Sample, pooled: Array, free: Array, *, independent: bool) -> Array:
    """Coefficients over 1, z and products of two for Gaussians of their own covariances."""
    covariances = _drawn(xp, t, s, pooled, free, independent=independent)
    parts = [_coefficients(xp, x.mean, cov) for x, cov in zip((t, s), covariances, strict=True)]
    return parts[0] - parts[1]


def _drawn(xp: Any, t: _Sample, s: _Sample, pooled: Array, free: Array, *, independent: bool) -> list[Array]:
    """Covariances of both samples, drawn towards the pooled one."""
    rows = int(pooled.shape[0]) + 1 - xp.sum(free)
    covariances = [t.covariance, s.covariance]
    if independent:
        eye = xp.eye(int(pooled.shape[0]), dtype=pooled.dtype, device=_xp.device(pooled))
        rows, pooled, covariances = 2 * xp.ones_like(rows), eye * pooled, [eye * cov for cov in covariances]
    return [
        (x.rows * (cov + free) + rows * pooled) / (x.rows + rows) for x, cov in zip((t, s), covariances, strict=True)
    ]


def _moments(xp: Any, z: Array) -> _Sample:
    mean, n = xp.mean(z, axis=0), int(z.shape[0])
    off = z - mean
    return _Sample(n, mean, xp.matmul(xp.matrix_transpose(off), off) / n)


def _coefficients(xp: Any, mean: Array, covariance: Array) -> Array:
    """Log density over 1, z and the products z_i z_j, j ≥ i, up to a constant that all Gaussians share."""
    distance = _distance(xp, mean, covariance)
    return xp.concat([distance[:1] + xp.linalg.slogdet(covariance)[1], distance[1:]], axis=0) / -2


def _distance(xp: Any, mean: Array, covariance: Array) -> Array:
    """Squared Mahalanobis distance from the mean, over the same."""
    precision = xp.linalg.inv(covariance)
    slope = xp.matmul(precision, mean)
    rows = [xp.concat([precision[i, i : i + 1], 2 * precision[i, i + 1 :]], axis=0) for i in range(int(mean.shape[0]))]
    return xp.concat([xp.sum(mean * slope)[None], -2 * slope, *rows], axis=0)
