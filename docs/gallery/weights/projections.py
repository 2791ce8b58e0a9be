"""
Sparse weights from scores
==========================

Scores become weights in more than one way. The softmax keeps every atom; the Euclidean projection drops most of them
as the scores spread; a cap or a χ² ball around uniform keeps more of them alive.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

scores = np.random.default_rng(6).normal(size=64)
scale = np.geomspace(0.01, 4.0, 200)
rows = scale[:, None] * scores
ways = {
    "softmax": cp.penalized(rows, cp.KL(), 1.0).weights,
    "project_simplex": cp.project_simplex(rows),
    "project_capped_simplex, cap 1/16": cp.project_capped_simplex(rows, cap=1 / 16),
    "project_ball, χ² ≤ 2": cp.project_ball(rows, cp.ChiSquare(), 2.0),
}

figure, axes = plt.subplots()
for name, weights in ways.items():
    axes.plot(scale, np.sum(weights > 1e-14, axis=-1), label=name)
axes.set(xscale="log", xlabel="scale of the scores", ylabel="atoms with positive weight, of 64", ylim=(0, 68))
axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.72))
figure.set_label(
    "Number of positive weights against the scale of 64 scores. Softmax keeps all; the projection falls to three; "
    "the capped projection ends at sixteen; the ball ends in between."
)
