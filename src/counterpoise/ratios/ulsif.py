"""Least-squares ratios in closed form, with an exact leave-one-out score for every bandwidth and penalty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import _xp
from .._lending import on_host
from .._types import Array
from .features import Features, mapped, warn_unfelt
from .grids import amounts, bandwidths, bumps_at, grid, judge, unseen, with_bandwidth
from .model import Ratio
from .samples import PAIRS, chunks, paired, samples, warn_disjoint, whole
from .statistics import Statistics, ratio_statistics
from .tilts import BOUNDED, Asked, Tilts, kind_of_tilts, optimism, richest, typical_log, with_bounded_tilts

__all__ = ["fit_ulsif", "ulsif_from_statistics"]

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-8, 4))
RELATIVE, LEAST_RELATIVE = 0.3, 0.01
"""β of the loss by which pairs of σ and λ are compared; and the least one, where most target rows' ratios are large."""
ASKED, ASKED_RELATIVE = Asked(in_effect=20.0, columns=25.0), Asked(in_effect=20.0, columns=4.0)
"""Left-out rows helped find which columns differ: a tilt that hangs on that has made seventy of a p/q of ten."""
TILTED, TILTED_RELATIVE = 10.0, 30.0
"""By what the ridge is divided for the richest tilt, which may be most of the ratio; p/q may be beyond its bound."""


@on_host
def fit_ulsif(
    *,
    target: Array,
    train: Array,
    alpha: float = 0.0,
    features: Features | None = None,
    bandwidth: float | Sequence[float] | None = None,
    penalty: float | Sequence[float] | None = None,
    n_centres: int = 100,
    tilts: bool | Tilts = True,
    seed: int = 0,
) -> Ratio:
    """Fit r = φᵀθ by least squares: min ½ E_m[r²] − E_target[r] + ½ λ θᵀPθ, m = α target + (1 − α) train.

    At α = 0 this is uLSIF, an estimate of p/q; at α > 0 RuLSIF, of the relative ratio p/(αp + (1 − α)q), which cannot
    exceed 1/α. P is diagonal: 1, but a thirtieth for the tilt with the most coefficients (α < 0.1: a tenth), and 0 for
    the constant, so that before clipping at 0 the mean of the ratio under m is exactly 1, and samples of one
    distribution get r = 1 however strong the penalty.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    alpha : float
        α in [0, 1).
    features : Features, optional
        φ; default Gaussian bumps at target rows, and tilts. Bumps that fewer than about 5 training rows feel are left
        out.
    bandwidth : float or sequence of float, optional
        σ in units of the scaled samples, one or a grid; default the median distance times 0.1 to 4 (nine values).
    penalty : float or sequence of float, optional
        λ ≥ 0, one or a grid; default 10⁻⁴ to 10^1.5 (twelve values).
    n_centres : int
        Number of bumps.
    tilts : bool or {"linear", "proportional", "both", "independent", "all", "student"}
        Whether default features hold, beside bumps, ratios of Gaussians or Student's t, each as p/(βp + (1 − β)q);
        which, and with how many rows, is as in `fit_kliep`, but that the linear one of more than ten columns asks for
        twenty rows for each coefficient in effect and four for each column, 25 if α < 0.1. β is α, and at least 0.1, or
        0.01 where no row's ratio exceeds ten. They stay those of all rows where rows are left out.
    seed : int
        Of the centres, and of the pairs that are left out.

    Returns
    -------
    Ratio
        With the whole grid's leave-one-out losses: one target and one training row left out at a time, exactly, until
        every row was (at most 20,000 pairs). The loss is that of the relative ratio at β = max(α, 0.3) which the fit
        implies: bounded, where that of p/q hangs on its few largest values. With α < 0.1 β is at most one over the
        richest tilt's ratio at the median target row, but 0.01 at least. Best is the least loss plus half its standard
        error; chosen is, of all fits within 0.75 standard errors of the paired difference from it, the one with the
        fewest features in effect, tr H(H + λP)⁻¹; or the largest bandwidth and penalty, which leave r = 1, if with
        fifty rows of each sample the best loss is not one and a half standard errors below that of r = 1. A warning
        says so where the training sample feels no bump, so that the ratio is 1.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; amounts out of their range; fewer than two rows of a
        sample where a grid is to be searched.

    References
    ----------
    Kanamori, Hido and Sugiyama, JMLR 10 (2009), equation 13; Yamada et al., Neural Computation 25 (2013), equation 6.
    The leave-one-out formula is exact for any α and unequal sample sizes.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_ulsif(target=rng.normal(1, 1, (500, 1)), train=rng.normal(0, 1, (500, 1)))
    >>> cp.ratio(model, np.array([[-1.0], [0.5], [1.5]])).round(1)
    array([0.2, 1.2, 3.1])
    """
    alpha = _checked(alpha)
    xp, target, train = samples(target, train)
    seed = whole(seed)
    warn_disjoint(xp, target, train)
    base = features or bumps_at(bandwidth, target=target, train=train, n_centres=n_centres, seed=seed)
    sigmas = bandwidths(base, bandwidth, given=features is not None)
    bumps = base
    if features is None:
        kind = kind_of_tilts(xp, bumps, target, train, tilts, ASKED if alpha < BOUNDED else ASKED_RELATIVE)
        base = with_bounded_tilts(xp, bumps, target, train, alpha, kind)
    lambdas = amounts("penalty", PENALTIES if penalty is None else penalty, zero=True)
    scores = None
    n_t, n_s = int(target.shape[0]), int(train.shape[0])
    if len(sigmas) * len(lambdas) > 1:
        if min(n_t, n_s) < 2:
            raise ValueError("one row of a sample cannot be left out; pass one bandwidth and one penalty, or more rows")
        beta = _compared_at(xp, base, target, alpha)
        left = [_leave_one_out(xp, base, sigma, lambdas, alpha, beta, target, train, seed) for sigma in sigmas]
        of_t, of_s, complexity = (xp.concat(parts, axis=-1) for parts in zip(*left, strict=True))
        in_effect = [float(complexity[k]) for k in range(int(complexity.shape[0]))]
        judged = judge(xp, of_t, of_s, in_effect, (min(n_t, PAIRS), min(n_s, PAIRS)))
        width = len(lambdas)
        scores = grid(xp, base.shift, sigmas, lambdas, [judged.losses[i * width :][:width] for i in range(len(sigmas))])
        s, p = divmod(judged.chosen, width)
        if unseen(judged, -0.5 - optimism(xp, base, target, train, beta), n_t, n_s):
            s, p = (max(range(len(values)), key=values.__getitem__) for values in (sigmas, lambdas))
            base = bumps
        sigmas, lambdas = [sigmas[s]], [lambdas[p]]
    chosen = with_bandwidth(base, sigmas[0])
    statistics = ratio_statistics(chosen, target=target, train=train)
    model = ulsif_from_statistics(statistics, chosen, alpha=alpha, penalty=lambdas[0])
    return model._replace(scores=scores)


def ulsif_from_statistics(
    statistics: Statistics, features: Features, /, *, alpha: float = 0.0, penalty: float
) -> Ratio:
    """Fit `fit_ulsif`'s ratio from sums alone, whatever chunks, shards or ranks they come from.

    Parameters
    ----------
    statistics : Statistics
        From `ratio_statistics` and `add_statistics`.
    features : Features
        The ones that were summed.
    alpha : float
        α in [0, 1).
    penalty : float
        λ ≥ 0.

    Returns
    -------
    Ratio
        The same as from the samples themselves.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> x = np.array([[0.0], [2.0], [3.0]])
    >>> features = cp.gaussian_features(target=x, train=x, bandwidth=1.0)
    >>> part = cp.ratio_statistics(features, target=x, train=x)
    >>> cp.ratio(cp.ulsif_from_statistics(part, features, penalty=0.1), x)
    array([1., 1., 1.])
    """
    alpha = _checked(alpha)
    xp = _xp.namespace(statistics=statistics.target_sum, features=features.shift)
    (lam,) = amounts("penalty", penalty, zero=True)
    target_mean = statistics.target_sum / statistics.n_target
    second = _mixed(alpha, statistics.target_outer / statistics.n_target, statistics.train_outer / statistics.n_train)
    roots = _inverse_roots(xp, features, statistics, alpha)
    if not bool(xp.any(roots[1:] > 0)):
        warn_unfelt()
    basis = _eigenbasis(xp, second, roots)
    inverse = _inverse(xp, basis, [lam])[:, 0]
    theta = xp.matmul(basis.vectors, inverse * xp.matmul(xp.matrix_transpose(basis.vectors), target_mean))
    zero = xp.zeros_like(theta[0])
    return Ratio("ulsif", features, theta, float(alpha), zero + lam, zero, None)


def _checked(alpha: float) -> float:
    return _xp.number("alpha", alpha, lambda v: 0.0 <= v < 1.0, "a number in [0, 1)")


class _Basis(NamedTuple):
    """Columns V with VᵀHV = diag(1, e) and VᵀPV = diag(0, 1…1), P the penalty's diagonal."""

    vectors: Array
    values: Array


def _mixed(alpha: float, of_target: Array, of_train: Array) -> Array:
    return of_train if alpha == 0.0 else alpha * of_target + (1.0 - alpha) * of_train


def _inverse_roots(xp: Any, features: Features, statistics: Statistics, alpha: float) -> Array:
    """Return P^−½: more than 1 for the richest tilt, 0 for bumps felt by fewer than 5 training rows (of 10: half)."""
    if features.kind != "gaussian":
        return xp.ones_like(statistics.train_sum)
    enough = xp.minimum(statistics.n_train / 2, xp.zeros_like(statistics.n_train) + 5.0)
    felt = xp.astype(statistics.train_sum >= enough, statistics.train_sum.dtype)
    at = int(felt.shape[0]) + richest(features)
    more = 1.0 if features.share is None else math.sqrt(TILTED if alpha < BOUNDED else TILTED_RELATIVE)
    return xp.concat([felt[:at], felt[at : at + 1] * more, felt[at + 1 :]], axis=0)


def _eigenbasis(xp: Any, second: Array, roots: Array) -> _Basis:
    """Take the constant out of the other features, then diagonalise what is left: one decomposition for all λ.

    Features that are not felt are left out: where no training row is, nothing holds the ratio down.
    """
    second = second * roots[:, None] * roots[None, :]
    first = second[0, 1:] / second[0, 0]
    values, vectors = xp.linalg.eigh(second[1:, 1:] - first[:, None] * second[0, 1:][None, :])
    constant = xp.concat([1 / xp.sqrt(second[:1, 0]), xp.zeros_like(first)], axis=0)
    rest = xp.concat([-xp.matmul(first[None, :], vectors), vectors], axis=0)
    vectors = xp.concat([constant[:, None], rest], axis=1) * roots[:, None]
    return _Basis(vectors, xp.maximum(values, xp.zeros_like(values)))


def _inverse(xp: Any, basis: _Basis, lambdas: Sequence[float]) -> Array:
    """Diagonals of (VᵀHV + λVᵀPV)⁻¹ as columns, one per λ; directions without data and penalty get 0."""
    eps = float(xp.finfo(basis.values.dtype).eps)
    floor = eps * int(basis.values.shape[0]) * xp.max(basis.values)
    columns = []
    for lam in lambdas:
        total = basis.values + lam
        usable = total > xp.maximum(floor, xp.zeros_like(floor))
        inverse = xp.where(usable, 1 / xp.where(usable, total, xp.ones_like(total)), xp.zeros_like(total))
        columns.append(xp.concat([xp.ones_like(inverse[:1]), inverse], axis=0))
    return xp.stack(columns, axis=1)


def _compared_at(xp: Any, features: Features, target: Array, alpha: float) -> float:
    """Return β of the loss: α or more, but where α does not bound ratios at most one over the median target row's."""
    if alpha >= BOUNDED:
        return max(alpha, RELATIVE)
    return max(alpha, min(RELATIVE, max(LEAST_RELATIVE, math.exp(-typical_log(xp, features, target)))))


def _leave_one_out(
    xp: Any,
    base: Features,
    sigma: float,
    lambdas: Sequence[float],
    alpha: float,
    beta: float,
    target: Array,
    train: Array,
    seed: int,
) -> tuple[Array, Array, Array]:
    """Losses of pairs left out by rank-two updates, both of shape (pairs, λ); and the features in effect at each λ.

    Without the pair (ψ, φ) of a target and a training row, H is H' − Aψψᵀ − Sφφᵀ with A = α/(n_t − 1), S =
    (1 − α)/(n_s − 1) and H' the same for all pairs, so that B = H' + λP is inverted once. In effect are the trace of
    H'B⁻¹, the constant aside.
    """
    features = with_bandwidth(base, sigma)
    n_t, n_s = int(target.shape[0]), int(train.shape[0])
    sums = ratio_statistics(features, target=target, train=train)
    second = _mixed(alpha, sums.target_outer / (n_t - 1), sums.train_outer / (n_s - 1))
    basis = _eigenbasis(xp, second, _inverse_roots(xp, features, sums, alpha))
    inverse = _inverse(xp, basis, lambdas)
    mean = xp.matmul(xp.matrix_transpose(basis.vectors), sums.target_sum / n_t)[:, None]
    rows_t, rows_s = (_xp.indices(xp, rows, target) for rows in paired(n_t, n_s, seed))
    losses = []
    for at_t, at_s in zip(chunks(rows_t), chunks(rows_s), strict=True):
        psi, phi = (
            xp.matmul(mapped(xp, features, xp.take(x, at, axis=0)), basis.vectors)
            for x, at in ((target, at_t), (train, at_s))
        )
        losses.append(_pair_losses(xp, psi, phi, mean, inverse, alpha, beta, n_t, n_s))
    of_t, of_s = (xp.concat(parts, axis=0) for parts in zip(*losses, strict=True))
    return of_t, of_s, xp.matmul(basis.values, inverse[1:, :])


def _pair_losses(
    xp: Any, psi: Array, phi: Array, mean: Array, inverse: Array, alpha: float, beta: float, n_t: int, n_s: int
) -> tuple[Array, Array]:
    """½β s(ψ)² − s(ψ) and ½(1 − β) s(φ)² at the coefficients fitted without the pair, each of shape (pairs, λ).

    s is the β-relative ratio that the α-relative r⁺ implies: with p/q = (1 − α)r/(1 − αr), (p/q)/(β p/q + 1 − β).
    """
    of_t, of_s = alpha / (n_t - 1), (1.0 - alpha) / (n_s - 1)
    a, c, e = (xp.matmul(v, inverse) for v in (phi * phi, phi * psi, psi * psi))
    u, v = (xp.matmul(w, mean * inverse) for w in (phi, psi))
    at_s, at_t = (n_t * u - c) / (n_t - 1), (n_t * v - e) / (n_t - 1)  # the mean without ψ, through B⁻¹
    left_t, left_s = 1 - of_t * e, 1 - of_s * a
    det = left_t * left_s - of_t * of_s * c * c
    to_t = of_t * (left_s * at_t + of_s * c * at_s) / det
    to_s = of_s * (of_t * c * at_t + left_t * at_s) / det
    r_s, r_t = at_s + c * to_t + a * to_s, at_t + e * to_t + c * to_s
    r_s, r_t = (xp.maximum(r, xp.zeros_like(r)) for r in (r_s, r_t))
    r_s, r_t = ((1.0 - alpha) * r / ((beta - alpha) * r + (1.0 - beta)) for r in (r_s, r_t))
    loss_t, loss_s = 0.5 * beta * r_t * r_t - r_t, 0.5 * (1.0 - beta) * r_s * r_s
    return xp.where(det > 0, loss_t, xp.zeros_like(loss_t) + xp.inf), loss_s
