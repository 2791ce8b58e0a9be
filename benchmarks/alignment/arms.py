"""The ways to train that are compared, each a function of losses, what is known of the examples, and an amount."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import counterpoise as cp

__all__ = ["ARMS", "Arm", "Columns", "arm"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """What is known of the examples before training; each of shape (..., N), broadcastable to the losses'.

    Parameters
    ----------
    target : array
        1 for examples of the target source, else 0.
    ratio : array
        dTarget/dTrain by a classifier that sees the label, out of fold: `mixture_ratio`, unless the world says no.
    blind : array
        The same by a classifier that does not see it.
    paper : array, shape (..., N, K)
        `stabilised_calibration` of each response.
    released : array, shape (..., N, K)
        `released_calibration` of each response.
    """

    target: Any
    ratio: Any
    blind: Any
    paper: Any
    released: Any


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Parameters
    ----------
    name : str
        As in the tables.
    evaluate : callable
        Maps losses, columns, prior and amount to an `Objective`. Prior 0 leaves an example out.
    amounts : tuple of float
        To choose among on held-out target examples; published settings have one.
    """

    name: str
    evaluate: Callable[[Any, Columns, Any, Any], cp.Objective]
    amounts: tuple[float, ...] = (float("nan"),)


def _target_only(losses: Any, columns: Columns, prior: Any, amount: Any) -> cp.Objective:
    mine = columns.target * prior
    # a fold, or a micro-batch, may hold none: then there is nothing better than all examples
    return cp.erm(losses, prior=mine + prior * (mine.sum(-1)[..., None] == 0))


def _chi_square(losses: Any, columns: Columns, prior: Any, amount: Any) -> cp.Objective:
    found = cp.constrained(losses, cp.ChiSquare(), amount, prior=prior)
    return cp.Objective(found.value, found.weights, found.status)


def _cvar(losses: Any, columns: Columns, prior: Any, amount: Any) -> cp.Objective:
    found = cp.cvar(losses, amount, prior=prior, smoothing=0.1)  # without, BFGS halts at kinks
    return cp.Objective(found.value, found.weights, found.status)


ARMS = (
    Arm("ERM", lambda x, c, p, a: cp.erm(x, prior=p)),
    Arm("target only", _target_only),
    Arm("KL-DRO", lambda x, c, p, a: cp.kl_dro(x, 1.0, prior=p)),
    Arm("χ²-DRO", _chi_square, (0.1, 1.0)),
    Arm("CVaR", _cvar, (0.3, 0.7)),
    Arm("reweighting", lambda x, c, p, a: cp.reweighted(x, c.ratio, prior=p)),
    Arm("reweighting, ratio²", lambda x, c, p, a: cp.reweighted(x, c.ratio**2, prior=p)),
    Arm("reweighting, label-blind", lambda x, c, p, a: cp.reweighted(x, c.blind, prior=p)),
    Arm("target-centred DRO", lambda x, c, p, a: cp.target_dro(x, c.ratio, cp.KL(), penalty=a, prior=p), (0.5, 2.0)),
    Arm("DoRA, paper", lambda x, c, p, a: cp.paper_dora(x, c.paper, prior=p)),
    # micro-batches of one: the tilt is the identity and λ does nothing, as the tests of the presets show
    Arm("DoRA, released", lambda x, c, p, a: cp.paper_dora(x, c.released, penalty=float("inf"), prior=p)),
    Arm("DoRA, λ = 1", lambda x, c, p, a: cp.dora(x, c.ratio, 1.0, prior=p)),
    Arm("DoRA, scaled", lambda x, c, p, a: cp.scaled_dora(x, c.ratio, spreads=a, prior=p), (1.5, 4.0)),
)


def arm(name: str) -> Arm:
    return next(found for found in ARMS if found.name == name)
