"""Grids of bandwidths and penalties: read, searched, returned with their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import _xp
from .._types import Array
from .features import Features
from .model import Scores

BANDWIDTHS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
"""Multiples of the median distance."""
CAUTION = 0.25
"""Standard errors added to a loss before losses are compared; r = 1 has none."""
SEEN = 1.5
"""Standard errors by which the chosen loss must be below that of r = 1; else there is no shift to be seen."""
ENOUGH = 50
"""Rows of the smaller sample from which that is asked for: with fewer, shifts are not seen, but there."""
FLAT = 100.0
"""Multiple of the median distance at which bumps are as good as constant."""


def bandwidths(features: Features, given_bandwidth: float | Sequence[float] | None, *, given: bool) -> list[float]:
    """Return the grid of σ: given ones, the features' own, or multiples of the median distance."""
    if given_bandwidth is not None:
        return amounts("bandwidth", given_bandwidth, zero=False)
    median = float(features.bandwidth)
    return [median] if given else [median * m for m in BANDWIDTHS]


def with_bandwidth(features: Features, sigma: float) -> Features:
    """Return the features at another bandwidth."""
    return features._replace(bandwidth=features.bandwidth * 0 + sigma)


def amounts(name: str, values: float | Sequence[float], *, zero: bool) -> list[float]:
    """Return one or more numbers as floats above 0 (or from 0 on), or say which is none."""
    numbers = [float(values)] if isinstance(values, int | float) else [float(v) for v in values]
    for v in numbers:
        if not (0.0 <= v < math.inf) or (v == 0.0 and not zero):
            raise ValueError(f"{name} holds {v}; numbers {'>= 0' if zero else '> 0'} and finite are needed")
    if not numbers:
        raise ValueError(f"{name} is empty; one number or a grid of them is needed")
    return numbers


def best_of(scores: Sequence[Sequence[float]]) -> tuple[int, int]:
    """Return where the least score is; on a tie the largest bandwidth and penalty, which is the smoothest ratio."""
    places = [(s, p) for s, row in enumerate(scores) for p in range(len(row))]
    return min(reversed(places), key=lambda at: scores[at[0]][at[1]])


def unseen(loss: tuple[float, float], of_one: float, n_t: int, n_s: int) -> bool:
    """Say whether a loss, with its standard error, is too near that of r = 1 to speak of a shift."""
    return min(n_t, n_s) >= ENOUGH and not of_one - loss[0] > SEEN * loss[1]


def optimism(features: Features, beta: float, n_t: int, n_s: int) -> float:
    """How much lower left-out losses of β-relative ratios are, where there is no shift, for tilts of all rows.

    Each of their coefficients gains ½(1 − β)²(1/n_t + 1/n_s) on the rows that it was fitted to, and costs as much on
    others.
    """
    if features.tilts is None:
        return 0.0
    return (int(features.tilts.shape[1]) - 1) * (1 - beta) ** 2 * (1 / n_t + 1 / n_s)


def grid(
    xp: Any, like: Array, sigmas: Sequence[float], lambdas: Sequence[float], found: Sequence[Sequence[float]]
) -> Scores:
    """Return the scores as arrays beside ``like``."""

    def array(values: Any) -> Array:
        return xp.asarray(values, dtype=like.dtype, device=_xp.device(like))

    return Scores(array(list(sigmas)), array(list(lambdas)), array([list(row) for row in found]))
