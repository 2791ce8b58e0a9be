"""Weights that hold a model steady when its training data are not the data it will be judged on."""

from ._types import Objective, Solution, Status, raise_on_failure
from .diagnostics import (
    CalibrationTable,
    Estimate,
    calibration_table,
    effective_sample_size,
    normalisation,
    two_sample_auc,
)
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
from .groups import group_weights
from .objective import dora, erm, group_dro, kl_dro, reweighted, target_dro
from .projection import project_ball, project_capped_simplex, project_simplex
from .ratios.probability import log_mixture_ratio, log_ratio_from_log_odds, mixture_ratio
from .spectral import Exponential, Extremile, Spectrum, Superquantile, spectral
from .weights import constrained, cvar, max_radius, penalized

__version__ = "0.1.0"

__all__ = [
    "KL",
    "CalibrationTable",
    "ChiSquare",
    "CressieRead",
    "Divergence",
    "Estimate",
    "Exponential",
    "Extremile",
    "Hellinger",
    "JensenShannon",
    "Objective",
    "ReverseKL",
    "Solution",
    "Spectrum",
    "Status",
    "Superquantile",
    "TotalVariation",
    "calibration_table",
    "constrained",
    "cvar",
    "divergence_value",
    "dora",
    "effective_sample_size",
    "erm",
    "group_dro",
    "group_weights",
    "kl_dro",
    "log_mixture_ratio",
    "log_ratio_from_log_odds",
    "max_radius",
    "mixture_ratio",
    "normalisation",
    "penalized",
    "project_ball",
    "project_capped_simplex",
    "project_simplex",
    "raise_on_failure",
    "reweighted",
    "spectral",
    "target_dro",
    "two_sample_auc",
]
