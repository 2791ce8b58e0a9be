"""What bumps are offered beside themselves: ratios of Gaussians, of Student's t, of logistic regression."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

from .._types import Array
from .features import Features, tilt_logs
from .gaussian import FEW, both_moments, own_covariances, shared_covariance
from .logistic import in_effect, penalty_path, softplus
from .model import Ratio
from .samples import location_and_spread, varying
from .student import has_heavy_tails, student_tails

Tilts = Literal["linear", "independent", "all", "student"]
GAUSSIANS: tuple[Tilts, ...] = ("linear", "independent", "all")
"""Tilts of Gaussians; each kind holds those before it."""
ROWS = 40
"""Rows of both samples that a linear tilt needs for each column; and what the ridge of one is worth."""
ROWS_INDEPENDENT, ROWS_ALL = 30, 20
"""The same for each coefficient of the others, which must also show that they are worth it."""
WORTH = 1.5
"""Nats of log loss that each coefficient more must be worth."""
FEW_COLUMNS = 10
"""Most columns for which a linear tilt alone is that of Gaussians; a covariance of more fits its own rows too well."""
BOUNDED, LOOSE = 0.1, 0.01
"""Least β of tilts in least squares: none exceeds 1/β. The bound of ten bends those that stay below it as well."""


class Asked(NamedTuple):
    """Rows of both samples that a linear tilt of many columns needs for each coefficient in effect and each column."""

    in_effect: float
    columns: float


def kind_of_tilts(
    xp: Any, features: Features, target: Array, train: Array, wanted: bool | Tilts, asked: Asked
) -> Tilts | None:
    """Return what tilts bumps get: those that are wanted, or what the rows allow and their tails ask for.

    A linear one asks for forty rows of both samples for each column, constant columns aside. Independent Gaussians ask
    for thirty for each coefficient, any two for twenty, both for fifty of each sample, and to be worth it. A linear
    tilt of many columns needs fifty of each as well, but otherwise what is ``asked``.
    """
    allowed = (True, False, *get_args(Tilts))
    if wanted not in allowed:
        raise ValueError(f"tilts is {wanted!r}; one of {', '.join(map(repr, allowed))} is needed")
    n_t, n_s, d = int(target.shape[0]), int(train.shape[0]), int(target.shape[1])
    shift, scale = location_and_spread(xp, target, train)
    vary = int(xp.sum(xp.astype(varying(xp, (target - shift) / scale, (train - shift) / scale), target.dtype)))
    if not wanted or not hasattr(xp, "linalg") or vary == 0:
        return None
    if wanted is not True:
        return wanted
    if has_heavy_tails(xp, target, train):
        return "student"
    few, rows, products = min(n_t, n_s) < FEW, n_t + n_s, vary * (vary + 1) // 2
    counts = vary, 2 * vary, vary + products
    if rows >= ROWS * vary:
        kinds = 1
        if not few and rows >= ROWS_INDEPENDENT * counts[1]:
            kinds = 3 if rows >= max(ROWS_ALL * counts[2], d * (d + 1) // 2) else 2
        return _worth(xp, features, target, train, counts[:kinds])
    if few or d <= FEW_COLUMNS or rows < asked.columns * vary:
        return None
    return "linear" if rows >= asked.in_effect * _in_effect(xp, features, target, train) else None


def with_tilts(xp: Any, features: Features, target: Array, train: Array, share: float, kind: Tilts | None) -> Features:
    """Add log ratios to bumps: a linear one; those of two or three pairs of Gaussians; or that of Student's t.

    ``share`` is β of their relative ratios.
    """
    if kind is None:
        return features
    if kind == "student":
        tails = student_tails(xp, features, target, train)
        return features._replace(tails=tails, share=features.bandwidth * 0 + share)
    tilts = _linear(xp, features, target, train)[None, :]
    if kind != "linear":
        which, moments = (True,) if kind == "independent" else (True, False), both_moments(xp, features, target, train)
        found = [own_covariances(xp, *moments, independent=independent) for independent in which]
        padded = xp.concat([tilts[0, :], xp.zeros_like(found[0][int(tilts.shape[1]) :])], axis=0)
        tilts = xp.stack([padded, *found])
    return features._replace(tilts=tilts, share=features.bandwidth * 0 + share)


def with_bounded_tilts(
    xp: Any, features: Features, target: Array, train: Array, alpha: float, kind: Tilts | None
) -> Features:
    """Add tilts for least squares, which few training rows with large values mislead: bounded where any row's is."""
    loose = with_tilts(xp, features, target, train, max(alpha, LOOSE), kind)
    if kind is None or alpha >= BOUNDED:
        return loose
    if max(float(xp.max(logs)) for x in (target, train) for logs in tilt_logs(xp, loose, x)) <= math.log(1 / BOUNDED):
        return loose
    return loose._replace(share=features.bandwidth * 0 + max(alpha, BOUNDED))


def typical_log(xp: Any, features: Features, target: Array) -> float:
    """Log ratio of the median target row by the last tilt, which is the richest; 0 if it is less, or without tilts."""
    if features.share is None:
        return 0.0
    logs = xp.sort(xp.concat([part[:, -1] for part in tilt_logs(xp, features, target)], axis=0))
    return max(0.0, float(logs[(int(logs.shape[0]) - 1) // 2]))


def optimism(xp: Any, features: Features, target: Array, train: Array, beta: float) -> float:
    """How much lower left-out losses of β-relative ratios are, where there is no shift, for tilts of all rows.

    Each of their coefficients (of a ridge: of those in effect) gains ½(1 − β)²(1/n_t + 1/n_s) on the rows that it was
    fitted to, and costs as much on others.
    """
    if features.share is None:
        return 0.0
    d = int(target.shape[1])
    if features.tilts is None:
        coefficients = 2.0 * d
    elif int(features.tilts.shape[0]) == 1 and d > FEW_COLUMNS:
        coefficients = _in_effect(xp, features, target, train)
    elif int(features.tilts.shape[0]) == 2:
        coefficients = 2.0 * d
    else:
        coefficients = int(features.tilts.shape[1]) - 1.0
    return coefficients * (1 - beta) ** 2 * (1 / int(target.shape[0]) + 1 / int(train.shape[0]))


def _worth(xp: Any, features: Features, target: Array, train: Array, counts: tuple[int, ...]) -> Tilts:
    """Return the kind, of as many as have counts, whose log loss as a classifier is least, its coefficients charged.

    Gaussians that do not fit, as of counts or categories, are worse than a linear tilt and would mislead the weights.
    """
    if len(counts) == 1:
        return "linear"
    offered = with_tilts(xp, features, target, train, BOUNDED, GAUSSIANS[len(counts) - 1])
    offset = math.log(int(target.shape[0])) - math.log(int(train.shape[0]))
    losses = [WORTH * count for count in counts]
    for x, sign in ((target, -1.0), (train, 1.0)):
        for logs in tilt_logs(xp, offered, x):
            found = xp.sum(softplus(xp, sign * (logs + offset)), axis=0)
            losses = [loss + float(found[k]) for k, loss in enumerate(losses)]
    return GAUSSIANS[losses.index(min(losses))]


def _linear(xp: Any, features: Features, target: Array, train: Array) -> Array:
    """Coefficients of the linear tilt: that of Gaussians of one covariance, a ridge's where there are many columns."""
    if int(target.shape[1]) > FEW_COLUMNS:
        return _ridge(xp, features, target, train).coefficients
    return shared_covariance(xp, *both_moments(xp, features, target, train))


def _ridge(xp: Any, features: Features, target: Array, train: Array) -> Ratio:
    """Fit logistic regression to rows scaled by relevance, with a ridge that is worth forty of them."""
    linear = features._replace(kind="linear", centres=features.centres[:0, :])
    penalty = ROWS / (int(target.shape[0]) + int(train.shape[0]))
    return penalty_path(xp, linear, target, train, [penalty])[0]


def _in_effect(xp: Any, features: Features, target: Array, train: Array) -> float:
    return in_effect(xp, _ridge(xp, features, target, train), target, train)
