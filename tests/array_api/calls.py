"""One call of every function of the core, on arrays made by a backend; the first argument decides what comes back."""

import numpy as np

import counterpoise as cp

LOSSES = np.array([[0.0, 0.5, 1.0, -2.0], [3.0, 3.0, 1.0, 0.25], [0.5, 0.75, 0.5, 0.125]])
PRIOR = np.array([1.0, 2.0, 0.0, 0.5])
AMOUNT = np.array([0.125, 0.25, 0.0625])
RATIO = np.array([0.5, 1.0, 1.5, 2.0])
GROUPS = np.array([0, 1, 1, 2])
SLOTS = np.array([[[0.5, 1.5], [0.25, 2.0], [0.0, 1.0], [1.5, 0.5]]] * 3)
CHANCE = np.array([[0.5, 0.25, 1.0, 0.75], [0.0, 0.5, 0.5, 0.25], [1.0, 0.125, 0.875, 0.5]])
DIVERGENCES = {
    "KL": cp.KL(), "ChiSquare": cp.ChiSquare(), "CressieRead(1.5)": cp.CressieRead(1.5),
    "CressieRead(-1)": cp.CressieRead(-1.0), "ReverseKL": cp.ReverseKL(), "Hellinger": cp.Hellinger(),
    "JensenShannon": cp.JensenShannon(), "TotalVariation": cp.TotalVariation(),
}  # fmt: skip


def _calls():
    for name, d in DIVERGENCES.items():
        yield f"penalized {name}", lambda a, d=d: cp.penalized(a(LOSSES), d, a(AMOUNT), prior=a(PRIOR))
        yield f"constrained {name}", lambda a, d=d: cp.constrained(a(LOSSES), d, a(AMOUNT), prior=a(PRIOR))
        yield f"max_radius {name}", lambda a, d=d: cp.max_radius(d, a(LOSSES), prior=a(PRIOR))
    yield "cvar", lambda a: cp.cvar(a(LOSSES), a(AMOUNT), prior=a(PRIOR))
    yield "cvar, smoothed", lambda a: cp.cvar(a(LOSSES), 0.5, prior=a(PRIOR), smoothing=0.25)
    yield "divergence_value", lambda a: cp.divergence_value(cp.KL(), a(LOSSES[2:] / 1.875), a(PRIOR + 1))
    yield "erm", lambda a: cp.erm(a(LOSSES), prior=a(PRIOR))
    yield "reweighted", lambda a: cp.reweighted(a(LOSSES), a(RATIO), prior=a(PRIOR))
    yield "kl_dro", lambda a: cp.kl_dro(a(LOSSES), 0.5)
    yield "dora", lambda a: cp.dora(a(LOSSES), a(RATIO), 0.5, prior=a(PRIOR))
    yield "target_dro", lambda a: cp.target_dro(a(LOSSES), a(RATIO), cp.KL(), radius=0.125)
    yield "spectral", lambda a: cp.spectral(a(LOSSES), cp.Extremile(2.0), prior=a(PRIOR))
    yield "project_simplex", lambda a: cp.project_simplex(a(LOSSES), prior=a(PRIOR))
    yield "project_capped_simplex", lambda a: cp.project_capped_simplex(a(LOSSES), cap=0.5)
    yield "project_ball", lambda a: cp.project_ball(a(LOSSES), cp.ChiSquare(), 0.25)
    yield (
        "group_weights",
        lambda a: cp.group_weights(a(LOSSES), a(GROUPS), n_groups=3, divergence=cp.KL(), penalty=1.0, prior=a(PRIOR)),
    )
    yield "group_dro", lambda a: cp.group_dro(a(LOSSES), a(GROUPS), n_groups=3)
    yield "mixture_ratio", lambda a: cp.mixture_ratio(a(LOSSES[:, :2]), target_share=0.5, other_shares=[0.25, 0.25])
    yield "log_ratio_from_log_odds", lambda a: cp.log_ratio_from_log_odds(a(LOSSES), n_target=10, n_other=30)
    yield "effective_sample_size", lambda a: cp.effective_sample_size(a(np.abs(LOSSES)))
    yield "two_sample_auc", lambda a: cp.two_sample_auc(a(LOSSES[0]), a(LOSSES[1]))
    yield from _presets()


def _presets():
    yield (
        "stabilised_calibration",
        lambda a: cp.stabilised_calibration(a(LOSSES[:, :2]), target_share=0.5, other_shares=[0.25, 0.25]),
    )
    yield "released_calibration", lambda a: cp.released_calibration(a(CHANCE))
    yield "truncated_ratio", lambda a: cp.truncated_ratio(a(np.abs(LOSSES)))
    yield "ratio_at_level response", lambda a: cp.ratio_at_level(a(LOSSES / 4), level="response", mask=a(LOSSES > 0.25))
    for level in ("token", "pair", "list mean"):
        yield f"ratio_at_level {level}", lambda a, level=level: cp.ratio_at_level(a(LOSSES), level=level)
    for aware in (True, False):
        name = f"pair_features {'aware' if aware else 'blind'}"
        yield name, lambda a, aware=aware: cp.pair_features(a(LOSSES), a(LOSSES[:, ::-1].copy()), label_aware=aware)
    yield "paper_dora", lambda a: cp.paper_dora(a(LOSSES), a(SLOTS), penalty=a(AMOUNT), prior=a(PRIOR))
    yield "released_dpo", lambda a: cp.released_dpo(a(LOSSES), a(SLOTS), micro_batch=2, penalty=a(AMOUNT))
    yield "released_lire", lambda a: cp.released_lire(a(LOSSES), a(SLOTS), micro_batch=2)
    yield "released_rrhf", lambda a: cp.released_rrhf(a(LOSSES), a(SLOTS), micro_batch=2)
    yield "scaled_dora", lambda a: cp.scaled_dora(a(LOSSES), a(RATIO), prior=a(PRIOR))
    yield "dr_dpo", lambda a: cp.dr_dpo(a(LOSSES), a(AMOUNT), prior=a(PRIOR))
    yield "kldpo", lambda a: cp.kldpo(a(LOSSES), 1.0)
    yield (
        "dpo_pro_preference",
        lambda a: cp.dpo_pro_preference(a(LOSSES), a(LOSSES[:, ::-1].copy()), a(CHANCE), radius=a(AMOUNT)),
    )
    yield "conservative_dpo", lambda a: cp.conservative_dpo(a(LOSSES), flip=0.25)
    yield "robust_dpo", lambda a: cp.robust_dpo(a(LOSSES), flip=0.25)
    yield "ropo", lambda a: cp.ropo(a(LOSSES), strength=3.0)
    yield (
        "label_posterior",
        lambda a: cp.label_posterior(a(LOSSES), a(LOSSES[:, ::-1].copy()), reliability=a(CHANCE)),
    )
    yield "wpo_weights", lambda a: cp.wpo_weights(a(-np.abs(LOSSES)), a(-np.abs(LOSSES) / 2), a(LOSSES > 0.25))


CALLS = dict(_calls())
LAZY = [
    name
    for name in CALLS
    if name.split()[0] in {"penalized", "constrained", "cvar,", "cvar", "spectral", "erm", "kl_dro"}
]
"""What takes dask arrays chunk by chunk."""
