"""From the outcomes of many splits to intervals and one sentence that may say no."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .arms import ARMS, BASELINES
from .experiment import Outcome

__all__ = ["Comparison", "Interval", "compare_outcomes", "paired_interval"]

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
"""Of all intervals against a baseline together (Bonferroni): the best of many arms is not found better by its luck."""


@dataclass(frozen=True)
class Interval:
    """A mean difference with its interval.

    Parameters
    ----------
    mean, low, high : float
        In the units of the measure; positive is better.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Every arm against the two baselines.

    Parameters
    ----------
    accuracy, log_loss : array, shape (seeds, arms)
        As measured.
    against : dict
        Baseline's name to an `Interval` of the accuracy per arm; None for the baseline itself.
    helps : bool
        Whether some weighted arm beats ERM beyond chance.
    verdict : str
        In a sentence or two.
    """

    accuracy: Floats
    log_loss: Floats
    against: dict[str, list[Interval | None]]
    helps: bool
    verdict: str


def compare_outcomes(outcomes: list[Outcome], *, shared: float) -> Comparison:
    """Compare paired outcomes, one a seed.

    Parameters
    ----------
    outcomes : list of Outcome
        At least two.
    shared : float
        Share of their test lists that two seeds have in common, in [0, 1): 0 where every seed draws fresh data, the
        share held out where seeds split the same rows again. The outcomes of J seeds then correlate by about so much,
        and the variance is multiplied by 1/J + shared/(1 - shared) in place of 1/J (Nadeau and Bengio, Machine
        Learning 52, 2003). Their test/train is the same number where all rows are alike; where a few target rows are
        tested and many others train as well, it would promise far too narrow intervals.

    Returns
    -------
    Comparison
        Weighting "helps" if an arm's interval against ERM lies above 0. No interval is narrower than the rounding of
        an accuracy over so many lists allows.
    """
    right = np.stack([outcome.accuracy for outcome in outcomes])
    loss = np.stack([outcome.log_loss for outcome in outcomes])
    overlap = shared / (1.0 - shared)
    step = float(np.mean([1.0 / outcome.test for outcome in outcomes]))
    names = [arm.name for arm in ARMS]
    each = 1.0 - (1.0 - CONFIDENCE) / (len(ARMS) - 1)
    against = {}
    for baseline in BASELINES:
        other = names.index(baseline)
        against[baseline] = [
            None if i == other else paired_interval(right[:, i] - right[:, other], overlap, step, each)
            for i in range(len(names))
        ]
    helps, verdict = _verdict(names, right.mean(axis=0), loss.mean(axis=0), against)
    return Comparison(right, loss, against, helps, verdict)


def paired_interval(differences: Floats, overlap: float, step: float, confidence: float) -> Interval:
    """Return the mean difference between two arms with its interval.

    Parameters
    ----------
    differences : array, shape (seeds,)
        In the units of the measure.
    overlap : float
        shared/(1 - shared), as in `compare_outcomes`.
    step : float
        What an accuracy moves in, 1/lists.
    confidence : float
        In (0, 1), of this interval alone.

    Examples
    --------
    >>> paired_interval(np.array([0.1, 0.3]), 0.0, 0.01, 0.5)
    Interval(mean=0.2, low=0.1, high=0.3)
    """
    seeds = len(differences)
    mean = float(differences.mean())
    # accuracies move in steps of 1/lists: a few equal differences are rounding, and no proof of certainty
    variance = max(float(differences.var(ddof=1)), step * step / 12.0)
    error = float(np.sqrt((1.0 / seeds + overlap) * variance))
    half = float(stats.t.ppf(0.5 + confidence / 2.0, seeds - 1)) * error
    return Interval(mean, mean - half, mean + half)


def _verdict(
    names: list[str], right: Floats, loss: Floats, against: dict[str, list[Interval | None]]
) -> tuple[bool, str]:
    weighted = [i for i, name in enumerate(names) if name not in BASELINES]
    erm, alone = against["ERM"], against["target only"]
    better = [i for i in weighted if (found := erm[i]) is not None and found.low > 0]
    worse = [names[i] for i in weighted if (found := erm[i]) is not None and found.high < 0]
    harm = f" Worse than ERM beyond chance: {', '.join(worse)}." if worse else ""
    only = erm[names.index("target only")]
    if not better:
        advice = "Training on the target rows alone does." if only is not None and only.low > 0 else "Train as usual."
        return False, f"Weighting does not help here: no weighted arm beats ERM beyond chance. {advice}{harm}"
    best = max(better, key=lambda i: right[i])
    found, rival = erm[best], alone[best]
    assert found is not None and rival is not None  # a weighted arm is neither baseline
    gain = f"{names[best]} is {_points(found)} better than ERM"
    if rival.low > 0:
        return True, f"Weighting helps here: {gain}, and {_points(rival)} better than target only.{harm}"
    if rival.high < 0:
        return True, f"Weighting helps here ({gain}), but training on the target rows alone is better still.{harm}"
    calmer = min(better, key=lambda i: loss[i])
    tie = "; accuracy does not tell it from training on the target rows alone"
    if loss[calmer] < loss[names.index("target only")]:
        tie += (
            f", log-loss is lower ({names[calmer]}: {loss[calmer]:.3f} against {loss[names.index('target only')]:.3f})"
        )
    return True, f"Weighting helps here: {gain}{tie}.{harm}"


def _points(found: Interval) -> str:
    return f"{100 * found.mean:.1f} points [{100 * found.low:.1f}, {100 * found.high:.1f}]"
