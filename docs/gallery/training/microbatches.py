"""
A worst case needs company
==========================

The mean of robust losses over micro-batches is not the robust loss of the step. Over one example it is plain training,
whatever the penalty. ``RobustLoss(scope="step")`` takes the objective over all micro-batches, whatever their size.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

losses = np.random.default_rng(10).gamma(0.5, 1.4, 256)
sizes = 2 ** np.arange(9)
figure, axes = plt.subplots()
for number, penalty in enumerate((0.5, 1.0, 2.0)):
    parts = [cp.kl_dro(losses.reshape(-1, size), penalty).value for size in sizes]
    axes.plot(
        sizes,
        [part.mean() for part in parts],
        "o-",
        color=f"C{number}",
        label=f"λ = {penalty:g}",
    )
    axes.axhline(cp.kl_dro(losses, penalty).value, color=f"C{number}", linestyle=":", linewidth=1.4)
axes.axhline(losses.mean(), color="0.4", linewidth=1.0)
axes.annotate("plain mean", (150, losses.mean()), (0, 4), textcoords="offset points", color="0.3")
axes.set(xscale="log", xlabel="examples in a micro-batch, of 256 in the step", ylabel="KL-robust loss", ylim=(0.5, 3.8))
axes.set_xticks(sizes, sizes)
axes.minorticks_off()
axes.legend(title="mean over micro-batches; dotted: the step", alignment="left", ncols=3, loc="upper left")
figure.set_label(
    "Mean of micro-batch robust losses against micro-batch size, from the plain mean at size one up to the whole "
    "step's robust loss, dotted, at size 256, for three penalties."
)
