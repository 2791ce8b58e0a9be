"""
The price of a radius
=====================

The worst mean loss grows with the radius, ever more slowly, until all weight is on the largest loss. Its slope is the
multiplier that the solution reports: what a little more robustness would cost.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

losses = np.random.default_rng(2).exponential(size=25)
largest = float(cp.max_radius(cp.KL(), losses))
radii = np.linspace(0.0, 1.1 * largest, 200)
values = cp.constrained(np.broadcast_to(losses, (200, 25)), cp.KL(), radii).value

figure, axes = plt.subplots()
axes.plot(radii, values, label="worst mean loss")
for number, radius in enumerate((0.2, 0.8, 1.8)):
    solution = cp.constrained(losses, cp.KL(), radius)
    near = radius + np.array([-0.25, 0.25]) * largest / 2
    line = solution.value + solution.multiplier * (near - radius)
    axes.plot(near, line, color="C1", linewidth=1.6, label=None if number else "slope: the multiplier λ")
    axes.plot(radius, solution.value, "o", color="C1")
    axes.annotate(f"λ = {solution.multiplier:.2f}", (radius, solution.value), (8, -16), textcoords="offset points")
axes.axvline(largest, color="0.5", linestyle=":", label="max_radius: from here on, the largest loss alone")
axes.axhline(losses.mean(), color="0.5", linewidth=1.0, label="mean loss")
axes.set(xlabel="KL radius ρ, nats", ylabel="loss", ylim=(losses.mean() * 0.85, losses.max() * 1.08))
axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.1))
figure.set_label(
    "The worst mean loss against the KL radius: concave, from the mean loss at radius 0 to the largest loss at "
    "the largest useful radius, with tangents whose slopes are the multipliers."
)
