"""
Weights over groups
===================

Four groups of rows: the worst one takes everything, unless a penalty shares it out. A size adjustment treats small
groups as if their loss were larger, because they generalise worse.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

rng = np.random.default_rng(4)
sizes, means = np.array([500, 300, 150, 50]), np.array([0.4, 0.6, 1.0, 0.95])
groups = np.repeat(np.arange(4), sizes)
losses = rng.gamma(4.0, means[groups] / 4)

ways = {
    "plain": {},
    "KL,\nλ = ½": {"divergence": cp.KL(), "penalty": 0.5},
    "KL,\nλ = 0.1": {"divergence": cp.KL(), "penalty": 0.1},
    "worst": {},
    "worst,\nadjusted": {"size_adjustment": 2.0},
}
figure, axes = plt.subplots()
for place, (name, options) in enumerate(ways.items()):
    solve = cp.erm(losses) if name == "plain" else cp.group_weights(losses, groups, n_groups=4, **options)
    share = np.array([solve.weights[groups == g].sum() for g in range(4)])
    for g in range(4):
        label = f"{sizes[g]} rows, loss {losses[groups == g].mean():.2f}"
        axes.bar(place, share[g], bottom=share[:g].sum(), color=f"C{g}", width=0.7, label=None if place else label)
axes.set_xticks(range(len(ways)), ways)
axes.set(ylabel="share of the weight", xlim=(-0.6, len(ways) - 0.4))
axes.grid(axis="x", visible=False)
axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
figure.set_label(
    "Stacked bars of the share of weight of four groups: in proportion to size for plain training, shifted to the "
    "worst groups by a KL penalty, all on the worst group, and all on the small one when sizes are adjusted for."
)
