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
from .ratios.features import Features, feature_map, gaussian_features, linear_features
from .ratios.gaussian import fit_gaussian
from .ratios.kliep import fit_kliep
from .ratios.log_linear import fit_log_linear
from .ratios.logistic import fit_logistic
from .ratios.model import Comparison, Ratio, Scores, log_ratio, ratio
from .ratios.probability import log_mixture_ratio, log_ratio_from_log_odds, mixture_ratio
from .ratios.select import CrossFit, cross_fit, fit_ratio
from .ratios.statistics import Statistics, add_statistics, ratio_statistics
from .ratios.ulsif import fit_ulsif, ulsif_from_statistics
from .spectral import Exponential, Extremile, Spectrum, Superquantile, spectral
from .weights import constrained, cvar, max_radius, penalized

__version__ = "0.1.0"

__all__ = [
    "KL",
    "CalibrationTable",
    "ChiSquare",
    "Comparison",
    "CressieRead",
    "CrossFit",
    "Divergence",
    "Estimate",
    "Exponential",
    "Extremile",
    "Features",
    "Hellinger",
    "JensenShannon",
    "Objective",
    "Ratio",
    "ReverseKL",
    "Scores",
    "Solution",
    "Spectrum",
    "Statistics",
    "Status",
    "Superquantile",
    "TotalVariation",
    "add_statistics",
    "calibration_table",
    "constrained",
    "cross_fit",
    "cvar",
    "divergence_value",
    "dora",
    "effective_sample_size",
    "erm",
    "feature_map",
    "fit_gaussian",
    "fit_kliep",
    "fit_log_linear",
    "fit_logistic",
    "fit_ratio",
    "fit_ulsif",
    "gaussian_features",
    "group_dro",
    "group_weights",
    "kl_dro",
    "linear_features",
    "log_mixture_ratio",
    "log_ratio",
    "log_ratio_from_log_odds",
    "max_radius",
    "mixture_ratio",
    "normalisation",
    "penalized",
    "project_ball",
    "project_capped_simplex",
    "project_simplex",
    "raise_on_failure",
    "ratio",
    "ratio_statistics",
    "reweighted",
    "spectral",
    "target_dro",
    "two_sample_auc",
    "ulsif_from_statistics",
]
