"""
Why the answer can be trusted
=============================

Every multiplier λ > 0 gives an upper bound on the worst case: η + λ Σ p f*((l − η)/λ) + λρ, at its best η. Every
distribution within the radius gives a lower one. Where they meet, nothing is left to find: ``gap`` is their difference.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

losses, radius = np.random.default_rng(3).normal(size=40), 0.3
multipliers = np.geomspace(0.15, 8.0, 300)
# The penalised value is the bound without λρ, and its weights are a distribution at some other distance.
penalised = cp.penalized(np.broadcast_to(losses, (300, 40)), cp.KL(), multipliers)
bound = penalised.value + multipliers * radius
uniform = np.full(losses.shape, 1 / 40)
distance = cp.divergence_value(cp.KL(), penalised.weights, np.broadcast_to(uniform, penalised.weights.shape))
within = np.where(distance <= radius, np.sum(penalised.weights * losses, axis=-1), np.nan)
solution = cp.constrained(losses, cp.KL(), radius)

figure, axes = plt.subplots()
axes.plot(multipliers, bound, label="upper bound from this λ")
axes.plot(multipliers, within, color="C2", label="a distribution within the radius")
axes.plot(solution.multiplier, solution.value, "o", color="C1", label=f"solution; gap {abs(solution.gap):.0e}")
axes.axhline(solution.value, color="C1", linewidth=1.0, linestyle=":")
axes.set(xscale="log", xlabel="λ", ylabel="mean loss under the weights", ylim=(0.0, 2.0))
axes.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["¼", "½", "1", "2", "4", "8"])
axes.minorticks_off()
axes.legend(loc="lower left")
figure.set_label(
    "Against the multiplier, an upper bound that falls and rises again and a lower bound that ends where the "
    "radius is left; both touch in one point, the solution."
)
