"""
The worst tenth
===============

Conditional value at risk at level α is the mean of the worst α of the losses: the rows beyond a quantile share the
weight, all others get none. The shift of the solution is that quantile, its value the mean beyond it.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

losses = np.random.default_rng(1).gamma(2.0, 1.0, 2000)
solution = cp.cvar(losses, 0.1)

figure, axes = plt.subplots()
bins = np.linspace(0, losses.max(), 50)
axes.hist(losses, bins, color="0.75", label="all losses")
axes.hist(losses[solution.weights > 0], bins, color="C1", label="the worst tenth")
axes.axvline(losses.mean(), color="0.3", linestyle=":", label=f"mean {losses.mean():.2f}")
axes.axvline(solution.shift, color="C0", linestyle="--", label=f"quantile {solution.shift:.2f}")
axes.axvline(solution.value, color="C1", label=f"mean beyond it {solution.value:.2f}")
axes.set(xlabel="loss", ylabel="rows")
axes.legend()
figure.set_label(
    "Histogram of two thousand losses with the worst tenth in colour, lines at the mean, at the 90 % quantile, "
    "and at the mean of the losses beyond that quantile."
)
