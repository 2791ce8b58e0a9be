"""Plain advice: weigh, weigh with a cap, or do not; with the numbers that say so."""

from dataclasses import dataclass
from typing import Literal

from .summary import Summary

__all__ = ["Advice", "advise"]


@dataclass(frozen=True)
class Advice:
    """What to do, and why.

    Parameters
    ----------
    verdict : {"weigh", "cap", "do not"}
        The advice.
    headline : str
        In one sentence.
    reasons : tuple of str
        What was measured.
    cap : float or None
        The cap advised.
    """

    verdict: Literal["weigh", "cap", "do not"]
    headline: str
    reasons: tuple[str, ...]
    cap: float | None = None


def advise(summary: Summary, *, cap: float | None) -> Advice:
    """Advise from what was measured.

    Parameters
    ----------
    summary : Summary
        The numbers.
    cap : float, optional
        The cap in force.

    Returns
    -------
    Advice
        "do not" where the samples cannot be told apart, or where the ratio is worth no more rows than the
        target has by itself; "cap" where few rows hold much of the weight or the mean of the ratio is off;
        else "weigh".
    """
    apart = f"AUC {summary.auc:.3f} ± {1.96 * summary.auc_error:.3f}"
    if not summary.auc - 0.5 > 2.0 * summary.auc_error:
        return Advice(
            "do not",
            "Do not weigh: the target rows look like the others.",
            (
                f"No classifier told them apart on rows that it had not seen ({apart}; 0.5 is chance).",
                "Weights could only add noise. Train on all rows as they are; if you know of a difference, "
                "choose columns or an embedder that show it.",
            ),
        )
    size = summary.uncapped_size  # a cap raises it without bringing the samples closer
    if summary.auc > 0.98 or (summary.target_inside and size < 1.1 * summary.n_target):
        return Advice(
            "do not",
            "Do not weigh: hardly any other row resembles the target rows.",
            (
                f"The samples hardly overlap ({apart}): the ratio leaves {size:,.0f} effective rows; there "
                f"are {summary.n_target:,} target samples.",
                "Weighting would amount to training on the target samples alone. Do that, or collect data "
                "that lie between. If a trivial mark (a signature, a format) tells them apart, remove it.",
            ),
        )
    reasons = [
        f"The samples differ and overlap ({apart}).",
        f"The weights leave {summary.ess:,.0f} of {summary.rows:,} rows in effect "
        f"({summary.ess / summary.rows:.0%}); there are {summary.n_target:,} target samples.",
        f"The mean of the ratio is {summary.mean_ratio:.3f} ± {1.96 * summary.mean_error:.3f} (1 is right).",
    ]
    troubles = _troubles(summary)
    if not troubles:
        return Advice("weigh", "Weigh: use the column as it is.", tuple(reasons))
    advised = _cap(summary)
    reasons += troubles
    if cap is not None and cap <= advised:
        reasons.append(f"The cap of {cap:g} in force is already as low as is advised.")
        return Advice("weigh", "Weigh, with the cap that is in force.", tuple(reasons))
    return Advice("cap", f"Weigh with a cap: run again with --cap {advised:g}.", tuple(reasons), advised)


def _troubles(summary: Summary) -> list[str]:
    """Return what speaks for a cap."""
    found = []
    if summary.ess < 0.2 * summary.rows:
        found.append("Less than a fifth of the rows is left in effect.")
    if summary.top_share > 0.15 and summary.rows >= 100:
        found.append(f"One row in a hundred holds {summary.top_share:.0%} of the weight.")
    off = abs(summary.mean_ratio - 1.0)
    if off > 0.1 and off > 3.0 * summary.mean_error:
        found.append("That mean is off: the largest ratios are the least certain. Look at the calibration curve.")
    return found


def _cap(summary: Summary) -> float:
    """Return the largest cap on the list under which a third of the rows stays in effect, else the smallest."""
    fitting = [cap for cap, size in summary.sizes.items() if size >= summary.rows / 3]
    return max(fitting, default=min(summary.sizes))
