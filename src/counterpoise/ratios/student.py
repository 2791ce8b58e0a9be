"""Ratios of independent Student's t: of columns whose tails are heavier than a Gaussian's."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import _xp
from .._types import Array
from .features import Features, linear_features
from .model import Ratio
from .samples import ROUNDING, draw, samples

FREEDOM = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0, 20.0)
"""Degrees of freedom that are tried."""
GAUSSIAN = 1000.0
"""Degrees of freedom of columns whose tails are a Gaussian's."""
FEW = 50
"""Rows of the smaller sample from which tails are looked at."""
PER_COLUMN = 80
"""Rows of both samples for each column, forty for each coefficient, from which they are looked at."""
TRIED = 1000
"""Most rows of a sample that degrees of freedom and a basis are tried on."""
ROWS = 20_000
"""Most rows of a sample that locations and spreads are of: their errors are then far below those of bumps."""
STEPS = 8
"""Of EM for degrees of freedom, each started where the last ones ended."""
HEAVY = 3.0
"""Standard errors by which the kurtosis of one of the samples must exceed a Gaussian's."""
SKEWED = 0.35
"""Most asymmetry (q.9 + q.1 − 2 q.5)/(q.9 − q.1) of both samples; an exponential distribution has 0.47."""
TIED = 0.1
"""Largest share of rows that repeat another one's value."""
GAIN = 5.0
"""Nats of log likelihood that a column's tails must be worth."""
OWN = 2.0
"""Nats from which both samples have degrees of freedom of their own."""


def fit_student(*, target: Array, train: Array) -> Ratio:
    """Fit log r as that of independent Student's t, Gaussians where tails are not heavy; see `student_tails`."""
    xp, target, train = samples(target, train)
    features = linear_features(target=target, train=train)
    features = features._replace(kind="student", tails=student_tails(xp, features, target, train))
    zero = features.bandwidth * 0
    return Ratio("gaussian", features, xp.stack([zero, zero + 1]), 0.0, zero, zero, None)


def has_heavy_tails(xp: Any, target: Array, train: Array) -> bool:
    """Say whether a column has tails that a Student's t describes, and a Gaussian does not.

    That is asked of columns without ties that are symmetric in both samples and have more than a Gaussian's kurtosis in
    one; then of the likelihood, in the columns of `student_tails`.
    """
    n_t, n_s = int(target.shape[0]), int(train.shape[0])
    if min(n_t, n_s) < FEW or n_t + n_s < PER_COLUMN * int(target.shape[1]):
        return False
    both = _drawn(xp, linear_features(target=target, train=train), target, train, TRIED)
    if not bool(xp.any(_candidates(xp, both))):
        return False
    return any(bool(xp.any(fit.freedom < GAUSSIAN)) for fit in _chosen(xp, both)[0])


def student_tails(xp: Any, features: Features, target: Array, train: Array) -> Array:
    """Return degrees of freedom, locations and spreads of both samples by maximum likelihood, as `Features.tails`.

    Columns are independent in both samples: those of the samples, or those in which both scatter matrices (of
    multivariate t, four degrees of freedom) are diagonal, if BIC prefers them. A column has the same degrees of freedom
    in both samples unless the likelihood says otherwise.
    """
    fits, basis = _chosen(xp, _drawn(xp, features, target, train, TRIED))
    both = [xp.matmul(z, basis) for z in _drawn(xp, features, target, train, ROWS)]
    floor = _least_square(xp, both)
    t, s = (_fitted(xp, z, fit.freedom, floor, fit) for z, fit in zip(both, fits, strict=True))
    return xp.concat([xp.stack([_constant(xp, t) - _constant(xp, s), *t[:3], *s[:3]]), basis], axis=0)


class _Fit(NamedTuple):
    """Of every column of one sample: degrees of freedom, location and spread, and the log likelihood."""

    freedom: Array
    location: Array
    spread: Array
    value: Array


def _drawn(xp: Any, features: Features, target: Array, train: Array, most: int) -> list[Array]:
    """Scaled rows of both samples."""
    drawn = [xp.take(x, _xp.indices(xp, draw(int(x.shape[0]), most, 0), x), axis=0) for x in (target, train)]
    return [(x - features.shift) / features.scale for x in drawn]


def _candidates(xp: Any, both: list[Array]) -> Array:
    heavy, fits = [], []
    for z in both:
        n, off = int(z.shape[0]), z - xp.mean(z, axis=0)
        variance = xp.mean(off**2, axis=0)
        kurtosis = xp.mean(off**4, axis=0) / xp.where(variance > 0, variance, xp.ones_like(variance)) ** 2
        ranked = xp.sort(z, axis=0)
        tied = xp.sum(xp.astype(ranked[1:, :] == ranked[:-1, :], z.dtype), axis=0)
        low, middle, high = _deciles(xp, z)
        heavy.append(kurtosis > 3 + HEAVY * math.sqrt(24 / n))
        fits.append((tied < TIED * n) & (xp.abs(high + low - 2 * middle) < SKEWED * (high - low)))
    return (heavy[0] | heavy[1]) & fits[0] & fits[1]


def _chosen(xp: Any, both: list[Array]) -> tuple[list[_Fit], Array]:
    """Return fits to both samples, and the columns that they are of."""
    d, rows = int(both[0].shape[1]), sum(int(z.shape[0]) for z in both)
    basis = xp.eye(d, dtype=both[0].dtype, device=_xp.device(both[0]))
    fits = _independent(xp, both)
    turned = _diagonal_basis(xp, both) if d > 1 else None
    if turned is not None:
        others = _independent(xp, [xp.matmul(z, turned) for z in both])
        gain = sum(xp.sum(a.value - b.value) for a, b in zip(others, fits, strict=True))
        gain = gain + rows * xp.linalg.slogdet(turned)[1]
        if bool(gain > d * (d - 1) / 2 * math.log(rows)):
            fits, basis = others, turned
    return fits, basis


def _independent(xp: Any, both: list[Array]) -> list[_Fit]:
    """Fit every column by itself."""
    floor = _least_square(xp, both)
    gaussians = [_gaussian(xp, z, floor) for z in both]
    own, shared, last = gaussians, gaussians, gaussians
    for freedom in reversed(FREEDOM):
        last = [_fitted(xp, z, fit.freedom * 0 + freedom, floor, fit) for z, fit in zip(both, last, strict=True)]
        more = last[0].value + last[1].value > shared[0].value + shared[1].value
        shared = [_where(xp, more, fit, best) for fit, best in zip(last, shared, strict=True)]
        own = [_where(xp, fit.value > best.value, fit, best) for fit, best in zip(last, own, strict=True)]
    values = [pair[0].value + pair[1].value for pair in (gaussians, shared, own)]
    differ = values[2] - values[1] > OWN
    chosen = [_where(xp, differ, a, b) for a, b in zip(own, shared, strict=True)]
    worth = _candidates(xp, both) & (chosen[0].value + chosen[1].value - values[0] > GAIN)
    return [_where(xp, worth, a, b) for a, b in zip(chosen, gaussians, strict=True)]


def _where(xp: Any, condition: Array, first: _Fit, second: _Fit) -> _Fit:
    return _Fit(*(xp.where(condition, a, b) for a, b in zip(first, second, strict=True)))


def _least_square(xp: Any, both: list[Array]) -> Array:
    """Square of a hundredth of what both samples spread by, where a column that is constant in one has its spread."""
    width = sum(high - low for low, _, high in (_deciles(xp, z) for z in both)) / 2
    least = 4 * ROUNDING * float(xp.finfo(width.dtype).eps)
    width = xp.where(width > least, width, xp.sqrt(sum(xp.var(z, axis=0) for z in both) / 2))
    return xp.where(width > least, width, xp.ones_like(width)) ** 2 / 1e4


def _deciles(xp: Any, z: Array) -> tuple[Array, Array, Array]:
    """Return the first, fifth and ninth."""
    ranked, last = xp.sort(z, axis=0), int(z.shape[0]) - 1
    return ranked[last // 10, :], ranked[last // 2, :], ranked[last * 9 // 10, :]


def _gaussian(xp: Any, z: Array, floor: Array) -> _Fit:
    location = xp.mean(z, axis=0)
    spread = xp.sqrt(xp.maximum(xp.mean((z - location) ** 2, axis=0), floor))
    return _valued(xp, z, _Fit(xp.zeros_like(spread) + GAUSSIAN, location, spread, spread))


def _fitted(xp: Any, z: Array, freedom: Array, floor: Array, start: _Fit) -> _Fit:
    """Fit location and spread by EM."""
    location, square = start.location, start.spread**2
    for _ in range(STEPS):
        weight = (freedom + 1) / (freedom + (z - location) ** 2 / square)
        location = xp.sum(weight * z, axis=0) / xp.sum(weight, axis=0)
        square = xp.maximum(xp.sum(weight * (z - location) ** 2, axis=0) / xp.sum(weight, axis=0), floor)
    return _valued(xp, z, _Fit(freedom, location, xp.sqrt(square), square))


def _valued(xp: Any, z: Array, fit: _Fit) -> _Fit:
    far = xp.log1p(((z - fit.location) / fit.spread) ** 2 / fit.freedom)
    return fit._replace(value=xp.sum(_constant(xp, fit) - (fit.freedom + 1) / 2 * far, axis=0))


def _constant(xp: Any, fit: _Fit) -> Array:
    """Return what of the log density does not depend on the row, up to ½ log π."""
    of_freedom = xp.zeros_like(fit.spread)
    for freedom in (*FREEDOM, GAUSSIAN):
        value = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom) / 2
        of_freedom = xp.where(fit.freedom == freedom, xp.zeros_like(of_freedom) + value, of_freedom)
    return of_freedom - xp.log(fit.spread)


def _diagonal_basis(xp: Any, both: list[Array]) -> Array | None:
    """Return columns in which both scatter matrices are diagonal; none where one is near singular."""
    t, s = (_scatter(xp, z) for z in both)
    values, vectors = xp.linalg.eigh((t + s) / 2)
    if not bool(xp.min(values) > 1e-6 * xp.max(values)):
        return None
    white = vectors / xp.sqrt(values)
    return xp.matmul(white, xp.linalg.eigh(xp.matmul(xp.matrix_transpose(white), xp.matmul(t, white)))[1])


def _scatter(xp: Any, z: Array, freedom: float = 4.0) -> Array:
    """Scatter matrix of a multivariate t, by EM."""
    n, d = (int(size) for size in z.shape)
    weight, scatter = xp.ones_like(z[:, :1]), xp.eye(d, dtype=z.dtype, device=_xp.device(z))
    ridge = 1e-9 * scatter
    for _ in range(2 * STEPS):
        off = z - xp.sum(weight * z, axis=0) / xp.sum(weight)
        scatter = xp.matmul(xp.matrix_transpose(weight * off), off) / n
        most = xp.max(xp.abs(scatter))
        scatter = scatter + ridge * xp.where(most > 0, most, xp.ones_like(most))
        distance = xp.sum(off * xp.matmul(off, xp.linalg.inv(scatter)), axis=1)
        weight = ((freedom + d) / (freedom + distance))[:, None]
    return scatter
