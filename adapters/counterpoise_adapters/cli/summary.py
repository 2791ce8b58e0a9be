"""What weighing found, in the numbers that a person decides by."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.diagnostics import calibration_table, effective_sample_size, normalisation, two_sample_auc
from counterpoise_adapters.corpus.tally import CAPS

from .weighing import Weighed

__all__ = ["SourceLine", "Summary", "summarise"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SourceLine:
    """One source: its name, its rows, and its share of the rows and of the weight."""

    name: str
    rows: int
    row_share: float
    weight_share: float
    is_target: bool


@dataclass(frozen=True)
class Summary:
    """The numbers behind the report.

    Parameters
    ----------
    rows, n_target : int
        Rows of the file; target samples, wherever they are.
    target_inside : bool
        Whether the target samples are rows of the file.
    auc, auc_error : float
        Separability of target and other samples, out of fold, and its standard error.
    mean_ratio, mean_error : float
        Mean of the ratio over the file, which should be 1, and its standard error.
    ess : float
        Effective sample size of the weights, in rows.
    largest : float
        The largest weight.
    top_share : float
        Share of the weight held by the 1 % of rows that weigh most (at least one row).
    uncapped_size : float
        Effective sample size of the ratio, before any cap.
    sizes : mapping of float to float
        Effective sample size of the ratio under each cap that may be advised.
    n_sources : int
        How many sources the target is told from.
    sources : tuple of SourceLine
        The target first, where it is in the file.
    predicted, observed : array, shape (bins,)
        Calibration of the probability of "target".
    bin_size : tuple of int
        Samples per bin.
    """

    rows: int
    n_target: int
    target_inside: bool
    auc: float
    auc_error: float
    mean_ratio: float
    mean_error: float
    ess: float
    largest: float
    top_share: float
    uncapped_size: float
    sizes: Mapping[float, float]
    n_sources: int
    sources: tuple[SourceLine, ...]
    predicted: Floats
    observed: Floats
    bin_size: tuple[int, ...]


def summarise(weighed: Weighed) -> Summary:
    """Compute the numbers of the report.

    Parameters
    ----------
    weighed : Weighed
        What weighing found.
    """
    auc = two_sample_auc(weighed.scores[weighed.is_target], weighed.scores[~weighed.is_target])
    mean = normalisation(weighed.ratio)
    chance = np.exp(-np.logaddexp(0.0, -weighed.scores))
    table = calibration_table(chance, weighed.is_target.astype(np.float64), n_bins=10)
    n = len(weighed.weight)
    top = max(1, n // 100)
    heaviest = np.partition(weighed.weight, n - top)[n - top :]
    return Summary(
        rows=n,
        n_target=weighed.n_target,
        target_inside=weighed.target_inside,
        auc=float(auc.value),
        auc_error=float(auc.standard_error),
        mean_ratio=float(mean.value),
        mean_error=float(mean.standard_error),
        ess=float(effective_sample_size(weighed.weight)),
        largest=float(weighed.weight.max()),
        top_share=float(heaviest.sum() / weighed.weight.sum()),
        uncapped_size=float(effective_sample_size(weighed.ratio)),
        sizes={cap: float(effective_sample_size(np.minimum(weighed.ratio, cap))) for cap in CAPS},
        n_sources=len(weighed.names) - 1,
        sources=_sources(weighed),
        predicted=table.predicted,
        observed=table.observed,
        bin_size=table.size,
    )


def _sources(weighed: Weighed) -> tuple[SourceLine, ...]:
    rows = np.bincount(weighed.source, minlength=len(weighed.names))
    mass = np.bincount(weighed.source, weights=weighed.weight, minlength=len(weighed.names))
    return tuple(
        SourceLine(name, int(rows[i]), float(rows[i] / rows.sum()), float(mass[i] / mass.sum()), i == 0)
        for i, name in enumerate(weighed.names)
        if rows[i]
    )
