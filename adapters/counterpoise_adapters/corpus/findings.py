"""The numbers of the report from a `Tally`, as `cli.summary` has them from the rows."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from counterpoise_adapters.cli.charts import calibration_chart, score_chart, weight_chart
from counterpoise_adapters.cli.report import ShownRow
from counterpoise_adapters.cli.summary import SourceLine, Summary

from .tally import CAPS, Extreme, Scores, Tally, log_odds_of, ratio_of

__all__ = ["charts_of", "shown", "summary_of"]

Floats = NDArray[np.float64]


def summary_of(
    tally: Tally, scores: Scores, names: Sequence[str], *, n_target: int, target_inside: bool, cap: float | None
) -> Summary:
    """Compute the numbers of the report.

    Parameters
    ----------
    tally : Tally
        Of all rows.
    scores : Scores
        Of the samples whose log-odds tell how separable they are.
    names : sequence of str
        Of the sources, the target's first.
    n_target : int
        Target samples, wherever they are.
    target_inside : bool
        Whether they are rows of the corpus.
    cap : float, optional
        In force.

    Returns
    -------
    Summary
        Separability and calibration to the width of the bins (1/128 nat), the share of the heaviest rows to 1.1 %, all
        else to rounding.
    """
    n, mean = tally.rows, tally.sums[1] / tally.rows
    spread = max(tally.squares[0] - tally.sums[0] ** 2 / n, 0.0) / max(n - 1, 1)
    predicted, observed, size = _calibration(scores)
    area, error = _separability(scores)
    largest = tally.most if cap is None else min(tally.most, cap)
    sizes = tally.sums**2 / tally.squares
    lines = [
        SourceLine(name, int(rows), float(rows / n), float(mass / tally.sums[1]), place == 0)
        for place, (name, rows, mass) in enumerate(zip(names, tally.source_rows, tally.source_sum, strict=True))
        if rows
    ]
    return Summary(
        rows=n, n_target=n_target, target_inside=target_inside, auc=area, auc_error=error,
        mean_ratio=float(tally.sums[0] / n), mean_error=math.sqrt(spread / n), ess=float(sizes[1]),
        largest=float(largest / mean), top_share=_top_share(tally), uncapped_size=float(sizes[0]),
        sizes=dict(zip(CAPS, sizes[2:].tolist(), strict=True)), n_sources=len(names) - 1, sources=tuple(lines),
        predicted=predicted, observed=observed, bin_size=size,
    )  # fmt: skip


def charts_of(tally: Tally, scores: Scores, summary: Summary, *, cap: float | None) -> tuple[Markup, Markup, Markup]:
    """Draw the charts of the report.

    Parameters
    ----------
    tally, scores, summary, cap
        As in `summary_of`.
    """
    others, targets = (np.flatnonzero(count) for count in scores.count)
    middle = log_odds_of(scores.count.shape[1])
    score = score_chart(
        np.concatenate([middle[others], middle[targets]]), _mask(others, targets),
        np.concatenate([scores.count[0, others], scores.count[1, targets]]).astype(np.float64),
    )  # fmt: skip
    others, targets = (np.flatnonzero(count) for count in tally.ratio_count)
    ratio = np.clip(ratio_of(tally.ratio_count.shape[1]), tally.least, tally.most)
    weight = (ratio if cap is None else np.minimum(ratio, cap)) * (tally.rows / tally.sums[1])
    histogram = weight_chart(
        np.concatenate([weight[others], weight[targets]]), _mask(others, targets),
        np.concatenate([tally.ratio_count[0, others], tally.ratio_count[1, targets]]).astype(np.float64),
    )  # fmt: skip
    return score, histogram, calibration_chart(summary)


def shown(
    rows: Sequence[Extreme], tally: Tally, names: Sequence[str], *, target_inside: bool, cap: float | None
) -> list[ShownRow]:
    """Return rows as the report shows them.

    Parameters
    ----------
    rows : sequence of Extreme
        Of the tally.
    tally, names, target_inside, cap
        As in `summary_of`.
    """
    mean = tally.sums[1] / tally.rows
    return [
        ShownRow(
            f"{row.shard}, row {row.number:,}", float((row.ratio if cap is None else min(row.ratio, cap)) / mean),
            names[row.source], target_inside and row.source == 0, row.texts,
        )
        for row in rows
    ]  # fmt: skip


def _separability(scores: Scores) -> tuple[float, float]:
    """Return the area under the ROC curve and DeLong's standard error; samples of one bin count as ties."""
    others, targets = scores.count.astype(np.float64)
    n, m = others.sum(), targets.sum()
    above = (np.cumsum(others) - others / 2) / n  # chance that a target sample of the bin scores above another
    below = 1.0 - (np.cumsum(targets) - targets / 2) / m
    area = float(targets @ above / m)
    if min(n, m) < 2:
        return area, math.nan
    parts = (
        float(count @ (place - count @ place / total) ** 2) / (total - 1) / total
        for count, place, total in ((targets, above, m), (others, below, n))
    )
    return area, math.sqrt(sum(parts))


def _calibration(scores: Scores) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Return predicted and observed frequency, and size, of ten groups by prediction, as equal as the bins allow."""
    total = scores.count.sum(axis=0)
    chance = 1.0 / (1.0 + np.exp(-log_odds_of(len(total))))
    place = ((np.cumsum(total) - total / 2) * 10 / max(int(total.sum()), 1)).astype(np.int64).clip(0, 9)
    size = np.bincount(place, weights=total, minlength=10)
    used = size > 0
    predicted = np.bincount(place, weights=total * chance, minlength=10)[used] / size[used]
    observed = np.bincount(place, weights=scores.count[1], minlength=10)[used] / size[used]
    return predicted, observed, tuple(int(s) for s in size[used])


def _top_share(tally: Tally) -> float:
    """Return the share of the weight that the heaviest hundredth of the rows holds; a bin is shared in proportion."""
    rows = tally.ratio_count.sum(axis=0)[::-1].astype(np.float64)
    before = np.cumsum(rows) - rows
    part = np.clip(max(1, tally.rows // 100) - before, 0.0, rows) / np.maximum(rows, 1.0)
    return float(part @ tally.ratio_sum[::-1] / tally.sums[1])


def _mask(others: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.concatenate([np.zeros(len(others), dtype=bool), np.ones(len(targets), dtype=bool)])
