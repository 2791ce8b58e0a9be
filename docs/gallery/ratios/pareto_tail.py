"""
A tail that is too heavy
========================

Ratios of two normal samples with means 1 and 2.5 standard deviations apart. On logarithmic axes the largest weights of
the second fall along a straight line: a Pareto tail. Its k says whether averages under the weights can be trusted.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

rng = np.random.default_rng(9)
x = rng.normal(size=4000)

figure, axes = plt.subplots()
for shift in (1.0, 2.5):
    weights = np.exp(shift * x - shift**2 / 2)
    k, threshold = cp.pareto_k(weights)
    rows = cp.effective_sample_size(weights)
    ranked = np.sort(weights)[::-1]
    label = f"{shift:g} apart: k = {k:.2f}, worth {rows:,.0f} of 4,000 rows"
    axes.loglog(ranked, np.arange(1, 4001) / 4000, ".", markersize=4, label=label)
axes.axvline(1.0, color="0.5", linestyle=":")
axes.set(xlabel="weight", ylabel="share of rows above", xlim=(1e-3, None), title=f"Usable up to k = {threshold:.2f}")
axes.legend(loc="lower left")
figure.set_label(
    "Share of rows above each weight on logarithmic axes, for two shifts. The curve of the small shift bends down "
    "steeply, that of the large one ends in a long straight tail."
)
