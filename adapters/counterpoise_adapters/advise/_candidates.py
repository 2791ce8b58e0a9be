"""The ways to train that advice chooses among, each with its amounts, and their held-out losses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._linear import Tilt, fit_linear

__all__ = ["ARMS", "CANDIDATES", "Candidate", "held_out_margins", "tilt_of"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
ARMS = ("ERM", "target + weighted", "target only", "reweighting", "target-centred DRO", "DoRA")
L2 = (1e-3, 1e-2, 1e-1, 1.0)
PENALTIES = (0.5, 2.0, 8.0)  # in nats, where the loss of a coin toss is 0.69
POWERS = (0.5, 1.0, 2.0)
TARGET_SHARE = 0.5  # of the weight, in "target + weighted"


@dataclass(frozen=True)
class Candidate:
    """One way to train with its amounts.

    Parameters
    ----------
    arm : str
        One of `ARMS`. "target + weighted" is half the mean over the target rows and half the weighted mean over all.
    l2 : float
        Ridge.
    power : float or None
        Of the ratio, for reweighting: below 1 it is tempered, above 1 sharpened.
    penalty : float or None
        λ, for the robust arms, in nats.
    """

    arm: str
    l2: float
    power: float | None = None
    penalty: float | None = None


CANDIDATES = tuple(
    Candidate(arm, l2, power=power, penalty=penalty)
    for arm in ARMS
    for power in (POWERS if arm == "reweighting" else (None,))
    for penalty in (PENALTIES if arm in ("target-centred DRO", "DoRA") else (None,))
    for l2 in L2
)


def tilt_of(candidate: Candidate, ratio: Floats, is_target: Mask) -> Tilt:
    """Return what a candidate minimises.

    Parameters
    ----------
    candidate : Candidate
        Arm and amounts.
    ratio : array, shape (n,)
        dTarget/dTrain of each row.
    is_target : array of bool, shape (n,)
        Which rows are target rows.

    Examples
    --------
    >>> tilt_of(Candidate("reweighting", 0.1, power=2.0), np.array([1.0, 3.0]), np.array([True, False])).prior
    array([0.1, 0.9])
    """
    n = len(ratio)
    even, one = np.full(n, 1.0 / n), np.ones(n)
    penalty = np.inf if candidate.penalty is None else candidate.penalty
    if candidate.arm == "ERM":
        return Tilt(even, one, penalty)
    if candidate.arm == "target only":
        return Tilt(is_target / is_target.sum(), one, penalty)
    if candidate.arm == "DoRA":
        return Tilt(even, ratio, penalty)
    weight = ratio if candidate.power is None else (ratio / ratio.max()) ** candidate.power
    weight = weight / weight.sum()
    if candidate.arm == "target + weighted":  # two estimates of one mean: they err apart from each other
        weight = TARGET_SHARE * is_target / is_target.sum() + (1.0 - TARGET_SHARE) * weight
    return Tilt(weight, one, penalty)


def held_out_margins(
    x: Floats,
    is_target: Mask,
    ratio: Floats,
    group: NDArray[Any],
    *,
    folds: int,
    repeats: int,
    seed: int,
    advance: Callable[[], None],
) -> Floats:
    """Return the margin of every target row by policies that saw no row of its group.

    Parameters
    ----------
    x, is_target, ratio, group
        The rows.
    folds, repeats : int
        Of the cross-validation; the target's groups are dealt to the folds anew in every repeat.
    seed : int
        Of the dealing.
    advance : callable
        Called after every candidate.

    Returns
    -------
    array, shape (repeats, candidates, target rows)
        Positive where the policy is right.
    """
    rows = np.flatnonzero(is_target)
    place = np.zeros(len(x), dtype=np.int64)
    place[rows] = np.arange(len(rows))
    keys = np.unique(group[rows])
    generator = np.random.default_rng(seed)
    held: list[tuple[int, Mask]] = []
    for _ in range(repeats):
        dealt = generator.permutation(keys)
        held += [(len(held) // folds, np.isin(group, dealt[fold::folds])) for fold in range(folds)]
    margins = np.empty((repeats, len(CANDIDATES), len(rows)))
    for number, candidate in enumerate(CANDIDATES):
        start = fit_linear(x, tilt_of(candidate, ratio, is_target), l2=candidate.l2)
        for repeat, out in held:
            kept, tested = ~out, out & is_target
            tilt = tilt_of(candidate, ratio[kept], is_target[kept])
            theta = fit_linear(x[kept], tilt, l2=candidate.l2, start=start)
            margins[repeat, number, place[tested]] = x[tested] @ theta
        advance()
    return margins
