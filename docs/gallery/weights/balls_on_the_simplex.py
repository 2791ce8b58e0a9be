"""
Balls on the simplex
====================

Three samples, so that weights are a point in a triangle. A χ² ball around uniform weights is a circle, cut off by the
edges; a KL ball bulges towards the corners. The worst case is the point of the ball that goes furthest in the direction
of the losses. As the radius grows it moves along the orange path: under χ² straight into an edge, where a weight is 0,
under KL along a curve that keeps off the edges until it ends in the corner.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
losses = np.array([0.0, 0.5, 1.0])
steps = np.linspace(0.0, 1.0, 301)
first, second = np.meshgrid(steps, steps)
weights = np.stack([first, second, 1 - first - second], axis=-1)
x, y = np.moveaxis(weights @ CORNERS, -1, 0)
inside = weights.min(-1) >= 0
uniform = np.full(3, 1 / 3)


def worst_cases(divergence, radii):
    """One problem a radius."""
    return cp.constrained(np.broadcast_to(losses, (len(radii), 3)), divergence, radii).weights


figure, panels = plt.subplots(1, 2, figsize=(8.0, 3.9))
cases = {cp.ChiSquare(): (0.1, 0.5, 1.2), cp.KL(): (0.05, 0.25, 0.6)}
for panel, (divergence, radii) in zip(panels, cases.items(), strict=True):
    distance = cp.divergence_value(divergence, np.maximum(weights, 0.0), np.broadcast_to(uniform, weights.shape))
    panel.plot(*CORNERS[[0, 1, 2, 0]].T, color="0.4", linewidth=1.2)
    panel.contour(x, y, np.where(inside, distance, np.nan), levels=radii, colors="C0", linewidths=1.4)
    path, dots = (worst_cases(divergence, r) @ CORNERS for r in (np.linspace(0, 1.5, 60), np.array(radii)))
    panel.plot(*path.T, color="C1")
    panel.plot(*dots.T, "o", color="C1")
    panel.set(
        title=f"{type(divergence).__name__}: radius {', '.join(map(str, radii))}",
        aspect="equal",
        xlim=(-0.15, 1.15),
        ylim=(-0.1, 0.95),
    )
    panel.axis("off")
    for corner, loss, place in zip(CORNERS, losses, ((-0.04, -0.07), (0.04, -0.07), (0.0, 0.03)), strict=True):
        panel.text(*(corner + place), f"loss {loss:g}", ha="center")
figure.set_label(
    "Two triangles of weights on three samples with contours of chi-square and KL balls around the centre, and "
    "the path of the worst case from the centre towards the corner with the largest loss."
)
