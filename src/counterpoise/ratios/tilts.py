"""What bumps are offered beside themselves: ratios of Gaussians, of Student's t, of logistic regression."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

from .. import _xp
from .._types import Array
from .features import Features, largest_tilt
from .gaussian import FEW, both_moments, own_covariances, shared_covariance
from .logistic import in_effect, penalty_path
from .model import Ratio
from .student import has_heavy_tails, student_tails

Tilts = Literal["linear", "all", "student"]
ROWS = 40
"""Rows of both samples that a tilt needs for each of its coefficients; and what the ridge of a linear one is worth."""
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

    Each asks for forty rows of both samples for each of its coefficients, constant columns aside; all but the linear
    one for fifty of each sample. That of many columns needs fifty of each as well, but otherwise what is ``asked``.
    """
    if wanted not in (True, False, *get_args(Tilts)):
        raise ValueError(f"tilts is {wanted!r}; True, False, 'linear', 'all' or 'student' is needed")
    n_t, n_s, d = int(target.shape[0]), int(train.shape[0]), int(target.shape[1])
    ranges = (
        xp.maximum(xp.max(target, axis=0), xp.max(train, axis=0)),
        xp.minimum(xp.min(target, axis=0), xp.min(train, axis=0)),
    )
    varying = int(xp.sum(xp.astype(ranges[0] > ranges[1], _xp.integer(xp, target))))
    if not wanted or not hasattr(xp, "linalg") or varying == 0:
        return None
    if wanted is not True:
        return wanted
    if has_heavy_tails(xp, target, train):
        return "student"
    few, rows, products = min(n_t, n_s) < FEW, n_t + n_s, varying * (varying + 1) // 2
    if not few and rows >= max(ROWS * (varying + products), d * (d + 1) // 2):
        return "all"
    if rows >= ROWS * varying:
        return "linear"
    if few or d <= FEW_COLUMNS or rows < asked.columns * varying:
        return None
    return "linear" if rows >= asked.in_effect * _in_effect(xp, features, target, train) else None


def with_tilts(xp: Any, features: Features, target: Array, train: Array, share: float, kind: Tilts | None) -> Features:
    """Add log ratios to bumps: a linear one; those of three pairs of Gaussians; or that of Student's t.

    ``share`` is β of their relative ratios.
    """
    if kind is None:
        return features
    if kind == "student":
        tails = student_tails(xp, features, target, train)
        return features._replace(tails=tails, share=features.bandwidth * 0 + share)
    if kind == "linear" and int(target.shape[1]) > FEW_COLUMNS:
        tilts = _ridge(xp, features, target, train).coefficients[None, :]
        return features._replace(tilts=tilts, share=features.bandwidth * 0 + share)
    moments = both_moments(xp, features, target, train)
    tilts = shared_covariance(xp, *moments)[None, :]
    if kind == "all":
        found = [own_covariances(xp, *moments, independent=independent) for independent in (True, False)]
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
    if max(largest_tilt(xp, loose, x) for x in (target, train)) <= math.log(1 / BOUNDED):
        return loose
    return loose._replace(share=features.bandwidth * 0 + max(alpha, BOUNDED))


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
    else:
        coefficients = int(features.tilts.shape[1]) - 1.0
    return coefficients * (1 - beta) ** 2 * (1 / int(target.shape[0]) + 1 / int(train.shape[0]))


def _ridge(xp: Any, features: Features, target: Array, train: Array) -> Ratio:
    """Fit logistic regression to rows scaled by relevance, with a ridge that is worth forty of them."""
    linear = features._replace(kind="linear", centres=features.centres[:0, :])
    penalty = ROWS / (int(target.shape[0]) + int(train.shape[0]))
    return penalty_path(xp, linear, target, train, [penalty])[0]


def _in_effect(xp: Any, features: Features, target: Array, train: Array) -> float:
    return in_effect(xp, _ridge(xp, features, target, train), target, train)
