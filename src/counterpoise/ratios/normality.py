"""Whether two samples look Gaussian, and which pair of Gaussians they speak for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

from .. import _xp
from .._types import Array
from .features import linear_features
from .gaussian import both_moments, proportional_covariances
from .samples import draw, squares

KURTOSIS = 2.0
"""Standard errors by which the kurtosis of Gaussian samples may be off."""
LEVEL = 0.05
"""Of the test of each sample."""
ROWS = 100
"""Of the larger sample at least: with fewer the tests would pass what is not Gaussian."""
PER_COLUMN = 30
"""The same, for each column."""
FEWEST = 15
"""Of the smaller sample at least, five for each column: with fewer, means are hardly known."""
MOST = 2000
"""Rows of a sample between which distances are taken."""
LEAST = 1e-3
"""A smaller share is none."""


def look_gaussian(xp: Any, target: Array, train: Array) -> bool:
    """Say whether neither sample's kurtosis nor its empirical characteristic function is off a Gaussian's.

    Mardia's kurtosis, the mean of m⁴, is of all rows; the test of Henze and Zirkler, "A class of invariant consistent
    tests for multivariate normality" (Commun. Stat. 19, 1990), of up to 2,000.
    """
    columns, few, many = int(target.shape[1]), *sorted((int(target.shape[0]), int(train.shape[0])))
    if few < max(FEWEST, 5 * columns) or many < max(ROWS, PER_COLUMN * columns):
        return False
    features = linear_features(target=target, train=train)
    both = [_sphered(xp, (x - features.shift) / features.scale) for x in (target, train)]
    alike = both[0].shape[1] == both[1].shape[1]  # else a column is constant in one sample alone
    return alike and all(_kurtosis(xp, z) <= KURTOSIS and _tail(xp, z) > LEVEL for z in both)


def _sphered(xp: Any, z: Array) -> Array:
    """Centre a sample and turn it into columns of variance 1 without correlation, those aside that do not vary."""
    off = z - xp.mean(z, axis=0)
    values, vectors = xp.linalg.eigh(xp.matmul(xp.matrix_transpose(off), off) / int(z.shape[0]))
    kept = [k for k in range(int(values.shape[0])) if bool(values[k] > 1e-9 * values[-1])]
    at = _xp.indices(xp, kept, z)
    return xp.matmul(off, xp.take(vectors, at, axis=1)) / xp.sqrt(xp.take(values, at, axis=0))


def _kurtosis(xp: Any, z: Array) -> float:
    """Return how many standard errors the mean of m⁴ is off a Gaussian's."""
    n, d = (int(size) for size in z.shape)
    return abs(float(xp.mean(xp.sum(z * z, axis=1) ** 2)) - d * (d + 2)) / math.sqrt(8 * d * (d + 2) / n)


def _tail(xp: Any, z: Array) -> float:
    """Return the probability with which a Gaussian sample is as far off as this, by the paper's log-normal limit."""
    z = xp.take(z, _xp.indices(xp, draw(int(z.shape[0]), MOST, 0), z), axis=0)
    n, d = (int(size) for size in z.shape)
    b = (n * (2 * d + 1) / 4) ** (2 / (d + 4)) / 2  # β²
    among, within = xp.mean(xp.exp(squares(xp, z, z) * (-b / 2))), xp.exp(xp.sum(z * z, axis=1) * (-b / (2 + 2 * b)))
    found = n * (float(among) - 2 * (1 + b) ** (-d / 2) * float(xp.mean(within)) + (1 + 2 * b) ** (-d / 2))
    a, w = 1 + 2 * b, (1 + b) * (1 + 3 * b)
    mean = 1 - a ** (-d / 2) * (1 + d * b / a + d * (d + 2) * b**2 / (2 * a**2))
    variance = (
        2 * (1 + 4 * b) ** (-d / 2)
        + 2 * a**-d * (1 + 2 * d * b**2 / a**2 + 3 * d * (d + 2) * b**4 / (4 * a**4))
        - 4 * w ** (-d / 2) * (1 + 3 * d * b**2 / (2 * w) + d * (d + 2) * b**4 / (2 * w**2))
    )
    spread = math.log1p(variance / mean**2)
    return 1 - NormalDist(math.log(mean) - spread / 2, math.sqrt(spread)).cdf(math.log(max(found, 1e-300)))


def gaussian_shares(xp: Any, target: Array, train: Array, names: Iterable[str]) -> dict[str, float]:
    """Share 1 out among r = 1 (what is left) and those methods of these names that are pairs of Gaussians.

    By their corrected AIC, an unbiased estimate of twice the log loss of as many new rows, up to what all have in
    common: shares fall with e^(−AIC/2). One Gaussian for both samples stands for r = 1. Its covariance, and that of
    ``"discriminant"``, counts as a diagonal where that is the better one: what is common to both samples is no ratio.
    """
    features = linear_features(target=target, train=train)
    t, s, pooled, free = both_moments(xp, features, target, train)
    apart, rows = t.mean - s.mean, t.rows + s.rows
    lift = pooled - (t.rows * t.covariance + s.rows * s.covariance) / rows  # what keeps it regular, for all of them
    of_t, of_s = t.covariance + lift, s.covariance + lift
    one = pooled + apart[:, None] * apart[None, :] * (t.rows * s.rows / rows**2)
    fixed = round(float(xp.sum(free)))
    found = proportional_covariances(xp, features, target, train)
    of_shape = _aic(xp, found.covariance, rows, fixed, means=2, diagonal=found.independent)
    of_multiple = s.rows * (int(pooled.shape[0]) - fixed) * float(xp.log(found.multiple)) + 2.0
    amounts = {
        "one": min(_aic(xp, one, rows, fixed), _aic(xp, one, rows, fixed, diagonal=True)),
        "discriminant": min(
            _aic(xp, pooled, rows, fixed, means=2), _aic(xp, pooled, rows, fixed, means=2, diagonal=True)
        ),
        "proportional": of_shape + of_multiple,
        "gaussian": _aic(xp, of_t, t.rows, fixed) + _aic(xp, of_s, s.rows, fixed),
        "independent": _aic(xp, of_t, t.rows, fixed, diagonal=True) + _aic(xp, of_s, s.rows, fixed, diagonal=True),
    }
    amounts = {name: amount for name, amount in amounts.items() if name in ("one", *names)}
    least = min(amounts.values())
    likely = {name: math.exp((least - amount) / 2) for name, amount in amounts.items()}
    total = sum(likely.values())
    return {name: share / total for name, share in likely.items() if name != "one" and share > LEAST * total}


def _aic(xp: Any, covariance: Array, rows: int, fixed: int, *, means: int = 1, diagonal: bool = False) -> float:
    """Return n log det Σ + nk(n + a)/(n − w − 1 − a), Σ of n rows in k columns about a means; w is k, a diagonal's 1.

    The fraction is the expected squared distance of new rows: E[Σ⁻¹] is larger than the inverse of what Σ estimates
    (Bedrick and Tsai, "Model selection for multivariate regression in small samples", Biometrics 50, 1994).
    """
    columns = int(covariance.shape[0]) - fixed
    left = rows - (1 if diagonal else columns) - 1 - means
    if left <= 0:
        return math.inf
    volume = xp.sum(xp.log(xp.linalg.diagonal(covariance))) if diagonal else xp.linalg.slogdet(covariance)[1]
    return rows * float(volume) + rows * columns * (rows + means) / left
