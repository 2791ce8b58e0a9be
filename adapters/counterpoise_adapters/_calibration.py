"""Log ratios of rows that a classifier did not see, and the scale and shift that make them likeliest there."""

from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
from numpy.typing import NDArray

from counterpoise.ratios.newton import minimise

from ._folds import deal

__all__ = ["calibration", "check_calibrate", "held_out", "likelihood"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]
_ENOUGH = float(np.finfo(np.float64).eps) ** 1.25  # nats above the minimum: below what rounding lets one see


def check_calibrate(calibrate: str | None) -> None:
    """Refuse a way to calibrate that there is not.

    Parameters
    ----------
    calibrate : str, optional
        As in `ClassifierRatio`.
    """
    if calibrate not in (None, "temperature", "platt"):
        raise ValueError(f"calibrate is {calibrate!r}; None, 'temperature' or 'platt' is needed")


def held_out(
    log_ratio: Callable[[Rows, Rows], Floats], is_target: Mask, *, calibrate: str, seed: int, groups: Any
) -> Floats:
    """Return log ratios of rows by fits that did not see them, on three folds.

    Parameters
    ----------
    log_ratio : callable
        From the places of rows to learn from and of others to the log ratios of these.
    is_target : array of bool, shape (n,)
        Both values occur.
    calibrate : {"temperature", "platt"}
        For messages.
    seed : int
        Of the folds.
    groups : array, shape (n,), optional
        Kept together.
    """
    n_folds = min(3, int(is_target.sum()), int((~is_target).sum()))
    if n_folds < 2:
        raise ValueError(f"calibrate={calibrate!r} holds out two samples of each class; add samples")
    found = np.empty(len(is_target))
    fold = deal(is_target, groups, n_folds=n_folds, seed=seed)
    for number in range(n_folds):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if not len(test):  # fewer groups than folds
            continue
        if is_target[train].all() or not is_target[train].any():
            raise ValueError("a group holds all samples of a class: calibration has none; use finer groups")
        found[test] = log_ratio(train, test)
    return found


def calibration(log_ratio: Floats, is_target: Mask, *, shift: bool) -> tuple[float, float]:
    """Return scale >= 0 and shift that maximise the held-out likelihood, with Platt's smoothed labels.

    The smoothed labels (n+1)/(n+2) keep the scale finite where the classes are separated: Platt (1999),
    section 2.2.

    Parameters
    ----------
    log_ratio : array, shape (n,)
        From `held_out`.
    is_target : array of bool, shape (n,)
        Both values occur.
    shift : bool
        Whether there is one; otherwise it is 0.

    Examples
    --------
    >>> sure = np.repeat([-4.0, 4.0], 50)  # right in four of five cases, so that log 4 = 1.4 is meant
    >>> scale, shift = calibration(sure, np.tile([True, True, True, True, False], 20) == (sure > 0), shift=True)
    >>> round(4 * scale, 1), abs(round(shift, 1))
    (1.3, 0.0)
    """
    n_target, n_other = float(is_target.sum()), float((~is_target).sum())
    labels = np.where(is_target, (n_target + 1.0) / (n_target + 2.0), 1.0 / (n_other + 2.0))
    prior = np.log(n_target) - np.log(n_other)
    columns = np.stack([log_ratio, np.ones(len(labels))], axis=1)[:, : 2 if shift else 1]

    def derivatives(free: Floats) -> tuple[Floats, Floats, Callable[[], Floats]]:
        value, chance = likelihood(columns @ free + prior, labels)
        curved = columns * (chance * (1.0 - chance))[:, None]
        n = len(labels)
        return value, columns.T @ (chance - labels) / n, lambda: columns.T @ curved / n

    found = minimise(xp, derivatives, np.asarray([1.0, 0.0])[: columns.shape[1]], tolerance=_ENOUGH).point
    if found[0] > 0.0:
        return float(found[0]), float(found[1]) if shift else 0.0
    share = float(np.mean(labels))  # the loss is convex: its least value with a scale >= 0 has the scale 0
    return 0.0, float(np.log(share) - np.log1p(-share) - prior) if shift else 0.0


def likelihood(log_odds: Floats, labels: Floats) -> tuple[Floats, Floats]:
    """Return the mean of log(1 + e^η) - y η, and 1/(1 + e^-η).

    Parameters
    ----------
    log_odds, labels : array, shape (n,)
        η, and y in [0, 1].
    """
    small = np.exp(-np.abs(log_odds))
    chance = np.where(log_odds >= 0, 1.0, small) / (1.0 + small)
    return np.asarray(np.mean(np.maximum(log_odds, 0.0) + np.log1p(small) - labels * log_odds)), chance
