"""
A fit that gives up on no one
=============================

A tenth of the rows follow another line. Least squares sacrifices them. A worst case in χ² pulls the line towards them,
the further the larger its radius; the worst group goes as far as makes both groups equally bad.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, 400)
few = np.arange(400) < 40
y = np.where(few, -0.4 * x, x) + 0.15 * rng.normal(size=400)


def slope_under(weights_of):
    slope = 0.0
    for _ in range(300):
        weights = weights_of((y - slope * x) ** 2)
        slope += 0.1 * np.sum(weights * 2 * x * (y - slope * x))
    return slope


ways = {"least squares": lambda losses: cp.erm(losses).weights}
for radius in (0.5, 2.0, 8.0):
    ways[f"χ² ≤ {radius:g}"] = lambda losses, radius=radius: cp.constrained(losses, cp.ChiSquare(), radius).weights
ways["worst group"] = lambda losses: cp.group_dro(losses, few.astype(int), n_groups=2).weights

figure, axes = plt.subplots()
axes.plot(x[~few], y[~few], ".", color="0.7", markersize=4)
axes.plot(x[few], y[few], ".", color="0.3", markersize=5)
ends = np.array([-2.0, 2.0])
for name, weights_of in ways.items():
    slope = slope_under(weights_of)
    axes.plot(ends, slope * ends, label=f"{name}: slope {slope:.2f}")
axes.set(xlabel="x", ylabel="y")
axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
figure.set_label(
    "Scatter of two groups along two lines, and five fitted lines: least squares along the majority, chi-square "
    "worst cases turning towards the minority as the radius grows, the worst group between them."
)
