"""Pictures of a ratio: balance before and after, calibration, and the tail of the weights (extra ``plots``)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import counterpoise as cp
from counterpoise._extras import extra

with extra("plots", __name__):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_plot", "love_plot", "tail_plot"]


def love_plot(table: cp.BalanceTable, /, *, names: Sequence[str] | None = None, most: int = 40) -> Figure:
    """Draw absolute standardised mean differences, before and after weighting, the largest on top.

    Parameters
    ----------
    table : BalanceTable
        From `counterpoise.standardised_differences`; numpy arrays, or what numpy reads.
    names : sequence of str, optional
        Of the features; default their numbers.
    most : int
        Number of features shown, the most different before.

    Returns
    -------
    matplotlib.figure.Figure
        Call its ``savefig``.

    Raises
    ------
    ValueError
        A number of names other than that of the features.

    Examples
    --------
    >>> table = cp.standardised_differences(np.eye(3), np.zeros((3, 3)))
    >>> love_plot(table, names=["age", "income", "length"]).axes[0].get_xlabel()
    'absolute standardised mean difference'
    """
    before, after = (np.abs(np.asarray(column, dtype=float)) for column in table)
    labels = [str(i) for i in range(len(before))] if names is None else list(names)
    if len(labels) != len(before):
        raise ValueError(f"names has {len(labels)} entries for {len(before)} features; give one name for each")
    shown = np.argsort(before)[-most:]
    place = np.arange(len(shown))
    axes = _axes(height=1.0 + 0.25 * len(shown))
    axes.hlines(place, before[shown], after[shown], color="0.8")
    axes.plot(before[shown], place, "o", mfc="none", color="C0", label="before")
    axes.plot(after[shown], place, "o", color="C1", label="after")
    axes.axvline(0.1, color="0.5", linestyle=":", label="balanced below 0.1")
    axes.set_yticks(place, [labels[i] for i in shown])
    axes.set_xlabel("absolute standardised mean difference")
    axes.set_xlim(left=0.0)
    axes.legend()
    return _finished(axes)


def calibration_plot(table: cp.CalibrationTable, /) -> Figure:
    """Draw observed frequencies against predicted probabilities; a calibrated model lies on the diagonal.

    Parameters
    ----------
    table : CalibrationTable
        From `counterpoise.calibration_table`, of one model.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are ± two standard errors of each bin.

    Examples
    --------
    >>> table = cp.calibration_table(np.array([0.1, 0.2, 0.7, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]), n_bins=2)
    >>> calibration_plot(table).axes[0].get_ylabel()
    'observed frequency'
    """
    predicted, observed = (np.asarray(column, dtype=float) for column in table[:2])
    axes = _axes(height=4.0)
    error = 2 * np.sqrt(observed * (1 - observed) / np.asarray(table.size))
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    axes.errorbar(predicted, observed, yerr=error, fmt="o", capsize=2)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("observed frequency")
    return _finished(axes)


def tail_plot(weights: Any, /) -> Figure:
    """Draw how many weights lie above each size, on logarithmic axes: a straight end is a Pareto tail of slope −1/k.

    Parameters
    ----------
    weights : array-like, shape (n,)
        Positive and finite ones are drawn, in units of their mean.

    Returns
    -------
    matplotlib.figure.Figure
        Its title gives the effective sample size and Pareto k.

    Raises
    ------
    ValueError
        No weight is positive and finite.

    Examples
    --------
    >>> tail_plot(np.arange(1.0, 101.0)).axes[0].get_title()
    'worth 75 of 100 rows; Pareto k -0.40'
    """
    w = np.asarray(weights, dtype=float).ravel()
    drawn = np.sort(w[(w > 0) & np.isfinite(w)])[::-1]
    if not len(drawn):
        raise ValueError("no weight is positive and finite; there is nothing to draw")
    axes = _axes(height=4.0)
    axes.loglog(drawn / drawn.mean(), np.arange(1, len(drawn) + 1) / len(drawn), ".", markersize=3)
    axes.set_xlabel("weight / mean weight")
    axes.set_ylabel("share of rows above")
    size, k = float(cp.effective_sample_size(w)), float(cp.pareto_k(w).k)
    axes.set_title(f"worth {size:,.0f} of {len(w):,} rows; Pareto k {k:.2f}")
    return _finished(axes)


def _axes(*, height: float) -> Axes:
    return Figure(figsize=(6.0, height), layout="constrained").add_subplot()


def _finished(axes: Axes) -> Figure:
    axes.spines[["top", "right"]].set_visible(False)
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure
