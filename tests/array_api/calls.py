"""One call of every function of the core, on arrays made by a backend; the first argument decides what comes back."""

import numpy as np

import counterpoise as cp

LOSSES = np.array([[0.0, 0.5, 1.0, -2.0], [3.0, 3.0, 1.0, 0.25], [0.5, 0.75, 0.5, 0.125]])
PRIOR = np.array([1.0, 2.0, 0.0, 0.5])
AMOUNT = np.array([0.125, 0.25, 0.0625])
RATIO = np.array([0.5, 1.0, 1.5, 2.0])
GROUPS = np.array([0, 1, 1, 2])
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


CALLS = dict(_calls())
LAZY = [
    name
    for name in CALLS
    if name.split()[0] in {"penalized", "constrained", "cvar,", "cvar", "spectral", "erm", "kl_dro"}
]
"""What takes dask arrays chunk by chunk."""
