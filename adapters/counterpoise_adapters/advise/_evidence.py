"""Do target rows and others carry different labels where they look alike? A permutation test within strata."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._linear import Tilt, fit_linear

__all__ = ["LabelBias", "label_bias"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
MOST = 4000  # rows of the other sources: more add to the work and, past ten a target row, nothing to the power
PER_STRATUM = 5  # target rows
STRATA = 20
ONE_BATCH = 50  # permutations at once


class LabelBias(NamedTuple):
    """The outcome of `label_bias`.

    Attributes
    ----------
    statistic : float
        Squared length of the difference of mean scores in units of its covariance; nan where nothing is comparable.
    p_value : float
        Share of the permutations in which it is as large; 1 where nothing is comparable.
    comparable : float
        Share of the target rows that lie in strata with rows of both kinds.
    draws : int
        Number of permutations: no p-value is below 1/(draws + 1).
    """

    statistic: float
    p_value: float
    comparable: float
    draws: int


def label_bias(
    x: Floats,
    is_target: Mask,
    score: Floats,
    *,
    group: NDArray[Any] | None = None,
    l2: float = 1e-2,
    draws: int = 999,
    seed: int = 0,
) -> LabelBias:
    """Test whether target rows and others with like features have labels of the same law.

    Rows are put into strata by how target-like their features look, labels unseen. If labels depend on features
    alone, then within a stratum features and label say nothing about who is a target row (Rosenbaum and Rubin), so
    that shuffling who is one changes nothing. Compared are the mean gradients, over target rows and over others, of
    the log-loss of a linear policy that is fitted to both.

    Parameters
    ----------
    x : array, shape (n, d)
        Differences of features, preferred less other; or features times the label ±1.
    is_target : array of bool, shape (n,)
        Which rows are target rows.
    score : array, shape (n,)
        How target-like the features are, by a model that has seen neither the row nor any label; only the order counts.
    group : array, shape (n,), optional
        Rows of one prompt are not independent: one target row and one other is drawn of each.
    l2 : float
        Ridge of the common policy.
    draws : int
        Number of permutations.
    seed : int
        Of all draws.

    Returns
    -------
    LabelBias
        Statistic and p-value. A small p-value says that labels differ, or that the score hides a difference of
        features that matters. A large one is no proof of equal labels: few target rows, differences to which a linear
        policy is blind, and rows without a like escape the test.

    References
    ----------
    Rosenbaum and Rubin, Biometrika 70 (1983), theorem 3; strata: Rosenbaum, JASA 79 (1984).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, is_target, score = rng.normal(1, 1, (300, 2)), np.arange(300) < 60, np.zeros(300)
    >>> label_bias(x, is_target, score).p_value > 0.05
    True
    >>> label_bias(np.where(is_target[:, None], -x, x), is_target, score).p_value
    0.001
    """
    generator = np.random.default_rng(seed)
    of_target = score[is_target]
    inside = (score >= of_target.min()) & (score <= of_target.max())  # beyond these no row has a like
    rows = _independent(is_target, inside, group, generator)
    stratum, counts = _strata(is_target[rows], score[rows])
    used = np.asarray((counts > 0).all(axis=1))
    comparable = float(counts[used, 1].sum() / max(1, counts[:, 1].sum()))
    kept = used[stratum]
    if not kept.any():
        return LabelBias(float("nan"), 1.0, 0.0, draws)
    rows, stratum = rows[kept], np.unique(stratum[kept], return_inverse=True)[1]
    counts = counts[used]
    share = counts[:, 1] / counts[:, 1].sum()
    prior = (share / counts.sum(axis=1))[stratum]  # knows the strata, not who is a target row
    theta = fit_linear(x[rows], Tilt(prior, np.ones(len(rows)), np.inf), l2=l2)
    scores = -x[rows] * np.exp(-np.logaddexp(0.0, x[rows] @ theta))[:, None]
    mean = np.stack([scores[stratum == k].mean(axis=0) for k in range(len(counts))])
    centred = scores - mean[stratum]
    # (target mean − other mean) of a centred stratum is the target sum times n/(n_t n_o)
    weight = (share * counts.sum(axis=1) / counts.prod(axis=1))[stratum]
    spread = (share**2 * counts.sum(axis=1) / counts.prod(axis=1) / np.maximum(1, counts.sum(axis=1) - 1))[stratum]
    covariance = (centred.T * spread) @ centred
    shrunk = covariance + np.eye(x.shape[1]) * max(np.trace(covariance) / x.shape[1], 1e-300)
    moves = (centred * weight[:, None]) @ np.linalg.cholesky(np.linalg.inv(shrunk))
    statistic = float(np.sum(moves[is_target[rows]].sum(axis=0) ** 2))
    as_large = _as_large(moves, is_target[rows], stratum, statistic, draws, generator)
    return LabelBias(statistic, (1 + as_large) / (draws + 1), comparable, draws)


def _independent(is_target: Mask, inside: Mask, group: NDArray[Any] | None, generator: np.random.Generator) -> Integers:
    """Draw one row of each kind a group, and no more others than are of use."""
    order = generator.permutation(len(is_target))
    parts = []
    for mine in (is_target, ~is_target & inside):
        rows = order[mine[order]]
        if group is not None:
            rows = rows[np.sort(np.unique(group[rows], return_index=True)[1])]
        parts.append(rows)
    return np.sort(np.concatenate([parts[0], parts[1][: max(MOST, 10 * len(parts[0]))]]))


def _strata(is_target: Mask, score: Floats) -> tuple[Integers, Integers]:
    """Return each row's stratum, of equally many target rows each, and the numbers of others and target rows."""
    n_target = int(is_target.sum())
    number = max(1, min(STRATA, n_target // PER_STRATUM))
    edges = np.quantile(score[is_target], np.arange(1, number) / number) if number > 1 else np.zeros(0)
    stratum = np.searchsorted(edges, score, side="right")
    counts = np.stack([np.bincount(stratum[mine], minlength=number) for mine in (~is_target, is_target)], axis=1)
    return stratum.astype(np.int64), counts.astype(np.int64)


def _as_large(
    moves: Floats, is_target: Mask, stratum: Integers, statistic: float, draws: int, generator: np.random.Generator
) -> int:
    """Count the permutations within strata whose statistic is as large."""
    order = np.argsort(stratum, kind="stable")
    flags, moves, stratum = is_target[order], moves[order], stratum[order]
    found = 0
    for first in range(0, draws, ONE_BATCH):
        batch = min(ONE_BATCH, draws - first)
        # sorting random keys within strata leaves every flag in its stratum
        shuffled = np.argsort(generator.random((batch, len(flags))) + stratum, axis=1)
        drawn = flags[shuffled].astype(np.float64) @ moves
        found += int(np.sum(np.sum(drawn**2, axis=1) >= statistic * (1.0 - 1e-9)))
    return found
