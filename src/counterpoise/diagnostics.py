"""What to look at before trusting weights: rows left, mean of the ratio, distance of the samples."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from . import _xp
from ._types import Array

__all__ = [
    "CalibrationTable", "Estimate", "calibration_table", "donsker_varadhan", "effective_sample_size", "normalisation",
    "two_sample_auc",
]  # fmt: skip


class Estimate(NamedTuple):
    """A number and how far chance moves it.

    Attributes
    ----------
    value : array, shape (...,)
        The estimate.
    standard_error : array, shape (...,)
        Its standard error; NaN where there are too few samples to tell.
    """

    value: Array
    standard_error: Array


class CalibrationTable(NamedTuple):
    """Predicted against observed frequencies, in bins of equal size by predicted probability.

    Attributes
    ----------
    predicted, observed : array, shape (..., bins)
        Mean predicted probability and observed frequency per bin.
    size : tuple of int
        Number of samples in each bin.
    """

    predicted: Array
    observed: Array
    size: tuple[int, ...]


def effective_sample_size(weights: Array, /) -> Array:
    """Tell how many equally weighted rows the weights are worth (Kish).

    Parameters
    ----------
    weights : array, shape (..., n)
        Non-negative, on any scale.

    Returns
    -------
    array, shape (...,)
        (Σw)²/Σw², between 1 and n; 0 where all weights are 0, NaN where one is negative, NaN or infinite.

    References
    ----------
    Kish (1965), Survey Sampling, section 11.7.

    Examples
    --------
    >>> import numpy as np
    >>> effective_sample_size(np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]]))
    array([4. , 2. , 1.6])
    """
    xp = _xp.namespace(weights=weights)
    w = _xp.floating(xp, "weights", weights)
    usable = (w >= 0) & xp.isfinite(w)
    valid = xp.all(usable, axis=-1)
    w = xp.where(usable, w, xp.zeros_like(w))
    most = xp.max(w, axis=-1, keepdims=True)
    # Scaled by the largest, so that neither 1e200 nor 1e-200 leaves the range when squared.
    w = w / xp.where(most > 0, most, xp.ones_like(most))
    total, squares = xp.sum(w, axis=-1), xp.sum(w * w, axis=-1)
    size = total * (total / xp.where(squares > 0, squares, xp.ones_like(squares)))
    return xp.astype(xp.where(valid, size, xp.zeros_like(size) + float("nan")), weights.dtype)


def normalisation(ratio: Array, /) -> Estimate:
    """Estimate the mean of a density ratio over training samples, which is 1 if the ratio is right.

    Parameters
    ----------
    ratio : array, shape (..., n)
        dQ0/dP at the training samples, by a model that did not see them.

    Returns
    -------
    Estimate
        The mean and its standard error (NaN for a single sample, or an infinite ratio); NaN for a negative ratio.
        Far from 1, in standard errors, it says that the classifier, its calibration or a mixture share is off.
        Reweighting by ratio/mean hides the size of that error, not its pattern.

    Examples
    --------
    >>> import numpy as np
    >>> mean, error = normalisation(np.array([0.5, 1.5, 1.0, 1.0]))
    >>> float(mean), round(float(error), 4)
    (1.0, 0.2041)
    """
    xp = _xp.namespace(ratio=ratio)
    values = _xp.floating(xp, "ratio", ratio)
    values = xp.where(values >= 0, values, xp.nan)
    values, unit = _xp.in_range(xp, values)
    mean = xp.mean(values, axis=-1, keepdims=True)
    known = mean < xp.inf
    error = _standard_error(xp, xp.where(known, values, xp.nan) - xp.where(known, mean, 0.0))
    return Estimate(*(_xp.narrowed(xp, unit[..., 0] * v, ratio.dtype) for v in (mean[..., 0], error)))


def donsker_varadhan(target_log_ratio: Array, train_log_ratio: Array, /) -> Estimate:
    """Score a ratio by the bound E_target[log r] − log E_train[r] ≤ KL(target‖train), which the true ratio attains.

    Parameters
    ----------
    target_log_ratio : array, shape (m,)
        log r at target samples, by models that did not see them.
    train_log_ratio : array, shape (n,)
        The same at training samples.

    Returns
    -------
    Estimate
        In nats, and its standard error; higher is better. -inf where a target sample has ratio 0.

    References
    ----------
    Donsker and Varadhan, Comm. Pure Appl. Math. 36 (1983).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=1000)
    >>> value, error = donsker_varadhan(0.5 * (x + 0.5) - 0.125, 0.5 * x - 0.125)
    >>> bool(abs(value - 0.125) < 2 * error)
    True
    """
    xp = _xp.namespace(target_log_ratio=target_log_ratio, train_log_ratio=train_log_ratio)
    target = _xp.floating(xp, "target_log_ratio", target_log_ratio)
    train = _xp.floating(xp, "train_log_ratio", train_log_ratio)
    for name, logs in (("target_log_ratio", target), ("train_log_ratio", train)):
        if logs.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(logs.shape)}; one axis is needed")
    most = xp.max(train)
    shift = xp.where(xp.isfinite(most), most, xp.zeros_like(most))
    r = xp.exp(train - shift)
    mean = xp.mean(r)
    value = xp.mean(target) - xp.log(mean) - shift
    finite = xp.where(xp.isfinite(target), target, xp.zeros_like(target))
    error = xp.sqrt(_standard_error(xp, finite - xp.mean(finite)) ** 2 + _standard_error(xp, r / mean - 1) ** 2)
    given = target_log_ratio.dtype
    return Estimate(xp.astype(value, given), xp.astype(error, given))


def two_sample_auc(target_scores: Array, other_scores: Array, /) -> Estimate:
    """Measure how separable two samples are: the chance that a target sample scores above another one.

    Parameters
    ----------
    target_scores : array, shape (m,)
        Scores (log-odds, say) of the target samples, by models that did not see them.
    other_scores : array, shape (n,)
        Scores of the others.

    Returns
    -------
    Estimate
        The area under the ROC curve, ties counted half, and its standard error: 0.5 means that no
        weighting is called for or possible, 1 that the samples do not overlap. The error is NaN with one
        sample on a side.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44: placement values, here by sorting, O((m+n)
    log(m+n)).

    Examples
    --------
    >>> import numpy as np
    >>> area, error = two_sample_auc(np.array([0.1, 0.4, 0.8]), np.array([0.0, 0.2, 0.4]))
    >>> round(float(area), 3), round(float(error), 3)
    (0.722, 0.24)
    """
    xp = _xp.namespace(target_scores=target_scores, other_scores=other_scores)
    target = _xp.floating(xp, "target_scores", target_scores)
    other = _xp.floating(xp, "other_scores", other_scores)
    for name, scores in (("target_scores", target), ("other_scores", other)):
        if scores.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(scores.shape)}; one axis is needed")
    dtype = xp.result_type(target.dtype, other.dtype)
    target, other = xp.astype(target, dtype), xp.astype(other, dtype)
    above = _placements(xp, target, other)
    below = 1.0 - _placements(xp, other, target)
    area = xp.mean(above)
    error = xp.sqrt(_standard_error(xp, above - area) ** 2 + _standard_error(xp, below - xp.mean(below)) ** 2)
    undefined = xp.any(xp.isnan(target)) | xp.any(xp.isnan(other))
    nan = xp.zeros_like(area) + float("nan")
    given = target_scores.dtype
    return Estimate(xp.astype(xp.where(undefined, nan, area), given), xp.astype(xp.where(undefined, nan, error), given))


def calibration_table(probability: Array, outcome: Array, /, *, n_bins: int = 10) -> CalibrationTable:
    """Compare predicted probabilities with what happened, in bins of equal size.

    Parameters
    ----------
    probability : array, shape (..., n)
        Predicted probability of the outcome, by models that did not see the sample.
    outcome : array, shape (..., n)
        1.0 where it happened, 0.0 where it did not, in a floating dtype.
    n_bins : int
        Number of bins, at least 1; with fewer than ``n_bins`` samples, one bin per sample.

    Returns
    -------
    CalibrationTable
        In rising order of the predicted probability. A calibrated model has ``observed`` near ``predicted``.

    Examples
    --------
    >>> import numpy as np
    >>> calibration_table(np.array([0.1, 0.2, 0.7, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]), n_bins=2)
    CalibrationTable(predicted=array([0.15, 0.85]), observed=array([0., 1.]), size=(2, 2))
    """
    n_bins = _xp.count("n_bins", n_bins)
    xp = _xp.namespace(probability=probability, outcome=outcome)
    p, y = _xp.aligned(xp, {"probability": probability, "outcome": outcome})
    order = xp.argsort(p, axis=-1, stable=True)
    p, y = xp.take_along_axis(p, order, axis=-1), xp.take_along_axis(y, order, axis=-1)
    n = int(p.shape[-1])
    bins = min(n_bins, n)
    edges = [n * b // bins for b in range(bins + 1)]
    spans = [slice(a, b) for a, b in pairwise(edges)]
    predicted = xp.stack([xp.mean(p[..., span], axis=-1) for span in spans], axis=-1)
    observed = xp.stack([xp.mean(y[..., span], axis=-1) for span in spans], axis=-1)
    dtype = probability.dtype
    size = tuple(span.stop - span.start for span in spans)
    return CalibrationTable(xp.astype(predicted, dtype), xp.astype(observed, dtype), size)


def _placements(xp: Any, scores: Array, others: Array) -> Array:
    """Return, for every score, the share of the others below it, ties counted half."""
    ranked = xp.sort(others)
    left = xp.searchsorted(ranked, scores, side="left")
    right = xp.searchsorted(ranked, scores, side="right")
    return xp.astype(left + right, scores.dtype) / (2 * int(others.shape[0]))


def _standard_error(xp: Any, deviations: Array) -> Array:
    """Return the standard error of a mean from the deviations about it; NaN for a single value."""
    n = int(deviations.shape[-1])
    spread = xp.sum(deviations * deviations, axis=-1)
    return xp.sqrt(spread / (n * (n - 1))) if n > 1 else spread + float("nan")
