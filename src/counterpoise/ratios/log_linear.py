"""Ratios that balance moments: exponential weights that give the training sample the target's mean features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from .._lending import on_host
from .._types import AllReduce, Array
from .features import Blocks, Features, blocks_of, linear_features
from .grids import amounts, bandwidths, best_of, bumps_at, grid, with_bandwidth
from .logistic import norm_of
from .model import Ratio
from .newton import minimise
from .samples import number_of_folds, samples, split, warn_disjoint, whole

__all__ = ["fit_log_linear"]

TOLERANCE = 1e-13
PENALTIES = tuple(10.0 ** (k / 2) for k in range(-8, 1))
"""For Gaussian bumps, whose target means are hardly ever inside the hull of the training sample's."""


@on_host
def fit_log_linear(
    *,
    target: Array,
    train: Array,
    features: Literal["linear", "quadratic", "gaussian"] | Features = "linear",
    bandwidth: float | Sequence[float] | None = None,
    penalty: float | Sequence[float] | None = None,
    n_centres: int = 100,
    folds: int | None = None,
    seed: int = 0,
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
    features : {"linear", "quadratic", "gaussian"} or Features
        φ of the scaled samples; ``"gaussian"`` takes bumps at target rows (Tsuboi's log-linear KLIEP).
    bandwidth : float or sequence of float, optional
        σ of Gaussian bumps in units of the scaled samples, one or a grid; default the median distance times 0.1 to 4.
    penalty : float or sequence of float, optional
        λ ≥ 0, one or a grid; default 0, and for bumps 10⁻⁴ to 1 (nine values).
    n_centres : int
        Number of bumps.
    folds : int, optional
        Of the cross-validation that a grid is searched by; default 5, or the size of the smaller sample if that is
        less. It holds out both samples and scores by minus the Donsker-Varadhan bound, log E_train[r] −
        E_target[log r].
    seed : int
        Of the centres and the folds.
    all_reduce : callable, optional
        ``all_reduce(array, "sum")`` adds up arrays over ranks that each hold a shard of both samples, and
        ``all_reduce(array, "max")`` takes their maximum; needs ``features`` that are the same on all ranks, one
        bandwidth and one penalty.

    Returns
    -------
    Ratio
        Its ``gap`` is the largest difference between the mean features of the reweighted training sample and the
        target's, less what the penalty asks for, in standard deviations. With the whole grid's held-out losses,
        infinite where a fold cannot be balanced.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; amounts out of their range; too few rows for the folds.
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
    seed = whole(seed)
    warn_disjoint(xp, target, train)
    if all_reduce is not None and not isinstance(features, Features):
        raise ValueError("all_reduce needs the same features on every rank; pass them")
    base = _prepared(features, bandwidth, target, train, n_centres, seed)
    gaussian = base.kind == "gaussian"
    if bandwidth is not None and not gaussian:
        raise ValueError(f"bandwidth is {bandwidth!r}, but {base.kind} features have none; leave it out")
    sigmas = bandwidths(base, bandwidth, given=isinstance(features, Features) or not gaussian)
    lambdas = amounts("penalty", (PENALTIES if gaussian else 0.0) if penalty is None else penalty, zero=True)
    scores = None
    if len(sigmas) * len(lambdas) > 1:
        if all_reduce is not None:
            raise ValueError("all_reduce needs one bandwidth and one penalty: shards do not fold as the whole does")
        folds = number_of_folds(folds, target, train)
        found = [
            [_held_out_loss(xp, with_bandwidth(base, sigma), target, train, lam, folds, seed) for lam in lambdas]
            for sigma in sigmas
        ]
        (s, p), scores = best_of(found), grid(xp, base.shift, sigmas, lambdas, found)
        sigmas, lambdas = [sigmas[s]], [lambdas[p]]
    chosen = with_bandwidth(base, sigmas[0])
    theta, gap = _balanced(xp, chosen, target, train, lambdas[0], all_reduce)
    return Ratio("log_linear", chosen, theta, 0.0, xp.zeros_like(gap) + lambdas[0], gap, scores)


def _prepared(
    features: str | Features, bandwidth: Any, target: Array, train: Array, n_centres: int, seed: int
) -> Features:
    if isinstance(features, Features):
        return features
    if features in ("linear", "quadratic"):
        return linear_features(target=target, train=train, degree=1 if features == "linear" else 2)
    if features != "gaussian":
        raise ValueError(f"features is {features!r}; 'linear', 'quadratic', 'gaussian' or Features are needed")
    return bumps_at(bandwidth, target=target, train=train, n_centres=n_centres, seed=seed)


def _balanced(
    xp: Any, features: Features, target: Array, train: Array, lam: float, all_reduce: AllReduce | None = None
) -> tuple[Array, Array]:
    """Solve at one bandwidth and penalty; return the coefficients and how far the weights are from balance."""
    goal = _mean(xp, blocks_of(xp, features, target), all_reduce)
    blocks = blocks_of(xp, features, train)
    norm = norm_of(xp, features, int(goal.shape[0]), target)
    eps = float(xp.finfo(goal.dtype).eps)

    def derivatives(ridge: Array, theta: Array) -> tuple[Array, Array, Callable[[], Array]]:
        log_mass, mean = _moments(xp, blocks, theta, all_reduce)
        pull = ridge @ theta
        value = log_mass - xp.sum(theta * goal) + xp.sum(theta * pull) / 2
        return value, mean - goal + pull, lambda: _covariance(xp, blocks, theta, log_mass, mean, all_reduce) + ridge

    for penalties in _paths(lam):
        theta = xp.zeros_like(goal)
        for penalty in penalties:
            at = partial(derivatives, norm * penalty)
            theta, *_ = minimise(xp, at, theta, tolerance=min(TOLERANCE, eps**1.25))
        log_mass, mean = _moments(xp, blocks, theta, all_reduce)
        gap = xp.max(xp.abs(mean - goal + norm @ theta * lam))
        if float(gap) <= eps**0.375:
            break
    else:
        raise RuntimeError(
            f"no weights balance the features (off by {float(gap):.1e} standard deviations): the target's mean is "
            "outside the hull of the training features, or at its edge; pass a "
            f"{'larger penalty' if lam > 0 else 'penalty above 0'}, or fewer features"
        )
    return xp.concat([theta[:1] - log_mass, theta[1:]], axis=0), gap


def _paths(lam: float) -> list[list[float]]:
    """Return penalties that end at this one: by itself, and after 1, 0.1, ...: far outside the hull Newton needs these.

    Sixteen decades are enough: what is below a rounding is none.
    """
    decades = math.ceil(min(-math.log10(lam), 16)) if 0 < lam < 1 else 0
    return [[lam], *([[*(10.0**-k for k in range(decades)), lam]] if decades else [])]


def _held_out_loss(
    xp: Any, features: Features, target: Array, train: Array, lam: float, folds: int, seed: int
) -> float:
    """Minus the Donsker-Varadhan bound on rows that the fit did not see; infinite where a fold cannot be balanced."""
    losses = []
    folds_t, folds_s = split(target, folds, seed), split(train, folds, whole(seed) + 1)
    for (kept_t, out_t), (kept_s, out_s) in zip(folds_t, folds_s, strict=True):
        try:
            theta, _ = _balanced(xp, features, xp.take(target, kept_t, axis=0), xp.take(train, kept_s, axis=0), lam)
        except RuntimeError:
            return math.inf
        of_target = _mean(xp, blocks_of(xp, features, xp.take(target, out_t, axis=0)), None)
        log_mass, _ = _moments(xp, blocks_of(xp, features, xp.take(train, out_s, axis=0)), theta, None)
        losses.append(float(log_mass - xp.sum(theta * of_target)))
    loss = sum(losses) / len(losses)
    return loss if math.isfinite(loss) else math.inf


def _mean(xp: Any, blocks: Blocks, all_reduce: AllReduce | None) -> Array:
    total: Array = 0.0
    count = 0
    for phi in blocks():
        total, count = total + xp.sum(phi, axis=0), count + int(phi.shape[0])
    if all_reduce is None:
        return total / count
    return all_reduce(total, "sum") / all_reduce(total[:1] * 0 + count, "sum")


def _moments(xp: Any, blocks: Blocks, theta: Array, all_reduce: AllReduce | None) -> tuple[Array, Array]:
    """Return log E[e^{φᵀθ}], and the mean of φ under the weights; shifted by the largest exponent."""
    most = -math.inf + theta[:1] * 0
    for phi in blocks():
        most = xp.maximum(most, xp.max(xp.matmul(phi, theta))[None])
    most = most if all_reduce is None else all_reduce(most, "max")
    mass, first, count = theta[:1] * 0, theta * 0, theta[:1] * 0
    for phi in blocks():
        w = xp.exp(xp.matmul(phi, theta) - most)
        mass, first = mass + xp.sum(w), first + xp.matmul(w, phi)
        count = count + float(phi.shape[0])
    if all_reduce is not None:
        mass, first, count = (all_reduce(v, "sum") for v in (mass, first, count))
    return (xp.log(mass / count) + most)[0], first / mass


def _covariance(
    xp: Any, blocks: Blocks, theta: Array, log_mass: Array, mean: Array, all_reduce: AllReduce | None
) -> Array:
    """Return the covariance of φ under the weights."""
    second, count = mean[:, None] * mean[None, :] * 0, theta[:1] * 0
    for phi in blocks():
        scaled = phi * xp.exp((xp.matmul(phi, theta) - log_mass) / 2)[:, None]
        second, count = second + xp.matmul(xp.matrix_transpose(scaled), scaled), count + float(phi.shape[0])
    if all_reduce is not None:
        second, count = all_reduce(second, "sum"), all_reduce(count, "sum")
    return second / count - mean[:, None] * mean[None, :]
