"""Whether two samples overlap enough to be weighed, and what weighting does to their difference."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from . import _xp
from ._types import Array
from .diagnostics import Estimate, effective_sample_size, normalisation, two_sample_auc
from .ratios.samples import APART, ROUNDING, hardly_overlap, location_and_spread, samples, varying
from .tail import TailIndex, pareto_k

__all__ = ["BalanceTable", "OverlapReport", "overlap_report", "standardised_differences"]

SATURATED = 15.0
"""Log ratio, either way, that no finite sample supports: e^15 is three million."""
FEW = 30


class BalanceTable(NamedTuple):
    """Differences of means, feature by feature; see `standardised_differences`.

    Attributes
    ----------
    before, after : array, shape (d,)
        (Target mean less training mean)/spread, of the training sample as it is and as weighted.
    """

    before: Array
    after: Array


class OverlapReport(NamedTuple):
    """What to know before trusting a ratio; see `overlap_report`.

    Attributes
    ----------
    mean_ratio : Estimate
        Mean of r over the training sample: 1 if the ratio is right.
    mean_inverse : Estimate
        Mean of 1/r over the target sample: 1 if the ratio is right and the target covers the training sample.
    effective_size : array, shape ()
        Training rows that the weights are worth.
    tail : TailIndex
        Of the weights.
    auc_before, auc_after : Estimate
        Separability of the samples as they are, and with the training sample weighted (½: balanced).
    share_at_cap : array, shape ()
        Share of training rows whose ratio is at least the cap; 0 without one.
    balance : BalanceTable or None
        With the samples themselves.
    warnings : tuple of str
        What is wrong, in plain sentences; empty if nothing is.
    """

    mean_ratio: Estimate
    mean_inverse: Estimate
    effective_size: Array
    tail: TailIndex
    auc_before: Estimate
    auc_after: Estimate
    share_at_cap: Array
    balance: BalanceTable | None
    warnings: tuple[str, ...]


def standardised_differences(target: Array, train: Array, /, *, weights: Array | None = None) -> BalanceTable:
    """Compare the samples' means feature by feature, in standard deviations, before and after weighting.

    The denominator √((s_t² + s_s²)/2) is that of the unweighted samples both times: weights cannot look good by
    blowing up a variance. Below 0.1 a feature counts as balanced.

    Parameters
    ----------
    target, train : array, shape (n, d)
        Samples; a vector is a sample of one feature.
    weights : array, shape (n_train,), optional
        Non-negative weights of the training rows, on any scale; default equal.

    Returns
    -------
    BalanceTable
        The data of a love plot. 0 for features that have one value in both samples; ±8, finite but large, before
        weighting and after, where each sample has one of its own.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used; weights of another length, negative, or all 0.

    References
    ----------
    Austin, Multivariate Behavioral Research 46 (2011).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.standardised_differences(np.array([0.0, 2.0]), np.array([0.0, 1.0, 2.0]), weights=np.array([1.0, 0.0, 1.0]))
    BalanceTable(before=array([0.]), after=array([0.]))
    """
    xp, target, train = samples(target, train)
    shift, scale = location_and_spread(xp, target, train)  # in whose units no square leaves the range
    target, train = ((x - shift) / scale for x in (target, train))
    varies = varying(xp, target, train)
    mean_t, mean_s = (xp.where(varies, xp.mean(x, axis=0), 0.0) for x in (target, train))
    spread = xp.sqrt((xp.var(target, axis=0) + xp.var(train, axis=0)) / 2)
    least = 4 * ROUNDING * float(xp.finfo(spread.dtype).eps)  # less is what rounding leaves of none
    safe = xp.where(spread > least, spread, xp.ones_like(spread))
    before = (mean_t - mean_s) / safe
    if weights is None:
        return BalanceTable(before, before)
    w = xp.astype(_xp.floating(xp, "weights", weights), train.dtype)
    if tuple(w.shape) != (int(train.shape[0]),):
        raise ValueError(
            f"weights has shape {tuple(w.shape)}; one weight for each of the {train.shape[0]} rows is needed"
        )
    if not bool(xp.all((w >= 0) & xp.isfinite(w))) or not bool(xp.any(w > 0)):
        raise ValueError("weights must be finite and >= 0, and not all 0")
    w = w / xp.max(w)  # sums of it stay finite
    weighted = xp.sum(w[:, None] * train, axis=0) / xp.sum(w)
    return BalanceTable(before, xp.where(varies, mean_t - weighted, 0.0) / safe)


def overlap_report(
    *,
    target_log_ratio: Array,
    train_log_ratio: Array,
    target: Array | None = None,
    train: Array | None = None,
    cap: float | None = None,
) -> OverlapReport:
    """Look at a ratio before trusting it, and warn in plain sentences.

    Parameters
    ----------
    target_log_ratio : array, shape (n_target,)
        log r at the target rows, by models that did not see them (`cross_fit`).
    train_log_ratio : array, shape (n_train,)
        The same at the training rows.
    target, train : array, shape (n, d), optional
        The samples, for the balance of their features.
    cap : float, optional
        Ratio at which weights are cut off.

    Returns
    -------
    OverlapReport
        Numbers and warnings; each warning is also issued as a `UserWarning`: samples that hardly overlap, a saturated
        classifier, too few target rows, a ratio whose mean is not 1, weights with too heavy a tail.

    Raises
    ------
    TypeError, ValueError
        Log ratios that are no vectors of floats, or hold NaN; samples that do not fit them.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> target, train = rng.normal(0.5, 1, 400), rng.normal(0, 1, 800)
    >>> found = cp.overlap_report(target_log_ratio=0.5 * target - 0.125, train_log_ratio=0.5 * train - 0.125)
    >>> round(float(found.mean_ratio.value), 2), int(found.effective_size), found.warnings
    (0.98, 637, ())
    """
    xp = _xp.namespace(target_log_ratio=target_log_ratio, train_log_ratio=train_log_ratio)
    logs_t = _xp.floating(xp, "target_log_ratio", target_log_ratio)
    logs_s = _xp.floating(xp, "train_log_ratio", train_log_ratio)
    for name, logs in (("target_log_ratio", logs_t), ("train_log_ratio", logs_s)):
        if logs.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(logs.shape)}; one axis is needed")
        if bool(xp.any(xp.isnan(logs))):
            raise ValueError(f"{name} holds NaN; drop such rows, or find out why the model gives them")
    if cap is not None:
        cap = _xp.number("cap", cap, lambda v: v > 0.0, "a positive number")
    if (target is None) != (train is None):
        raise ValueError("the balance of features needs both samples; pass target and train, or neither")
    r = _xp.exp_or_infinity(xp, logs_s)
    usable = xp.where(xp.isfinite(r), r, xp.zeros_like(r))
    found = OverlapReport(
        mean_ratio=normalisation(r),
        mean_inverse=normalisation(_xp.exp_or_infinity(xp, -logs_t)),
        effective_size=effective_sample_size(r),
        tail=pareto_k(r),
        auc_before=two_sample_auc(logs_t, logs_s),
        auc_after=_weighted_auc(xp, logs_t, logs_s, usable),
        share_at_cap=xp.mean(xp.astype(r >= cap, r.dtype)) if cap is not None else xp.zeros_like(r[0]),
        balance=None if target is None or train is None else standardised_differences(target, train, weights=usable),
        warnings=(),
    )
    sentences = tuple(_sentences(xp, logs_t, logs_s, found))
    for sentence in sentences:
        warnings.warn(sentence, UserWarning, stacklevel=2)
    return found._replace(warnings=sentences)


def _weighted_auc(xp: Any, target: Array, train: Array, weights: Array) -> Estimate:
    """Chance that a target score is above a weighted training score, ties counted half."""
    order = xp.argsort(train)
    ranked, w = xp.take(train, order, axis=0), xp.take(weights, order, axis=0)
    most = xp.max(w)
    w = w / xp.where(most > 0, most, xp.ones_like(most))  # sums of it stay finite
    total = xp.sum(w)
    w = w / xp.where(total > 0, total, xp.ones_like(total))
    mass = xp.concat([xp.zeros_like(w[:1]), xp.cumulative_sum(w)], axis=0)
    left, right = (xp.searchsorted(ranked, target, side=side) for side in ("left", "right"))
    above = (xp.take(mass, left, axis=0) + xp.take(mass, right, axis=0)) / 2
    sorted_t, m = xp.sort(target), int(target.shape[0])
    low, high = (xp.searchsorted(sorted_t, ranked, side=side) for side in ("left", "right"))
    below = 1 - xp.astype(low + high, w.dtype) / (2 * m)
    area = xp.mean(above)
    variance = xp.mean((above - area) ** 2) / max(m - 1, 1) + xp.sum(w * w * (below - area) ** 2)
    bad = ~(total > 0)
    return Estimate(xp.where(bad, xp.nan, area), xp.where(bad, xp.nan, xp.sqrt(variance)))


def _sentences(xp: Any, target: Array, train: Array, found: OverlapReport) -> list[str]:
    said = []
    auc = float(found.auc_before.value)
    if auc >= APART:
        said.append(hardly_overlap(auc))
    both = xp.concat([target, train], axis=0)
    extreme = float(xp.mean(xp.astype(xp.abs(both) > SATURATED, xp.float32)))
    if extreme > 0.01:
        said.append(
            f"The classifier is saturated: {extreme:.1%} of the log ratios are beyond ±{SATURATED:.0f}, which no "
            "sample supports. Regularise or calibrate it."
        )
    if int(target.shape[0]) < FEW:
        said.append(
            f"There are only {target.shape[0]} target rows; below {FEW} the ratio is mostly chance. Collect more, or "
            "weigh with a cap."
        )
    mean, error = (float(v) for v in found.mean_ratio)
    if not abs(mean - 1) <= max(0.1, 3 * error):
        said.append(
            f"The mean ratio over the training rows is {mean:.2f}, not 1: the classifier, its calibration or a mixture "
            "share is off."
        )
    k, most = (float(v) for v in found.tail)
    if k > most:
        said.append(
            f"A few rows carry the weight (Pareto k {k:.2f}, above {most:.2f}): averages under these weights are "
            "unstable. Cap the ratio."
        )
    return said
