"""
DoRA sharpens the ratio
=======================

The gradient weight of a sample under `dora` is h e^{hl/λ}, normalised. Where all losses are alike it is a function of
the ratio alone, and close to a power of it: the objective trusts the ratio more than its estimator did. So h², plain
reweighting by the squared ratio, is the control that a comparison with DoRA needs.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

h = np.linspace(0.02, 4.0, 400)
losses = np.full(400, 0.7)  # log 2: an untrained preference model


def at_one(weights):
    """Scale the weights to 1 where h is 1."""
    return weights / np.interp(1.0, h, weights)


figure, axes = plt.subplots()
for penalty in (4.0, 2.0, 1.0):
    axes.plot(h, at_one(cp.dora(losses, h, penalty).weights), label=f"DoRA, λ = {penalty:g}")
axes.plot(h, h, ":", color="0.4", label="reweighting, h")
axes.plot(h, h**2, "--", color="0.4", label="reweighting, h²")
axes.set(xlabel="ratio h", ylabel="gradient weight, 1 at h = 1", ylim=(0, 16))
axes.legend(loc="upper left")
figure.set_label(
    "Gradient weight against the ratio: DoRA's curves lie between the straight line of reweighting and the "
    "parabola of the squared ratio for large penalties, and cross the parabola for a small one."
)
