"""
Worst-case weights, divergence by divergence
============================================

Two hundred losses, one effective sample size, five ways to get there. The weights of χ² rise in a straight line and
reach 0; those of KL bend up and never do; CVaR keeps a share of the rows and drops the rest.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

losses = np.sort(np.random.default_rng(0).normal(size=200))


def weights_worth(divergence, rows, low=0.0, high=1.0):
    """Bisect the radius until the weights are worth so many rows."""
    for _ in range(60):
        middle = (low + high) / 2
        weights = cp.constrained(losses, divergence, middle).weights
        low, high = (middle, high) if cp.effective_sample_size(weights) > rows else (low, middle)
    return weights


figure, axes = plt.subplots()
for divergence in (cp.KL(), cp.ChiSquare(), cp.ReverseKL(), cp.TotalVariation()):
    name = type(divergence).__name__
    axes.plot(losses, 200 * weights_worth(divergence, rows=100), label=name)
axes.step(losses, 200 * cp.cvar(losses, 0.5).weights, where="mid", label="CVaR at ½")
axes.set(xlabel="loss", ylabel="weight / uniform weight", ylim=(-0.1, 6), title="Worth 100 of 200 rows")
axes.legend()
figure.set_label(
    "Weights against losses for five worst cases worth 100 of 200 rows. Chi-square rises linearly from zero, KL "
    "exponentially, reverse KL is flat, then very steep; total variation lifts the largest loss alone; CVaR is a "
    "step."
)
