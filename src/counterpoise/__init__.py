"""Weights that hold a model steady when its training data are not the data it will be judged on."""

from ._divergence import Divergence
from ._types import Objective, Solution, Status, raise_on_failure
from .balance import BalanceTable, OverlapReport, overlap_report, standardised_differences
from .diagnostics import (
    CalibrationTable,
    Estimate,
    calibration_table,
    donsker_varadhan,
    effective_sample_size,
    normalisation,
    two_sample_auc,
)
from .divergences import (
    KL,
    ChiSquare,
    CressieRead,
    Hellinger,
    JensenShannon,
    ReverseKL,
    TotalVariation,
    divergence_value,
)
from .groups import group_weights
from .objective import dora, erm, group_dro, kl_dro, reweighted, target_dro
from .presets.calibration import released_calibration, stabilised_calibration, truncated_ratio
from .presets.dora import paper_dora, released_dpo, released_lire, released_rrhf, scaled_dora
from .presets.label_noise import (
    MarginLoss,
    conservative_dpo,
    dpo_pro_preference,
    label_posterior,
    robust_dpo,
    ropo,
)
from .presets.levels import pair_features, ratio_at_level
from .presets.neighbours import dr_dpo, kldpo, wpo_weights
from .projection import project_ball, project_capped_simplex, project_simplex
from .ratios.calibration import Calibration, calibrated, fit_calibration
from .ratios.cross import CrossFit, cross_fit
from .ratios.features import Features, feature_map, gaussian_features, linear_features
from .ratios.gaussian import fit_gaussian
from .ratios.kliep import fit_kliep
from .ratios.kmm import Matching, kernel_mean_matching
from .ratios.log_linear import fit_log_linear
from .ratios.logistic import fit_logistic
from .ratios.model import Comparison, Ratio, Scores, log_ratio, ratio
from .ratios.policy import PolicyRatio, policy_ratio
from .ratios.probability import log_mixture_ratio, log_ratio_from_log_odds, mixture_ratio, mixture_ratio_multinomial
from .ratios.select import fit_ratio
from .ratios.shares import Share, estimate_target_share, label_shift, target_share_bound
from .ratios.statistics import Statistics, add_statistics, ratio_statistics
from .ratios.ulsif import fit_ulsif, ulsif_from_statistics
from .ratios.unlabelled import remainder_ratio, target_posterior
from .spectral import Exponential, Extremile, Spectrum, Superquantile, spectral
from .tail import TailIndex, pareto_k
from .weights import constrained, cvar, max_radius, penalized

__version__ = "0.1.0"

__all__ = [
    "KL",
    "BalanceTable",
    "Calibration",
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
    "MarginLoss",
    "Matching",
    "Objective",
    "OverlapReport",
    "PolicyRatio",
    "Ratio",
    "ReverseKL",
    "Scores",
    "Share",
    "Solution",
    "Spectrum",
    "Statistics",
    "Status",
    "Superquantile",
    "TailIndex",
    "TotalVariation",
    "add_statistics",
    "calibrated",
    "calibration_table",
    "conservative_dpo",
    "constrained",
    "cross_fit",
    "cvar",
    "divergence_value",
    "donsker_varadhan",
    "dora",
    "dpo_pro_preference",
    "dr_dpo",
    "effective_sample_size",
    "erm",
    "estimate_target_share",
    "feature_map",
    "fit_calibration",
    "fit_gaussian",
    "fit_kliep",
    "fit_log_linear",
    "fit_logistic",
    "fit_ratio",
    "fit_ulsif",
    "gaussian_features",
    "group_dro",
    "group_weights",
    "kernel_mean_matching",
    "kl_dro",
    "kldpo",
    "label_posterior",
    "label_shift",
    "linear_features",
    "log_mixture_ratio",
    "log_ratio",
    "log_ratio_from_log_odds",
    "max_radius",
    "mixture_ratio",
    "mixture_ratio_multinomial",
    "normalisation",
    "overlap_report",
    "pair_features",
    "paper_dora",
    "pareto_k",
    "penalized",
    "policy_ratio",
    "project_ball",
    "project_capped_simplex",
    "project_simplex",
    "raise_on_failure",
    "ratio",
    "ratio_at_level",
    "ratio_statistics",
    "released_calibration",
    "released_dpo",
    "released_lire",
    "released_rrhf",
    "remainder_ratio",
    "reweighted",
    "robust_dpo",
    "ropo",
    "scaled_dora",
    "spectral",
    "stabilised_calibration",
    "standardised_differences",
    "target_dro",
    "target_posterior",
    "target_share_bound",
    "truncated_ratio",
    "two_sample_auc",
    "ulsif_from_statistics",
    "wpo_weights",
]
