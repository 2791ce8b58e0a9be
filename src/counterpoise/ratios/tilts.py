"""What bumps are offered beside themselves: ratios of Gaussians, of Student's t, of logistic regression."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

from .. import _xp
from .._types import Array
from .features import Features, tilt_logs
from .gaussian import FEW, WORTH, both_moments, own_covariances, proportional_covariances, shared_covariance
from .logistic import in_effect, penalty_path
from .model import Ratio
from .normality import look_gaussian
from .probability import log_losses
from .samples import location_and_spread, varying
from .student import has_heavy_tails, student_tails

Tilts = Literal["linear", "proportional", "both", "independent", "all", "student"]
HOLDS: dict[Tilts, tuple[Tilts, ...]] = {
    "linear": ("linear",),
    "proportional": ("proportional",),
    "both": ("proportional", "linear"),
    "independent": ("linear", "independent"),
    "all": ("linear", "independent", "all"),
}
"""Tilts of Gaussians, from few coefficients to many, and which of them come with each; their order tells which."""
ROWS = 40
"""Rows of both samples that a linear or proportional tilt needs for each column; and what a ridge is worth."""
ROWS_INDEPENDENT, ROWS_ALL = 30, 20
"""The same for each coefficient of independent Gaussians and of any two, which must also be worth it."""
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

    A linear or proportional one asks for forty rows of both samples for each column, constant columns aside,
    independent Gaussians for thirty for each coefficient, any two for twenty; all but the linear one for fifty of each
    sample, and to be worth it; the proportional one for at most ten columns, and to be alone for samples that look
    Gaussian. A linear tilt of many columns needs fifty of each as well, but otherwise what is ``asked``.
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
    few, rows = min(n_t, n_s) < FEW, n_t + n_s
    if rows >= ROWS * vary:
        return _worth(xp, features, target, train, vary, () if few else _enough_for(rows, vary, d))
    if few or d <= FEW_COLUMNS or rows < asked.columns * vary:
        return None
    return "linear" if rows >= asked.in_effect * _in_effect(xp, features, target, train) else None


def with_tilts(xp: Any, features: Features, target: Array, train: Array, share: float, kind: Tilts | None) -> Features:
    """Add log ratios to bumps, those of one pair of Gaussians or more, or that of Student's t.

    ``share`` is β of their relative ratios.
    """
    if kind is None:
        return features
    beta = features.bandwidth * 0 + share
    if kind == "student":
        return features._replace(tails=student_tails(xp, features, target, train), share=beta)
    return features._replace(tilts=_log_ratios(xp, features, target, train, HOLDS[kind]), share=beta)


def tilts_of(features: Features) -> Tilts | None:
    """Say which tilts bumps have: of two the last is linear where the other is that of proportional covariances."""
    if features.share is None:
        return None
    if features.tilts is None:
        return "student"
    held, linear = int(features.tilts.shape[0]), 1 + int(features.shift.shape[0])
    if held == 1:
        return "linear" if int(features.tilts.shape[1]) == linear else "proportional"
    if held == 3:
        return "all"
    curved = _xp.namespace(tilts=features.tilts).any(features.tilts[1, linear:] != 0)
    return "independent" if bool(curved) else "both"


def richest(features: Features) -> int:
    """Return the place of the tilt with the most coefficients, from the end."""
    return -2 if tilts_of(features) == "both" else -1


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
    """Log ratio of the median target row by the richest tilt; 0 if it is less, or without tilts."""
    if features.share is None:
        return 0.0
    column = richest(features)
    logs = xp.sort(xp.concat([part[:, column] for part in tilt_logs(xp, features, target)], axis=0))
    return max(0.0, float(logs[(int(logs.shape[0]) - 1) // 2]))


def optimism(xp: Any, features: Features, target: Array, train: Array, beta: float) -> float:
    """How much lower left-out losses of β-relative ratios are, where there is no shift, for tilts of all rows.

    Each of their coefficients (of a ridge: of those in effect) gains ½(1 − β)²(1/n_t + 1/n_s) on the rows that it was
    fitted to, and costs as much on others.
    """
    kind, d = tilts_of(features), int(target.shape[1])
    if kind is None:
        return 0.0
    if kind == "linear" and d > FEW_COLUMNS:
        coefficients = _in_effect(xp, features, target, train)
    else:
        coefficients = float(_count(kind, d))
    return coefficients * (1 - beta) ** 2 * (1 / int(target.shape[0]) + 1 / int(train.shape[0]))


def _count(kind: Tilts, columns: int) -> int:
    products = columns * (columns + 1) // 2
    fewer = {"linear": columns, "proportional": columns + 1, "both": columns + 1, "all": columns + products}
    return fewer.get(kind, 2 * columns)


def _enough_for(rows: int, vary: int, d: int) -> tuple[Tilts, ...]:
    """Name the tilts beside the linear one that so many rows allow; of one column any two are proportional."""
    found: list[Tilts] = ["proportional"] if vary > 1 and d <= FEW_COLUMNS else []
    if rows >= ROWS_INDEPENDENT * _count("independent", vary):
        found.append("independent")
        if rows >= max(ROWS_ALL * _count("all", vary), d * (d + 1) // 2):
            found.append("all")
    return tuple(found)


def _worth(xp: Any, features: Features, target: Array, train: Array, vary: int, others: tuple[Tilts, ...]) -> Tilts:
    """Return the kind whose log loss as a classifier is least, its coefficients charged, the linear one among them.

    Gaussians that do not fit, as of counts or categories, are worse than a linear tilt and would mislead the weights.
    A proportional one stands alone where it may be what made the samples; beside a linear one elsewhere.
    """
    if not others:
        return "linear"
    kinds: tuple[Tilts, ...] = ("linear", *others)
    offered = features._replace(tilts=_log_ratios(xp, features, target, train, kinds))
    at_t, at_s = (xp.concat([*tilt_logs(xp, offered, x)], axis=0) for x in (target, train))
    found = xp.sum(log_losses(xp, at_t, at_s, target, train), axis=0)
    losses = {kind: float(found[k]) + WORTH * _count(kind, vary) for k, kind in enumerate(kinds)}
    best = min(losses, key=losses.__getitem__)
    if best == "proportional" and not look_gaussian(xp, target, train):
        return "both"
    return best


def _log_ratios(xp: Any, features: Features, target: Array, train: Array, kinds: tuple[Tilts, ...]) -> Array:
    """Coefficients of these kinds of Gaussians, a row each, over 1 and z, or if one needs them products of two."""
    moments, found = both_moments(xp, features, target, train), []
    for kind in kinds:
        if kind == "linear":
            found.append(_linear(xp, features, target, train))
        elif kind == "proportional":
            found.append(proportional_covariances(xp, features, target, train).coefficients)
        else:
            found.append(own_covariances(xp, *moments, independent=kind == "independent"))
    width = max(int(row.shape[0]) for row in found)
    padding = xp.zeros((width,), dtype=found[0].dtype, device=_xp.device(found[0]))
    return xp.stack([xp.concat([row, padding[int(row.shape[0]) :]], axis=0) for row in found])


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
