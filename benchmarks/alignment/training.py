"""Ratios out of fold, settings by cross-validation on target examples, accuracy on target examples nobody has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from counterpoise_adapters.cli.policy import accuracy
from counterpoise_adapters.sklearn import ClassifierRatio
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import counterpoise as cp

from .arms import Arm, Columns
from .fitting import fit_linear

__all__ = ["Problem", "columns_of", "stacked", "train_arm"]

Floats = NDArray[np.float64]
L2 = (3e-3, 3e-2)
FOLDS = 3


@dataclass(frozen=True)
class Problem:
    """Training pairs of S seeds with what is known of them.

    Parameters
    ----------
    differences : array, shape (S, N, d)
        Features of the preferred response minus those of the other.
    columns : Columns
        Each array of shape (S, 1, units) or, with slots, (S, 1, units, K).
    fold : array of int, shape (S, units)
        Examples of one prompt share a fold.
    per_unit : int
        Pairs of one unit, the thing that is weighed: 1, or all pairs of a list, whose losses are averaged.
    """

    differences: Floats
    columns: Columns
    fold: NDArray[np.int64]
    per_unit: int = 1


def columns_of(
    features: Floats, blind: Floats, responses: Floats, source: Any, *, seed: int, unclipped: bool = False, groups: Any
) -> Columns:
    """Estimate every ratio of one seed's pairs; the classifiers never saw what they weigh.

    Parameters
    ----------
    features, blind : array, shape (n, p)
        Of pairs, with and without their label.
    responses : array, shape (n, K, d)
        Of single responses, for the paper's classifiers.
    source : array of int, shape (n,)
        0 is the target.
    seed : int
        Of the folds.
    unclipped : bool
        Take the label-aware ratio against the other sources alone.
    groups : array, shape (n,)
        Rows of one group share a fold.
    """
    aware = _classifier(seed).fit(features, source, groups=groups)
    ratio = aware.ratio_
    if unclipped:
        assert aware.other_shares_ is not None
        others = np.asarray(aware.other_shares_) / sum(aware.other_shares_)
        ratio = np.exp(cp.log_mixture_ratio(aware.log_ratio_, target_share=0.0, other_shares=others.tolist()))
    n, slots, d = responses.shape
    each = _classifier(seed).fit(
        responses.reshape(n * slots, d), np.repeat(source, slots), groups=np.repeat(groups, slots)
    )
    paper = cp.stabilised_calibration(
        each.log_ratio_, target_share=each.target_share_, other_shares=each.other_shares_
    ).reshape(n, slots)
    # the code has one classifier of target against all others, with balanced classes and without γ
    balanced = each.log_odds_ - np.log(each.target_share_ / (1.0 - each.target_share_))
    probability = 1.0 / (1.0 + np.exp(-balanced.reshape(n, slots)))
    released = cp.released_calibration(probability, slot_shares=None if slots in (2, 4, 6) else [1.0 / slots] * slots)
    seen = _classifier(seed).fit(blind, source, groups=groups)
    return Columns((np.asarray(source) == 0).astype(float), ratio, seen.ratio_, paper, released)


def _classifier(seed: int) -> ClassifierRatio:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return ClassifierRatio(model, target=0, random_state=seed)


def stacked(columns: Sequence[Columns]) -> Columns:
    """Join seeds, with an axis for the settings."""
    names = Columns.__dataclass_fields__
    return Columns(**{name: np.stack([getattr(one, name) for one in columns])[:, None] for name in names})


def train_arm(problem: Problem, arm: Arm) -> tuple[Floats, Floats, Floats]:
    """Choose the amounts by the log-loss of held-out target examples, and fit with them.

    Parameters
    ----------
    problem : Problem
        Of all seeds.
    arm : Arm
        How to train.

    Returns
    -------
    (array of shape (S, d), array of shape (S,), array of shape (S,))
        Policies, and the l2 and the amount of each.
    """
    grid = [(fold, l2, amount) for l2 in L2 for amount in arm.amounts for fold in range(FOLDS)]
    seeds, units = problem.fold.shape
    kept = np.stack([problem.fold != fold for fold, _, _ in grid], axis=1).astype(float)
    l2 = np.tile([entry[1] for entry in grid], (seeds, 1))
    amount = np.tile([entry[2] for entry in grid], (seeds, 1))
    theta = fit_linear(problem.differences, _objective(problem, arm, kept, amount), l2)
    losses = _unit_losses(problem, theta)
    held = (1.0 - kept) * problem.columns.target
    loss = (losses * held).sum(axis=-1) / held.sum(axis=-1).clip(1e-12)
    per_setting = loss.reshape(seeds, len(grid) // FOLDS, FOLDS).mean(axis=-1)
    best = per_setting.argmin(axis=-1) * FOLDS
    l2, amount = (np.take_along_axis(a, best[:, None], axis=1) for a in (l2, amount))
    fitted = fit_linear(problem.differences, _objective(problem, arm, np.ones((seeds, 1, units)), amount), l2)
    return fitted[:, 0], l2[:, 0], amount[:, 0]


def _objective(problem: Problem, arm: Arm, prior: Floats, amount: Floats) -> Callable[[Floats], cp.Objective]:
    many = problem.per_unit

    def objective(losses: Floats) -> cp.Objective:
        units = losses.reshape(*losses.shape[:-1], -1, many).mean(axis=-1) if many > 1 else losses
        found = cp.raise_on_failure(arm.evaluate(units, problem.columns, prior, amount))
        weights = np.repeat(found.weights / many, many, axis=-1) if many > 1 else found.weights
        return cp.Objective(found.value, weights, found.status)

    return objective


def _unit_losses(problem: Problem, theta: Floats) -> Floats:
    losses = np.logaddexp(0.0, -(theta @ problem.differences.swapaxes(1, 2)))
    return losses.reshape(*losses.shape[:-1], -1, problem.per_unit).mean(axis=-1)


def evaluate(theta: Floats, test: Floats, labelled: Floats) -> tuple[Floats, Floats]:
    """Return accuracy of the best response, and the log-loss of pairs, on the test lists of each seed.

    Parameters
    ----------
    theta : array, shape (S, d)
        Policies.
    test, labelled : array, shape (S, m, K, d)
        In the order to be found, and in the order of labels.
    """
    right = np.stack([accuracy(items @ t) for items, t in zip(test, theta, strict=True)]).mean(axis=1)
    scores = np.einsum("smkd,sd->smk", labelled, theta)
    first, second = np.triu_indices(scores.shape[-1], k=1)
    loss = np.logaddexp(0.0, scores[..., second] - scores[..., first]).mean(axis=(1, 2))
    return right, loss
