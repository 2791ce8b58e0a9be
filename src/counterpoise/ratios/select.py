"""A choice of method by what its ratios are worth on rows that no fit saw."""

from __future__ import annotations

import math
from typing import Any, Literal

from .._lending import on_host
from .._types import Array
from ..diagnostics import two_sample_auc
from .cross import cross_fit
from .features import linear_features
from .gaussian import FEW
from .methods import BUMPS, FOLDED, METHODS, MOMENTS, compared, doubted, fitted, hyper_parameters
from .model import LEAST, Comparison, Ratio
from .normality import gaussian_shares, look_gaussian
from .probability import log_losses
from .samples import APART, hardly_overlap, number_of_folds, quiet, samples, warn, whole
from .ulsif import RELATIVE

__all__ = ["fit_ratio"]

FEWEST = 25
"""Rows of the smaller sample from which a ratio is taken whole, if its log loss is clear."""
LEAST_WEIGHT = 0.05
"""Of a method in an average where the best has 1: 1.7 standard errors off."""
ALONE = 0.5
"""What methods without bumps get alone where a Gaussian is among them and one of them is the best."""
CLEAR = 2.0
"""Standard errors by which the best must beat r = 1 in log loss."""
SURE = 2.5
"""Standard errors by which the average must rank target rows above training rows, where its log loss is not clear."""
CAPS = (0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8)
"""Shares of the target rows whose ratios stay below a cap that is tried: a few that are too large rule the error."""
BEYOND = 1.0
"""By how much log ratios may exceed the largest one of a target row, of fewer than `FEW`: that is often too low."""


@on_host
def fit_ratio(
    *,
    target: Array,
    train: Array,
    method: Literal[
        "auto",
        "discriminant",
        "gaussian",
        "independent",
        "proportional",
        "student",
        "logistic",
        "quadratic",
        "kernel",
        "ulsif",
        "rulsif",
        "kliep",
    ] = "auto",
    folds: int | None = None,
    seed: int = 0,
) -> Ratio:
    """Fit a ratio by the method that tells held-out target rows from held-out training rows best.

    ``"auto"`` fits methods with their own grids, fits them again fold by fold with what the grid chose, and compares
    the held-out log losses. They are averaged in log r, with shares that fall with e^(−z²), z being the standard errors
    by which a method is behind the best one; those behind by more than 1.7 have none. Half of the average is by that
    loss, half by the squared loss of the relative ratio at α = 0.3, which ratios that are too large cost more. Where
    Gaussians or Student's t (the first five methods) are among them, they and logistic regression get a part of that
    alone, half if one of them is the best: sums of bumps are as good where rows are, but not beyond, where the largest
    ratios are. Student's t takes the place of Gaussians where a column's tails are heavier. Of Gaussians and logistic
    regression log r counts as (log r)|log r|/(|log r| + v), v its sampling variance: what may be large by chance is
    drawn towards 1. If the best does not beat r = 1 by two standard errors of the log loss, the ratio is 1: there is no
    shift to be seen; unless the average still ranks held-out target rows above training rows, its AUC two and a half
    standard errors above ½, when r = 1 joins the average. With fewer than fifty rows of a sample it joins where the log
    loss is not as clear, with fewer than 25 always, and logarithms count as they are. Last, ratios are cut at the
    largest one of a held-out target row, or lower down if that brings the held-out squared loss, ½E_train[r²] −
    E_target[r], down by a standard error; with fewer than fifty target rows at e times the largest one, which is often
    too low.

    Samples look Gaussian where neither's kurtosis nor the test of Henze and Zirkler speaks against it; that asks for
    100 rows of the larger one, 30 for each column, and 15 of the smaller one, 5 for each column. Then, if Gaussians are
    among the methods to be averaged, they are all of it: their shares, and that of r = 1, are by their corrected AIC.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    method : {"auto", "discriminant", "gaussian", ..., "kernel", "ulsif", "rulsif", "kliep"}
        One method, or the choice among all but ``"quadratic"``. ``"discriminant"`` to ``"proportional"`` are what
        `fit_gaussian` has of Gaussians; ``"student"`` has independent Student's t in columns
        whose tails ask for it, Gaussians in others: the columns of the samples, or those in which both scatter matrices
        are diagonal. ``"rulsif"`` is the p/q that the relative ratio at α = 0.1 implies; the ridge of ``"logistic"``
        bears most on columns in which the samples hardly differ, as distances do in `gaussian_features`, and is chosen
        by folds that find these columns anew, whose log losses are its scores.
        Left out of the choice are ``"gaussian"``, ``"independent"`` and ``"student"`` where products of two features
        outnumber a quarter of the rows or a sample has fewer than 50 rows; ``"discriminant"`` where both are so, where
        fewer than 50 are training rows, or features outnumber half of all rows; ``"kernel"`` where the two samples
        together have fewer than 1,000; and ``"proportional"`` where they do not look Gaussian, or one has fewer than 50
        rows. The others need no 50 rows where samples look Gaussian.
    folds : int, optional
        Of the comparison, or of the choice of a penalty by ``"logistic"`` or of a bandwidth by ``"kliep"``; default 5,
        or the size of the smaller sample if that is less. The other methods have none.
    seed : int
        Of centres and folds.

    Returns
    -------
    Ratio
        With every method's score in ``comparison``. Samples that hardly overlap (an AUC of 0.99) are warned about.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; an unknown method; folds where there are none to choose; a
        sample of one row for ``"auto"``.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_ratio(target=rng.normal(1, 1, (200, 2)), train=rng.normal(0, 1, (400, 2)))
    >>> model.comparison.methods[:3]
    ('one', 'discriminant', 'gaussian')
    >>> cp.ratio(model, np.array([[-1.0, 0.0], [2.0, 1.0]])).round(1)
    array([0.1, 7.8])
    """
    seed = whole(seed)
    if method != "auto":
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; 'auto' or one of {', '.join(map(repr, METHODS))} is needed")
        return fitted(method, seed, target, train, folds)
    xp, target, train = samples(target, train)
    n_t, n_s = int(target.shape[0]), int(train.shape[0])
    if min(n_t, n_s) < 2:
        raise ValueError(
            f"target has {n_t} rows and train {n_s}; comparing methods holds rows out and needs two of each. Pass "
            "method='discriminant' or another one"
        )
    return _averaged_methods(xp, target, train, number_of_folds(folds, target, train), seed)


def _averaged_methods(xp: Any, target: Array, train: Array, folds: int, seed: int) -> Ratio:
    """Compare methods on rows held out and average them by how far they are behind the best, or say that r = 1."""
    n_t, n_s = int(target.shape[0]), int(train.shape[0])
    few, formed = min(n_t, n_s) < FEW, look_gaussian(xp, target, train)
    fits: dict[str, Ratio] = {}
    logs = {"one": (xp.zeros_like(target[:, 0]), xp.zeros_like(train[:, 0]))}
    for name in compared(xp, target, train, formed=formed):
        fits[name], *found = _fit_and_hold_out(name, target, train, folds, seed, few=few and not formed)
        at_t, at_s = (xp.where(v < LEAST, xp.zeros_like(v) + LEAST, v) for v in found)
        logs[name] = at_t, at_s
    losses = {name: log_losses(xp, *found, target, train) for name, found in logs.items()}
    comparison = _compare(xp, losses)
    shares = _shares_by_losses(xp, losses, logs, fits)
    formed = formed and not set(shares).isdisjoint(MOMENTS)
    if formed:
        shares = gaussian_shares(xp, target, train, fits)
    if not shares:
        return _constant(xp, target, train)._replace(comparison=comparison)
    at_t, at_s = (sum(share * logs[name][side] for name, share in shares.items()) for side in (0, 1))
    area, error = two_sample_auc(at_t, at_s)
    if float(area) >= APART:
        warn(hardly_overlap(float(area)))
    clear = float(comparison.difference[0]) > CLEAR * float(comparison.standard_error[0])
    if not (few or clear or float(area) - 0.5 > SURE * float(error)):
        return _constant(xp, target, train)._replace(comparison=comparison)
    power = 1.0
    if not formed and (min(n_t, n_s) < FEWEST or not clear):
        number = 1 / sum(share**2 for share in shares.values())
        power = number / (number + 1)
    cap = _cap(xp, power * at_t, power * at_s)
    shares = {name: power * share for name, share in shares.items()}
    return _averaged(xp, fits, shares, cap)._replace(comparison=comparison)


def _shares_by_losses(
    xp: Any, losses: dict[str, Array], logs: dict[str, tuple[Array, Array]], fits: dict[str, Ratio]
) -> dict[str, float]:
    """Average the shares by log loss and by the squared loss of the relative ratio."""
    halves = [losses, {name: _relative_losses(xp, *found) for name, found in logs.items()}]
    weighed = [_shares(xp, half) for half in halves]
    near = [name for name in fits if any(name in half for half in weighed)]
    return {name: sum(half.get(name, 0.0) for half in weighed) / 2 for name in near}


def _fit_and_hold_out(
    name: str, target: Array, train: Array, folds: int, seed: int, *, few: bool
) -> tuple[Ratio, Array, Array]:
    """Fit a method, and its held-out log ratios of both samples; few rows are taken as they are, r = 1 joins them."""
    count = (lambda name, model, target, train: model) if few else doubted
    with quiet():  # a method that does not suit the samples is not chosen
        model = fitted(name, seed, target, train, folds if name in FOLDED else None)
        options = hyper_parameters(name, model, seed)

        def again(*, target: Array, train: Array) -> Ratio:
            return count(name, METHODS[name](target=target, train=train, **options), target, train)

        found = cross_fit(again, target=target, train=train, folds=folds, seed=seed)
        return count(name, model, target, train), found.target_log_ratio, found.train_log_ratio


def _constant(xp: Any, target: Array, train: Array) -> Ratio:
    features = linear_features(target=target, train=train)
    zero = xp.zeros_like(features.shift[0])
    theta = xp.concat([zero[None], xp.zeros_like(features.shift)], axis=0)
    return Ratio("logistic", features, theta, 0.0, zero + xp.inf, zero, None)


def _averaged(xp: Any, fits: dict[str, Ratio], shares: dict[str, float], cap: Array) -> Ratio:
    members = tuple(fits[name].members[0] if fits[name].members else fits[name] for name in shares)
    zero = xp.zeros_like(members[0].coefficients[0])
    weights = xp.stack([zero + share for share in shares.values()])
    return Ratio("average", None, weights, 0.0, zero, zero, None, members, cap=cap)


def _relative_losses(xp: Any, target: Array, train: Array) -> Array:
    """Squared loss of the relative ratio at `RELATIVE`, by row: the mean is ½E_m[s²] − E_target[s], m the mixture."""
    n_t, n_s = int(target.shape[0]), int(train.shape[0])
    s_t, s_s = (1 / (RELATIVE + (1 - RELATIVE) * xp.exp(-v)) for v in (target, train))
    of_t, of_s = RELATIVE * s_t * s_t / 2 - s_t, (1 - RELATIVE) * s_s * s_s / 2
    return xp.concat([of_t * ((n_t + n_s) / n_t), of_s * ((n_t + n_s) / n_s)], axis=0)


def _compare(xp: Any, losses: dict[str, Array]) -> Comparison:
    best = losses[_best(xp, losses)]
    differences = [loss - best for loss in losses.values()]
    means = xp.stack([xp.mean(d) for d in differences])
    errors = xp.stack([_error(xp, d) for d in differences])
    return Comparison(tuple(losses), xp.stack([xp.mean(loss) for loss in losses.values()]), means, errors)


def _best(xp: Any, losses: dict[str, Array]) -> str:
    scores = {name: float(xp.mean(loss)) for name, loss in losses.items()}
    return min(scores, key=lambda name: scores[name] if math.isfinite(scores[name]) else math.inf)


def _shares(xp: Any, losses: dict[str, Array]) -> dict[str, float]:
    """Return the methods, r = 1 aside, with shares that sum to 1 and fall with e^(−z²), z standard errors off the best.

    Where a Gaussian is among them a part goes to methods without bumps alone: half, if one of them is the best.
    """
    fits = {name: loss for name, loss in losses.items() if name != "one"}
    best = fits[_best(xp, fits)]
    weights = {name: _weight(xp, loss - best) for name, loss in fits.items()}
    weights = {name: weight for name, weight in weights.items() if weight >= LEAST_WEIGHT}
    simple = {name: weight for name, weight in weights.items() if name not in BUMPS}
    alone = ALONE * max(simple.values()) if set(weights) & set(MOMENTS) else 0.0
    total, of_simple = sum(weights.values()), sum(simple.values())
    return {
        name: (1 - alone) * weight / total + (alone * weight / of_simple if name in simple else 0.0)
        for name, weight in weights.items()
    }


def _weight(xp: Any, difference: Array) -> float:
    """Return e^(−z²), z the mean in standard errors; that of what is not finite is 0, and of zeros 1."""
    mean, error = float(xp.mean(difference)), float(_error(xp, difference))
    if not math.isfinite(error):
        return 0.0
    return math.exp(-((mean / error) ** 2)) if error > 0 else 1.0


def _cap(xp: Any, target: Array, train: Array) -> Array:
    """Return the largest log ratio of a target row; or the last lower one that cuts the squared loss by its error.

    Few target rows give a higher one: what they show of the largest ratios would be cut from all rows.
    """
    n_t, n_s = int(target.shape[0]), int(train.shape[0])
    ranked = xp.sort(target)
    if n_t < FEW:
        return ranked[-1] + BEYOND
    most = math.log(float(xp.finfo(target.dtype).max)) / 5  # its fourth power is still finite

    def loss(cap: Array) -> Array:
        # by row, so that the mean over the rows of both is ½E_train[r²] − E_target[r]
        at_t, at_s = (xp.minimum(xp.minimum(v, cap), xp.zeros_like(v) + most) for v in (target, train))
        parts = [-xp.exp(at_t) * ((n_t + n_s) / n_t), xp.exp(2 * at_s) * ((n_t + n_s) / (2 * n_s))]
        return xp.concat(parts, axis=0)

    cap = ranked[-1]
    least = loss(xp.maximum(cap, xp.max(train)))
    for below in CAPS:
        lower = ranked[math.ceil(below * (n_t - 1))]
        found = loss(lower)
        gain = least - found
        if float(xp.mean(gain)) > float(_error(xp, gain)):
            cap, least = lower, found
    return cap


def _error(xp: Any, values: Array) -> Array:
    """Return the standard error of a mean."""
    return xp.std(values) / math.sqrt(int(values.shape[0]))
