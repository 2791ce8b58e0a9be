"""One comparison: split, estimate the ratio, train every arm, evaluate on target lists that none has seen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise import effective_sample_size, raise_on_failure
from counterpoise_adapters.advise._ratio import out_of_fold

from .arms import ARMS, Arm
from .policy import accuracy, fit_policy, ranking_losses

__all__ = ["Outcome", "Split", "choose_split", "run_split"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
L2 = (1e-3, 1e-2, 1e-1)
FOLDS = 3


@dataclass(frozen=True)
class Split:
    """Lists to train and to test on.

    Parameters
    ----------
    train : array, shape (n, K, d)
        Standardised features, the preferred response first.
    source : array of int, shape (n,)
        Source of each training list; 0 is the target.
    key : array, shape (n,)
        Lists of one key (a prompt) stay together in every fold.
    test : array, shape (m, K, d)
        Target lists.
    """

    train: Floats
    source: Integers
    key: NDArray[Any]
    test: Floats


@dataclass(frozen=True)
class Outcome:
    """What one split found, an entry per arm.

    Parameters
    ----------
    accuracy, log_loss : array, shape (arms,)
        On the test lists; a coin toss between two has 0.5 and 0.693.
    l2, penalty : array, shape (arms,)
        The amounts chosen by cross-validation on the target's training lists.
    mean_ratio, ess : float
        Mean of the ratio over the training lists, and the effective number of these under it.
    train, test : int
        Numbers of lists.
    """

    accuracy: Floats
    log_loss: Floats
    l2: Floats
    penalty: Floats
    mean_ratio: float
    ess: float
    train: int
    test: int


def choose_split(
    source: Integers,
    key: NDArray[Any],
    *,
    target_rows: int | None,
    other_rows: int | None,
    test_share: float,
    seed: int,
) -> tuple[Integers, Integers]:
    """Hold out a share of the target's keys for the test, and draw training rows from the other keys.

    Parameters
    ----------
    source, key
        As in `Split`, of all rows.
    target_rows, other_rows : int, optional
        Most target rows, and most rows of other sources, to train on; all that there are by default.
    test_share : float
        Share of the target's keys that is held out. No training row has one of them.
    seed : int
        Of the draw.

    Returns
    -------
    (array of int, array of int)
        Training rows and test rows.

    Examples
    --------
    >>> source, key = np.array([0, 0, 1, 1]), np.array([7, 8, 7, 8])
    >>> choose_split(source, key, target_rows=None, other_rows=None, test_share=0.5, seed=0)
    (array([1, 3]), array([0]))
    """
    generator = np.random.default_rng(seed)
    keys = generator.permutation(np.unique(key[source == 0]))
    held_out = np.isin(key, keys[: max(1, round(test_share * len(keys)))])
    test = np.flatnonzero(held_out & (source == 0))
    chosen = []
    for mine, most in ((source == 0, target_rows), (source != 0, other_rows)):
        rows = np.flatnonzero(mine & ~held_out)
        chosen.append(rows if most is None or most >= len(rows) else generator.choice(rows, most, replace=False))
    return np.sort(np.concatenate(chosen)), test


def run_split(split: Split, *, seed: int, advance: Callable[[], None] = lambda: None) -> Outcome:
    """Train and evaluate every arm on one split.

    Parameters
    ----------
    split : Split
        The data.
    seed : int
        Of the folds.
    advance : callable
        Called after every arm.
    """
    n = len(split.train)
    model = out_of_fold(split.train.reshape(n, -1), split.source, group=split.key, seed=seed)
    columns: list[tuple[float, float, float, float]] = []
    for arm in ARMS:
        l2, penalty = _choose(split, arm, model.ratio_, seed)
        theta = _fit(split.train, split.source, arm, model.ratio_, l2, penalty)
        columns.append((*_score(split.test, theta), l2, penalty))
        advance()
    right, loss, l2s, penalties = np.asarray(columns).T
    ess = float(effective_sample_size(model.ratio_))
    return Outcome(right, loss, l2s, penalties, float(model.ratio_.mean()), ess, n, len(split.test))


def _fit(items: Floats, source: Integers, arm: Arm, ratio: Floats, l2: float, penalty: float) -> Floats:
    target = source == 0
    return fit_policy(items, lambda losses: raise_on_failure(arm.evaluate(losses, ratio, target, penalty)), l2=l2)


def _score(items: Floats, theta: Floats) -> tuple[float, float]:
    """Accuracy and log-loss."""
    scores = items @ theta
    return float(accuracy(scores).mean()), float(ranking_losses(scores)[0].mean())


def _choose(split: Split, arm: Arm, ratio: Floats, seed: int) -> tuple[float, float]:
    """Return the amounts with the least log-loss on target training lists that the fit had not seen."""
    best, least = (L2[0], arm.penalties[0]), float("inf")
    folds = list(_folds(split, seed))
    for l2 in L2:
        for penalty in arm.penalties:
            loss = 0.0
            for kept, held in folds:
                theta = _fit(split.train[kept], split.source[kept], arm, ratio[kept], l2, penalty)
                loss += _score(split.train[held], theta)[1] * held.sum()
            if loss < least:
                best, least = (l2, penalty), loss
    return best


def _folds(split: Split, seed: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield masks of the rows to fit on and of the target rows to judge by, no key on both sides."""
    target = split.source == 0
    keys = np.random.default_rng(seed).permutation(np.unique(split.key[target]))
    for fold in range(FOLDS):
        mine = np.isin(split.key, keys[fold::FOLDS])
        yield ~mine, mine & target
