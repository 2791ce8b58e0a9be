"""The ways to train that are compared: what each minimises, and the amounts it may choose among."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import counterpoise as cp

__all__ = ["ARMS", "BASELINES", "Arm"]

Floats = NDArray[np.float64]
PENALTIES = (0.5, 2.0, 8.0)  # in nats, where the loss of a coin toss is 0.69


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Parameters
    ----------
    name : str
        As in the table.
    evaluate : callable
        Maps losses, ratio, mask of target rows and penalty to an `Objective`.
    penalties : tuple of float
        Penalties to choose among by cross-validation; one that is not used is nan.
    """

    name: str
    evaluate: Callable[[Floats, Floats, NDArray[np.bool_], float], cp.Objective]
    penalties: tuple[float, ...] = (float("nan"),)


ARMS = (
    Arm("ERM", lambda losses, ratio, target, penalty: cp.erm(losses)),
    Arm("target only", lambda losses, ratio, target, penalty: cp.erm(losses, prior=target.astype(np.float64))),
    Arm("KL-DRO", lambda losses, ratio, target, penalty: cp.kl_dro(losses, penalty), PENALTIES),
    Arm("reweighting", lambda losses, ratio, target, penalty: cp.reweighted(losses, ratio)),
    Arm("reweighting, ratio²", lambda losses, ratio, target, penalty: cp.reweighted(losses, ratio * ratio)),
    Arm(
        "target-centred DRO",
        lambda losses, ratio, target, penalty: cp.target_dro(losses, ratio, cp.KL(), penalty=penalty),
        PENALTIES,
    ),
    Arm("DoRA", lambda losses, ratio, target, penalty: cp.dora(losses, ratio, penalty), PENALTIES),
)
BASELINES = ("ERM", "target only")
