"""Weights that hold a model steady when its training data are not the data it will be judged on."""

from ._types import Objective, Solution, Status, raise_on_failure
from .divergences import (
    KL,
    ChiSquare,
    CressieRead,
    Divergence,
    Hellinger,
    JensenShannon,
    ReverseKL,
    TotalVariation,
    divergence_value,
)
from .objective import dora, erm, kl_dro, reweighted, target_dro
from .weights import constrained, cvar, max_radius, penalized

__version__ = "0.1.0"

__all__ = [
    "KL",
    "ChiSquare",
    "CressieRead",
    "Divergence",
    "Hellinger",
    "JensenShannon",
    "Objective",
    "ReverseKL",
    "Solution",
    "Status",
    "TotalVariation",
    "constrained",
    "cvar",
    "divergence_value",
    "dora",
    "erm",
    "kl_dro",
    "max_radius",
    "penalized",
    "raise_on_failure",
    "reweighted",
    "target_dro",
]
