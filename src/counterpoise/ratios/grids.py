"""Grids of bandwidths and penalties: read, searched, returned with their scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from .. import _xp
from .._types import Array
from .features import Features, gaussian_features
from .model import Scores

BANDWIDTHS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
"""Multiples of the median distance."""
CAUTION = 0.5
"""Standard errors added to a loss before losses are compared; r = 1 has none."""
NEAR = 0.75
"""Standard errors of a paired difference within which a fit is as good as the best one."""
SEEN = 1.5
"""Standard errors by which the chosen loss must be below that of r = 1; else there is no shift to be seen."""
ENOUGH = 50
"""Rows of the smaller sample from which that is asked for: with fewer, shifts are not seen, but there."""
FLAT = 100.0
"""Multiple of the median distance at which bumps are as good as constant."""


def bumps_at(
    bandwidth: float | Sequence[float] | None, *, target: Array, train: Array, seed: int, **options: Any
) -> Features:
    """Prepare Gaussian bumps at the one bandwidth that is given, without the median distance that a grid looks at."""
    sigma: float | None = None
    if bandwidth is not None and not isinstance(bandwidth, Iterable):  # a grid may be an iterator, to be read once
        (sigma,) = amounts("bandwidth", bandwidth, zero=False)
    return gaussian_features(target=target, train=train, bandwidth=sigma, seed=seed, **options)


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
    allowed = f"a finite number {'>= 0' if zero else '> 0'}, or a grid of such numbers,"
    numbers = [
        _xp.number(name, v, lambda v: 0.0 <= v < math.inf and (zero or v > 0.0), allowed) for v in _xp.listed(values)
    ]
    if not numbers:
        raise ValueError(f"{name} is empty; one number or a grid of them is needed")
    return numbers


def best_of(scores: Sequence[Sequence[float]]) -> tuple[int, int]:
    """Return where the least score is; on a tie the largest bandwidth and penalty, which is the smoothest ratio."""
    places = [(s, p) for s, row in enumerate(scores) for p in range(len(row))]
    return min(reversed(places), key=lambda at: scores[at[0]][at[1]])


class Judged(NamedTuple):
    """What losses of rows that no fit saw say of candidates.

    Attributes
    ----------
    losses : list of float
        Mean loss of each; infinite where a row's is.
    chosen : int
        The simplest of those that are as good as the best one.
    least, error : float
        Loss of the best one and its standard error.
    """

    losses: list[float]
    chosen: int
    least: float
    error: float


def judge(
    xp: Any,
    of_target: Array,
    of_train: Array,
    complexity: Sequence[float],
    rows: tuple[int, int] | None = None,
    near: float = NEAR,
) -> Judged:
    """Choose among candidates, columns of losses whose means over target and training rows add up to a score.

    The best has the least loss plus half a standard error. As good as that is every one whose loss is within ``near``
    standard errors of the paired difference, which is known much better than either loss; of them the least complex is
    taken, on a tie the last, which is the smoothest of a rising grid. ``rows`` are how many different rows of each
    sample the losses are of, where some come up again.
    """
    n_t, n_s = rows or (int(of_target.shape[0]), int(of_train.shape[0]))
    usable = xp.all(xp.isfinite(of_target), axis=0) & xp.all(xp.isfinite(of_train), axis=0)
    of_t, of_s = (xp.where(usable[None, :], v, xp.zeros_like(v)) for v in (of_target, of_train))

    def judged(a: Array, b: Array) -> tuple[list[float], list[float]]:
        mean = xp.where(usable, xp.mean(a, axis=0) + xp.mean(b, axis=0), xp.zeros_like(a[0, :]) + xp.inf)
        error = xp.sqrt(xp.var(a, axis=0) / n_t + xp.var(b, axis=0) / n_s)
        columns = range(int(mean.shape[0]))
        return [float(mean[k]) for k in columns], [float(error[k]) for k in columns]

    losses, errors = judged(of_t, of_s)
    last_first = range(len(losses) - 1, -1, -1)
    best = min(last_first, key=lambda k: losses[k] + CAUTION * errors[k])
    above, noise = judged(of_t - of_t[:, best : best + 1], of_s - of_s[:, best : best + 1])
    alike = [k for k in last_first if k == best or above[k] <= near * noise[k]]
    return Judged(losses, min(alike, key=complexity.__getitem__), losses[best], errors[best])


def unseen(judged: Judged, of_one: float, n_t: int, n_s: int) -> bool:
    """Say whether the best loss is too near that of r = 1 to speak of a shift."""
    return min(n_t, n_s) >= ENOUGH and not of_one - judged.least > SEEN * judged.error


def grid(
    xp: Any, like: Array, sigmas: Sequence[float], lambdas: Sequence[float], found: Sequence[Sequence[float]]
) -> Scores:
    """Return the scores as arrays beside ``like``."""

    def array(values: Any) -> Array:
        return xp.asarray(values, dtype=like.dtype, device=_xp.device(like))

    return Scores(array(list(sigmas)), array(list(lambdas)), array([list(row) for row in found]))
