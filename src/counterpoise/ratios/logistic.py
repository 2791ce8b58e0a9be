"""Ratios by classification: ridge logistic regression on features, the class sizes taken out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from .. import _xp
from .._lending import on_host
from .._types import AllReduce, Array
from .features import Blocks, Features, blocks_of, linear_features, mapped
from .grids import amounts, bandwidths, best_of, bumps_at, grid, with_bandwidth
from .model import Ratio
from .newton import minimise
from .probability import softplus
from .samples import draw, samples, squares, warn_disjoint, whole

__all__ = ["fit_logistic"]

BANDWIDTHS = (0.3, 0.7, 1.4, 3.0)
"""Multiples of the median distance."""
PENALTIES = tuple(10.0 ** (k / 2) for k in range(-12, 2))
TOLERANCE = 1e-14
"""Newton's estimate of the excess, in nats, at which a path goes on to its next penalty; the chosen fit is polished."""


@on_host
def fit_logistic(
    *,
    target: Array,
    train: Array,
    features: Literal["linear", "quadratic", "gaussian"] | Features = "linear",
    bandwidth: float | Sequence[float] | None = None,
    penalty: float | Sequence[float] | None = None,
    n_centres: int = 100,
    seed: int = 0,
    start: Ratio | None = None,
    all_reduce: AllReduce | None = None,
) -> Ratio:
    """Fit log r = φᵀθ by telling the samples apart: min E_pooled[log(1 + e^{∓η})] + ½ λ ‖θ‖², η = log r + log n_t/n_s.

    The norm is the plain one for linear and quadratic features, that of the kernel (Nyström) for Gaussian bumps; the
    constant goes unpenalised.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    features : {"linear", "quadratic", "gaussian"} or Features
        φ of the scaled samples; ``"quadratic"`` adds all products of two, ``"gaussian"`` takes bumps at rows of both.
    bandwidth : float or sequence of float, optional
        σ of Gaussian bumps in units of the scaled samples, one or a grid; default the median distance times 0.3 to 3.
    penalty : float or sequence of float, optional
        λ ≥ 0, one or a grid; default 10⁻⁶ to 10^0.5 (fourteen values).
    n_centres : int
        Number of bumps.
    seed : int
        Of the centres.
    start : Ratio, optional
        An earlier round's fit to data that have moved a little since: its features are used again, its penalty unless
        others are given, and Newton's method starts from its coefficients. The minimum does not depend on them.
    all_reduce : callable, optional
        ``all_reduce(array, "sum")`` adds up arrays over ranks that each hold a shard of both samples; needs
        `Features`, the same on every rank, or ``start``. Every rank gets the fit to all rows.

    Returns
    -------
    Ratio
        With the whole grid's leave-one-out log losses (one Newton step from the fit to all rows); its ``gap`` is
        Newton's estimate of how far the objective is above its minimum.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; amounts out of their range; shards without features.

    References
    ----------
    Bickel, Brückner and Scheffer, JMLR 10 (2009); approximate leave-one-out: Rad and Maleki, JRSS B 82 (2020).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_logistic(target=rng.normal(1, 1, (500, 1)), train=rng.normal(0, 1, (900, 1)))
    >>> cp.ratio(model, np.array([[-1.0], [0.5], [1.5]])).round(1)
    array([0.2, 1. , 2.8])
    """
    xp, target, train = samples(target, train)
    seed = whole(seed)
    warn_disjoint(xp, target, train)
    if start is not None:
        features, penalty = _resumed(start, features, penalty)
    if all_reduce is not None and not isinstance(features, Features):
        raise ValueError("all_reduce needs the same features on every rank; pass Features")
    base = _prepared(xp, features, bandwidth, target, train, n_centres, seed)
    gaussian = base.kind == "gaussian"
    if bandwidth is not None and not gaussian:
        raise ValueError(f"bandwidth is {bandwidth!r}, but {base.kind} features have none; leave it out")
    sigmas = bandwidths(base, bandwidth, given=isinstance(features, Features) or not gaussian)
    if bandwidth is None and gaussian and not isinstance(features, Features):
        sigmas = [float(base.bandwidth) * m for m in BANDWIDTHS]
    lambdas = amounts("penalty", PENALTIES if penalty is None else penalty, zero=True)
    first = None if start is None else start.coefficients
    scored, scores, s, p = len(sigmas) * len(lambdas) > 1, None, 0, 0
    at = partial(_shards, xp, base, target, train, all_reduce)
    fits = [_path(xp, at(sigma), lambdas, first, scored=scored) for sigma in sigmas]
    if scored:
        losses = [[loss for _, _, loss in path] for path in fits]
        (s, p), scores = best_of(losses), grid(xp, base.shift, sigmas, lambdas, losses)
    polished = float(xp.finfo(base.shift.dtype).eps) ** 1.25
    chosen = at(sigmas[s])
    polish = partial(_derivatives, xp, chosen, chosen.norm * lambdas[p])
    found = minimise(xp, polish, fits[s][p][0], tolerance=polished)
    model = _model(xp, with_bandwidth(base, sigmas[s]), chosen, found.point, lambdas[p], found.above)
    return model._replace(scores=scores)


def penalty_path(xp: Any, features: Features, target: Array, train: Array, penalties: Sequence[float]) -> list[Ratio]:
    """Fit every penalty, each from the coefficients of the next larger one; no losses, no polish."""
    shards = _shards(xp, features, target, train, None, float(features.bandwidth))
    path = _path(xp, shards, penalties, None, scored=False)
    return [_model(xp, features, shards, theta, lam, gap) for lam, (theta, gap, _) in zip(penalties, path, strict=True)]


def _model(xp: Any, features: Features, shards: _Shards, theta: Array, penalty: float, gap: Array) -> Ratio:
    """Take the class sizes out."""
    zero = xp.zeros_like(gap)
    theta = xp.concat([theta[:1] - shards.offset, theta[1:]], axis=0)
    return Ratio("logistic", features, theta, 0.0, zero + penalty, gap, None)


def _resumed(start: Ratio, features: Any, penalty: Any) -> tuple[Features, Any]:
    if start.method != "logistic" or start.features is None:
        raise ValueError(f"start was fitted by method {start.method!r}; a fit of fit_logistic is needed")
    if features != "linear":  # the default: nothing was asked for
        raise ValueError("start brings its own features; leave out features, or start")
    return start.features, float(start.penalty) if penalty is None else penalty


def _prepared(
    xp: Any, features: str | Features, bandwidth: Any, target: Array, train: Array, n_centres: int, seed: int
) -> Features:
    if isinstance(features, Features):
        return features
    if features in ("linear", "quadratic"):
        return linear_features(target=target, train=train, degree=1 if features == "linear" else 2)
    if features != "gaussian":
        raise ValueError(f"features is {features!r}; 'linear', 'quadratic', 'gaussian' or Features are needed")
    rows = [
        xp.take(x, _xp.indices(xp, draw(int(x.shape[0]), (n_centres + k) // 2, seed), x), axis=0)
        for k, x in enumerate((target, train))
    ]
    return bumps_at(bandwidth, target=target, train=train, centres=xp.concat(rows, axis=0), seed=seed)


class _Shards(NamedTuple):
    """What one bandwidth's fits look at: features of this rank's rows, and numbers of all ranks' rows."""

    blocks: tuple[Blocks, Blocks]
    norm: Array
    rows: float
    offset: float
    all_reduce: AllReduce | None

    def summed(self, *parts: Array) -> list[Array]:
        """Add up over ranks."""
        return [part if self.all_reduce is None else self.all_reduce(part, "sum") for part in parts]


def _shards(
    xp: Any, base: Features, target: Array, train: Array, all_reduce: AllReduce | None, sigma: float
) -> _Shards:
    features = with_bandwidth(base, sigma)
    width = int(mapped(xp, features, target[:1, :]).shape[1])
    counts = xp.asarray([float(x.shape[0]) for x in (target, train)], dtype=target.dtype, device=_xp.device(target))
    counts = counts if all_reduce is None else all_reduce(counts, "sum")
    n_t, n_s = float(counts[0]), float(counts[1])
    blocks = blocks_of(xp, features, target), blocks_of(xp, features, train)
    return _Shards(blocks, norm_of(xp, features, width, target), n_t + n_s, math.log(n_t / n_s), all_reduce)


def _path(
    xp: Any, shards: _Shards, lambdas: Sequence[float], start: Array | None, *, scored: bool
) -> list[tuple[Array, Array, float]]:
    """Coefficients, gap and leave-one-out loss for each penalty; fit and Hessian begin with the next larger one's."""
    norm, hessian, before = shards.norm, None, 0.0
    theta = xp.zeros_like(norm[0, :]) if start is None else xp.astype(start, norm.dtype)
    theta = xp.concat([theta[:1] + shards.offset, theta[1:]], axis=0)
    found: dict[float, tuple[Array, Array, float]] = {}
    for lam in sorted(set(lambdas), reverse=True):
        at = partial(_derivatives, xp, shards, norm * lam)
        near = None if hessian is None else hessian + norm * (lam - before)
        theta, gap, hessian = minimise(xp, at, theta, tolerance=TOLERANCE, hessian=near)
        hessian = at(theta)[2]() if scored else hessian
        loss = _leave_one_out(xp, shards, hessian, theta) if scored else 0.0
        found[lam], before = (theta, gap, loss), lam
    return [found[lam] for lam in lambdas]


def norm_of(xp: Any, features: Features, width: int, like: Array) -> Array:
    """Matrix of the squared norm: the kernel between centres, the identity elsewhere; nothing for the constant."""
    eye = xp.eye(width, dtype=like.dtype, device=_xp.device(like))
    constant = xp.concat([xp.ones_like(eye[:1, 0]), xp.zeros_like(eye[1:, 0])], axis=0)
    rest = (1 - constant[:, None]) * (1 - constant[None, :])
    if features.kind != "gaussian":
        return eye * rest
    kernel = xp.exp(squares(xp, features.centres, features.centres) / (-2 * features.bandwidth**2))
    bumps = eye[1 : 1 + int(kernel.shape[0]), :]
    padded = xp.matmul(xp.matrix_transpose(bumps), xp.matmul(kernel, bumps))
    tilts = eye * (rest - xp.sum(bumps, axis=0)[:, None])
    return padded + tilts + 1e-8 * eye * rest


def logistic_noise(xp: Any, model: Ratio, target: Array, train: Array) -> Array:
    """Rows whose squared products with the features add up to the sampling variance of log r, to first order.

    With H the mean log loss's Hessian and B that of the objective: B⁻¹HB⁻¹ over the rows of both samples, as if these
    had been drawn together, so that the constant varies by 1/n_t + 1/n_s as well.
    """
    hessian, norm, rows = _curvature(xp, model, target, train)
    values, vectors = xp.linalg.eigh(hessian - norm)
    root = vectors * xp.sqrt(xp.maximum(values, xp.zeros_like(values)))[None, :]
    return xp.matmul(xp.matrix_transpose(root), _inverse(xp, hessian)) / math.sqrt(rows)


def in_effect(xp: Any, model: Ratio, target: Array, train: Array) -> float:
    """Return the number of coefficients in effect, the trace of H(H + λP)⁻¹, the constant aside."""
    hessian, norm, _ = _curvature(xp, model, target, train)
    return float(xp.sum(_inverse(xp, hessian) * (hessian - norm))) - 1


def _curvature(xp: Any, model: Ratio, target: Array, train: Array) -> tuple[Array, Array, float]:
    """Return the Hessian of the objective, H + λP, its ridge λP, and the number of rows."""
    features = model.features or linear_features(target=target, train=train)
    shards = _shards(xp, features, target, train, None, float(features.bandwidth))
    norm = shards.norm * float(model.penalty)
    theta = xp.concat([model.coefficients[:1] + shards.offset, model.coefficients[1:]], axis=0)
    return _derivatives(xp, shards, norm, theta)[2](), norm, shards.rows


def _inverse(xp: Any, hessian: Array) -> Array:
    width, eps = int(hessian.shape[0]), float(xp.finfo(hessian.dtype).eps)
    # rounding moves eigenvalues by as much: without it, wide bumps in float32 turn negative
    ridge = width * eps * xp.max(xp.abs(hessian)) * xp.eye(width, dtype=hessian.dtype, device=_xp.device(hessian))
    return xp.linalg.inv(hessian + ridge)


def _derivatives(xp: Any, shards: _Shards, norm: Array, theta: Array) -> tuple[Array, Array, Callable[[], Array]]:
    """Mean log loss with its ridge, its gradient, and what computes its Hessian."""
    value, gradient, roots = theta[:1] * 0, theta * 0, []
    for label, blocks_of_class in zip((1.0, 0.0), shards.blocks, strict=True):
        for phi in blocks_of_class():
            eta = xp.matmul(phi, theta)
            p, loss = _sigmoid(xp, eta), softplus(xp, eta if label == 0.0 else -eta)
            value = value + xp.sum(loss)
            gradient = gradient + xp.matmul(xp.matrix_transpose(phi), p - label)
            roots.append(xp.sqrt(p * (1 - p)))
    value, gradient = (part / shards.rows for part in shards.summed(value, gradient))
    pull = xp.matmul(norm, theta)
    return value[0] + xp.sum(theta * pull) / 2, gradient + pull, partial(_hessian, xp, shards, norm, roots)


def _hessian(xp: Any, shards: _Shards, norm: Array, roots: Sequence[Array]) -> Array:
    """Mean of φφᵀ times the squared root of each row, and the ridge."""
    total, at = norm * 0, iter(roots)
    for of_class in shards.blocks:
        for phi in of_class():
            scaled = phi * next(at)[:, None]
            total = total + xp.matmul(xp.matrix_transpose(scaled), scaled)
    return shards.summed(total)[0] / shards.rows + norm


def _leave_one_out(xp: Any, shards: _Shards, hessian: Array, theta: Array) -> float:
    """Mean log loss of each row under the fit without it, to first order."""
    eps, inverse = float(xp.finfo(theta.dtype).eps), _inverse(xp, hessian)
    total = theta[:1] * 0
    for label, of_class in zip((1.0, 0.0), shards.blocks, strict=True):
        for phi in of_class():
            eta = xp.matmul(phi, theta)
            p = _sigmoid(xp, eta)
            lever = xp.sum(xp.matmul(phi, inverse) * phi, axis=1) / shards.rows
            left = xp.maximum(1 - lever * p * (1 - p), xp.zeros_like(p) + eps)
            moved = eta + lever * (p - label) / left
            total = total + xp.sum(softplus(xp, moved if label == 0.0 else -moved))
    loss = float(shards.summed(total)[0][0]) / shards.rows
    return loss if math.isfinite(loss) else math.inf


def _sigmoid(xp: Any, eta: Array) -> Array:
    small = xp.exp(-xp.abs(eta))
    return xp.where(eta >= 0, 1 / (1 + small), small / (1 + small))
