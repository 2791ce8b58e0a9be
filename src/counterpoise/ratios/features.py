"""Samples into features: units taken out, Gaussian bumps, powers, and always a constant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from .. import _xp
from .._types import Array
from .samples import (
    chunks,
    draw,
    location_and_spread,
    median_distance,
    relevance,
    same_width,
    samples,
    squares,
    table,
    warn,
    whole,
)

__all__ = ["Features", "feature_map", "gaussian_features", "linear_features"]

KEPT = 2**25
"""Most feature values that are kept between iterations; beyond, they are computed again."""

Kind = Literal["gaussian", "linear", "quadratic", "student"]
Blocks = Callable[[], Iterator[Array]]


class Features(NamedTuple):
    """How samples become features; from `gaussian_features` or `linear_features`, for `feature_map`.

    Attributes
    ----------
    kind : {"gaussian", "linear", "quadratic", "student"}
        exp(−‖z − c‖²/2σ²), z, or z and all products of its entries, of z = (x − shift)/scale; and a constant before
        them all; or the log ratio in `tails`.
    shift, scale : array, shape (d,)
        Location and spread of the samples that the features were made for: units do not matter.
    centres : array, shape (b, d)
        Rows c, in units of z; none but for ``"gaussian"``.
    bandwidth : array, shape ()
        σ, in units of z.
    tilts : array, shape (k, 1 + d) or (k, 1 + d + d(d + 1)/2), or None
        Coefficients of log ratios l over 1 and z, or the quadratic features, from `fit_kliep` and `fit_ulsif`: each
        adds a feature eˡ/(βeˡ + 1 − β) to Gaussian bumps.
    share : array, shape (), or None
        Their β in (0, 1): no tilt exceeds 1/β.
    tails : array, shape (7 + d, d), or None
        The log ratio l of independent Student's t, the one feature beside a constant of ``"student"``, and instead of
        ``tilts`` a tilt of ``"gaussian"``. Row by row, of every column of z @ tails[7:]: the constant of l, then
        degrees of freedom, location and spread under the target, and the same under the training sample.
    """

    kind: Kind
    shift: Array
    scale: Array
    centres: Array
    bandwidth: Array
    tilts: Array | None = None
    share: Array | None = None
    tails: Array | None = None


def gaussian_features(
    *,
    target: Array,
    train: Array,
    n_centres: int = 100,
    centres: Array | None = None,
    bandwidth: float | None = None,
    seed: int = 0,
) -> Features:
    """Prepare Gaussian bumps at target rows, where the ratio is large: exp(−‖z − c‖²/2σ²), and a constant.

    Columns in which the samples hardly differ, in standard errors of their means and variances, get a larger scale, so
    that distances are those of the others. However many columns do not differ, neither by themselves nor together, they
    get no more of squared distances than by chance they may hide, in proportion to what is seen in the others.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples.
    n_centres : int
        Number of centres, drawn without replacement from the target; all its rows if it has fewer.
    centres : array, shape (b, d), optional
        Centres in the units of the samples, instead of drawn ones.
    bandwidth : float, optional
        σ in units of the scaled samples; default the median distance between (up to 500) pooled samples.
    seed : int
        Of the draws.

    Returns
    -------
    Features
        The bumps.

    Raises
    ------
    TypeError, ValueError
        Samples that are no tables, of different widths, empty, or with NaN or infinite entries; a bandwidth that is
        not positive.

    References
    ----------
    Centres at the target: Kanamori, Hido and Sugiyama, JMLR 10 (2009), section 5.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> target, train = np.array([[0.0], [2.0]]), np.array([[-2.0], [0.0]])
    >>> features = cp.gaussian_features(target=target, train=train, bandwidth=1.0)
    >>> cp.feature_map(features, np.array([[2.0]])).shape
    (1, 3)
    """
    xp, target, train = samples(target, train)
    seed = whole(seed)
    shift, scale = location_and_spread(xp, target, train)
    scale = scale / relevance(xp, (target - shift) / scale, (train - shift) / scale)
    if centres is None:
        rows = draw(int(target.shape[0]), _xp.count("n_centres", n_centres), seed)
        chosen = xp.take(target, _xp.indices(xp, rows, target), axis=0)
    else:
        chosen = table(xp, "centres", centres)
        same_width({"target": target, "centres": chosen})
    z = (chosen - shift) / scale
    if bandwidth is None:
        sigma = median_distance(xp, (target - shift) / scale, (train - shift) / scale, seed)
    else:
        allowed = "a positive, finite number in units of the scaled samples"
        sigma = xp.zeros_like(shift[0]) + _xp.number("bandwidth", bandwidth, lambda v: 0.0 < v < math.inf, allowed)
    return Features("gaussian", shift, scale, z, sigma)


def linear_features(*, target: Array, train: Array, degree: Literal[1, 2] = 1) -> Features:
    """Prepare scaled samples as features, with their squares and products for degree 2, and a constant.

    Parameters
    ----------
    target, train : array, shape (n, d)
        Samples that the units are taken from.
    degree : {1, 2}
        2 adds all d(d + 1)/2 products: then the log ratio of any two Gaussians is linear in the features.

    Returns
    -------
    Features
        The map.

    Raises
    ------
    TypeError, ValueError
        As `gaussian_features`; a degree that is neither 1 nor 2.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> features = cp.linear_features(target=np.array([[3.0], [5.0]]), train=np.array([[1.0], [3.0]]), degree=2)
    >>> cp.feature_map(features, np.array([[4.0]]))
    array([[1., 1., 1.]])
    """
    if degree not in (1, 2):
        raise ValueError(f"degree is {degree!r}; 1 (linear) or 2 (quadratic) is needed")
    xp, target, train = samples(target, train)
    shift, scale = location_and_spread(xp, target, train)
    none = xp.zeros_like(shift)[None, :][:0, :]
    return Features("linear" if degree == 1 else "quadratic", shift, scale, none, xp.ones_like(shift[0]))


def feature_map(features: Features, x: Array, /) -> Array:
    """Evaluate features, a constant first.

    Parameters
    ----------
    features : Features
        From `gaussian_features` or `linear_features`.
    x : array, shape (n, d)
        Samples; a vector is a sample of one feature.

    Returns
    -------
    array, shape (n, 1 + b)
        1 and the features, tilts last.

    Raises
    ------
    TypeError, ValueError
        Samples of another library, device or width than the features'.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> x = np.array([[0.0], [1.0]])
    >>> cp.feature_map(cp.linear_features(target=x, train=x), x)
    array([[ 1., -1.],
           [ 1.,  1.]])
    """
    xp = _xp.namespace(x=x, features=features.shift)
    z = table(xp, "x", x, finite=False)
    if int(z.shape[1]) != int(features.shift.shape[0]):
        raise ValueError(f"x has {z.shape[1]} features, but the ratio was made for {features.shift.shape[0]}")
    return mapped(xp, features, z)


def mapped(xp: Any, features: Features, x: Array) -> Array:
    """Evaluate the features of checked samples."""
    z = (x - features.shift) / features.scale
    if features.kind != "linear":
        z = _in_reach(xp, z, float(xp.finfo(z.dtype).max) ** 0.45)
    if features.kind == "gaussian":
        parts = [xp.ones_like(z[:, :1]), xp.exp(squares(xp, z, features.centres) / (-2 * features.bandwidth**2))]
        if features.share is not None:
            parts.append(_relative(xp, _tilts(xp, features, z), features.share))
        return xp.concat(parts, axis=1)
    if features.kind == "student":
        return xp.concat([xp.ones_like(z[:, :1]), _tilts(xp, features, z)], axis=1)
    return _powers(xp, z, quadratic=features.kind == "quadratic")


def tilt_logs(xp: Any, features: Features, x: Array) -> Iterator[Array]:
    """Yield the log ratios of the tilts, one a column, before their bound; chunk by chunk."""
    return (_tilts(xp, features, (part - features.shift) / features.scale) for part in chunks(x))


def _powers(xp: Any, z: Array, *, quadratic: bool) -> Array:
    products = [z[:, i : i + 1] * z[:, i:] for i in range(int(z.shape[1]) if quadratic else 0)]
    return xp.concat([xp.ones_like(z[:, :1]), z, *products], axis=1)


def _in_reach(xp: Any, z: Array, most: float) -> Array:
    """Return the samples, or where they are farther off as far as that: squares stay finite."""
    return xp.minimum(xp.maximum(z, xp.zeros_like(z) - most), xp.zeros_like(z) + most)


def _tilts(xp: Any, features: Features, z: Array) -> Array:
    """Evaluate log ratios of Gaussians or Student's t, one a column."""
    z = _in_reach(xp, z, 1e9)
    if features.tilts is not None:
        quadratic = int(features.tilts.shape[1]) > 1 + int(z.shape[1])
        return xp.matmul(_powers(xp, z, quadratic=quadratic), xp.matrix_transpose(features.tilts))
    if features.tails is None:
        return z[:, :0]
    z = xp.matmul(z, features.tails[7:, :])
    constant, *rows = (features.tails[k, :] for k in range(7))
    t, s = (
        (freedom + 1) / 2 * xp.log1p(((z - location) / spread) ** 2 / freedom)
        for freedom, location, spread in (rows[:3], rows[3:])
    )
    return xp.sum(constant + s - t, axis=1, keepdims=True)


def _relative(xp: Any, logs: Array, share: Array) -> Array:
    """Turn log ratios into relative ratios, so that no row far out rules a mean."""
    return 1 / (share + (1 - share) * xp.exp(xp.minimum(-logs, xp.zeros_like(logs) + 80.0)))


def warn_unfelt() -> None:
    """Warn that the training sample feels no bump."""
    warn(
        "fewer than about 5 training rows feel any of the bumps at target rows: the samples do not overlap at this "
        "bandwidth, and r = 1 is all that is left to fit; pass a larger bandwidth, or training rows near the target"
    )


def blocks_of(xp: Any, features: Features, x: Array) -> Blocks:
    """Return the features chunk by chunk, kept between calls where they fit."""
    width = int(mapped(xp, features, x[:1, :]).shape[1])
    if int(x.shape[0]) * width <= KEPT:
        kept = [mapped(xp, features, part) for part in chunks(x)]
        return lambda: iter(kept)
    return lambda: (mapped(xp, features, part) for part in chunks(x))
