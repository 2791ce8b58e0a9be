"""
Weights by rank
===============

A spectral risk weighs losses by their rank, whatever their size: a superquantile drops the lower ranks, an extremile
is the expected largest of r draws, an exponential spectrum falls smoothly from the top.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

losses = np.sort(np.random.default_rng(5).lognormal(size=300))
rank = (np.arange(300) + 0.5) / 300
spectra = {
    "superquantile, level 0.3": cp.Superquantile(0.3),
    "extremile, r = 4": cp.Extremile(4.0),
    "exponential, r = 4": cp.Exponential(4.0),
}

figure, axes = plt.subplots()
for name, spectrum in spectra.items():
    solution = cp.spectral(losses, spectrum)
    axes.plot(rank, 300 * solution.weights, label=f"{name}: {solution.value:.2f}")
axes.axhline(1.0, color="0.4", linestyle=":", label=f"mean: {losses.mean():.2f}")
axes.set(xlabel="rank of the loss, from the smallest to the largest", ylabel="weight / uniform weight")
axes.legend(title="risk", alignment="left")
figure.set_label(
    "Weights against rank for three spectral risks: a step for the superquantile, a power for the extremile, an "
    "exponential rise for the exponential spectrum."
)
