"""Ratios of two Gaussians, from means and covariances."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import _xp
from .._lending import on_host
from .._types import Array
from .features import Features, linear_features, tilt_logs
from .model import Ratio
from .probability import log_losses
from .samples import ROUNDING, samples, warn_disjoint

__all__ = ["fit_gaussian"]

FEW = 50
"""Rows of the smaller sample from which covariances of its own are estimated."""
WORTH = 1.5
"""Nats of log loss that a coefficient more must be worth; so much are correlations of proportional covariances, too."""


@on_host
def fit_gaussian(
    *, target: Array, train: Array, shared: bool = False, independent: bool = False, proportional: bool = False
) -> Ratio:
    """Fit log r as that of two Gaussians: one covariance each, drawn towards the pooled one, or one for both.

    Each sample's covariance is averaged with the pooled one as if that had one row more than there are features (two
    rows for independent features); the pooled one gets 10⁻⁶ of each variance on its diagonal. With few rows, or many
    features, a shared covariance (linear discriminant analysis), proportional ones or independent features (naive
    Bayes) are the safer choices.

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
    proportional : bool
        Whether one covariance is a multiple of the other: the geometric mean of the ratios of variances. Features are
        independent as well, unless correlations bring the log loss, as a classifier of the two samples, down by a nat
        and a half.

    Returns
    -------
    Ratio
        In closed form; its ``gap`` is 0.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; ``proportional`` beside one of the other two.

    References
    ----------
    Friedman, "Regularized discriminant analysis", JASA 84 (1989); Flury, "Proportionality of k covariance matrices",
    Statistics & Probability Letters 4 (1986).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_gaussian(target=rng.normal(1, 1, (500, 1)), train=rng.normal(0, 1, (500, 1)))
    >>> cp.ratio(model, np.array([[-1.0], [0.5], [1.5]])).round(1)
    array([0.2, 1. , 3.3])
    """
    if proportional and (shared or independent):
        raise ValueError("proportional covariances are not shared, and may be independent; pass proportional alone")
    xp, target, train = samples(target, train)
    warn_disjoint(xp, target, train)
    features = linear_features(target=target, train=train, degree=1 if shared else 2)
    if proportional:
        theta = proportional_covariances(xp, features, target, train).coefficients
    else:
        moments = both_moments(xp, features, target, train)
        theta = (shared_covariance if shared else own_covariances)(xp, *moments, independent=independent)
    zero = xp.zeros_like(theta[0])
    return Ratio("gaussian", features, theta, 0.0, zero, zero, None)


def gaussian_noise(
    xp: Any, model: Ratio, target: Array, train: Array, *, independent: bool = False, proportional: bool = False
) -> Array:
    """Rows whose squared products with the features add up to the sampling variance of log r.

    To first order, m² and n being the squared distance from a sample's mean and its rows: for covariances of their own
    m⁴/2n of both samples, which is what counts far out; for a shared one m²/n of both, for the means, and 2 (log r)²
    over the rows N of both, for the covariance. For proportional ones m²/n of both, (m_t² − m_s²)²/2N for their shape,
    and (d − (n_t m_s² + n_s m_t²)/N)² (1/n_t + 1/n_s)/2d for the multiple, in d columns.
    """
    features = model.features or linear_features(target=target, train=train)
    t, s, pooled, free = both_moments(xp, features, target, train)
    if proportional:
        return _proportional_noise(xp, t, s, free, proportional_covariances(xp, features, target, train))
    if features.kind == "quadratic":
        covariances = _drawn(xp, t, s, pooled, free, independent=independent)
        return xp.stack(
            [_distance(xp, x.mean, cov) / math.sqrt(2 * x.rows) for x, cov in zip((t, s), covariances, strict=True)]
        )
    parts = [_mean_noise(xp, x, pooled) for x in (t, s)]
    return xp.concat([*parts, model.coefficients[None, :] * math.sqrt(2 / (t.rows + s.rows))], axis=0)


def _proportional_noise(xp: Any, t: _Sample, s: _Sample, free: Array, found: Proportional) -> Array:
    both = (t, found.covariance), (s, found.multiple * found.covariance)
    near, far = (_distance(xp, x.mean, covariance) for x, covariance in both)
    rows, d = t.rows + s.rows, max(int(free.shape[0]) - float(xp.sum(free)), 1.0)
    constant = xp.concat([xp.zeros_like(near[:1]) + d, xp.zeros_like(near[1:])], axis=0)
    off = (constant - (t.rows * far + s.rows * near) / rows) * math.sqrt((1 / t.rows + 1 / s.rows) / (2 * d))
    linear = xp.concat([_mean_noise(xp, x, covariance) for x, covariance in both], axis=0)
    none = xp.zeros_like(linear[:, :1]) + xp.zeros_like(near[None, int(linear.shape[1]) :])
    quadratic = xp.stack([(near - far) / math.sqrt(2 * rows), off])
    return xp.concat([quadratic, xp.concat([linear, none], axis=1)], axis=0)


def _mean_noise(xp: Any, x: _Sample, covariance: Array) -> Array:
    """Rows over 1 and z whose squares add up to m²/n."""
    values, vectors = xp.linalg.eigh(covariance)
    floor = float(xp.finfo(values.dtype).eps) * xp.max(values)
    root = xp.matrix_transpose(vectors / xp.sqrt(xp.maximum(values, xp.zeros_like(values) + floor)))
    return xp.concat([-xp.matmul(root, x.mean[:, None]), root], axis=1) / math.sqrt(x.rows)


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


class Proportional(NamedTuple):
    """Coefficients over 1, z and products of two; the target's covariance and the multiple of it that is the other."""

    coefficients: Array
    covariance: Array
    multiple: Array
    independent: bool


def proportional_covariances(xp: Any, features: Features, target: Array, train: Array) -> Proportional:
    """Fit Gaussians of which one covariance is a multiple of the other, with correlations where these are worth it."""
    moments = both_moments(xp, features, target, train)
    plain, other = (_proportional(xp, *moments, independent=independent) for independent in (True, False))
    both = features._replace(tilts=xp.stack([plain.coefficients, other.coefficients]))
    at_t, at_s = (xp.concat([*tilt_logs(xp, both, x)], axis=0) for x in (target, train))
    losses = xp.sum(log_losses(xp, at_t, at_s, target, train), axis=0)
    return other if bool(losses[1] + WORTH < losses[0]) else plain


def _proportional(xp: Any, t: _Sample, s: _Sample, pooled: Array, free: Array, *, independent: bool) -> Proportional:
    of_t, of_s = _drawn(xp, t, s, pooled, free, independent=independent)
    log_volumes = [xp.linalg.slogdet(covariance)[1] for covariance in (of_t, of_s)]
    varying = xp.maximum(int(pooled.shape[0]) - xp.sum(free), xp.ones_like(pooled[0, 0]))
    multiple = xp.exp((log_volumes[1] - log_volumes[0]) / varying)
    shape = (t.rows * (of_t - free) + s.rows * (of_s - free) / multiple) / (t.rows + s.rows)
    covariance = shape + free  # of columns that are constant in both no multiple
    theta = _coefficients(xp, t.mean, covariance) - _coefficients(xp, s.mean, multiple * shape + free)
    return Proportional(theta, covariance, multiple, independent)


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
