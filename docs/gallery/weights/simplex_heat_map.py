"""
What a penalty does to the landscape
====================================

Colour is the penalised objective ⟨q, l⟩ − λ D(q‖p) over the weights of three samples, the dot its maximum. With a large
penalty the best weights are the prior's; with a small one they run to the corner of the largest loss, and with KL
they stay off the edges.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.tri import Triangulation

import counterpoise as cp

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
losses, prior = np.array([0.0, 0.6, 1.0]), np.array([0.5, 0.3, 0.2])
k = 80
weights = np.array([(i, j, k - i - j) for i in range(k + 1) for j in range(k + 1 - i)]) / k
flat = Triangulation(*(weights @ CORNERS).T)

figure, panels = plt.subplots(2, 3, figsize=(8.4, 5.4))
for row, divergence in zip(panels, (cp.KL(), cp.ChiSquare()), strict=True):
    for panel, penalty in zip(row, (2.0, 0.5, 0.15), strict=True):
        spent = cp.divergence_value(divergence, weights, np.broadcast_to(prior, weights.shape))
        panel.tricontourf(flat, weights @ losses - penalty * spent, levels=16)
        best = cp.penalized(losses, divergence, penalty, prior=prior).weights
        panel.plot(*(best @ CORNERS), "o", color="C1", markeredgecolor="white", markersize=9)
        panel.plot(*(prior @ CORNERS), "+", color="white", markersize=9)
        panel.set(title=f"{type(divergence).__name__}, λ = {penalty:g}", aspect="equal")
        panel.axis("off")
figure.set_label(
    "Six heat maps over the triangle of weights, for KL and chi-square and three penalties. The maximum moves "
    "from the prior, marked by a cross, to the corner of the largest loss as the penalty falls."
)
