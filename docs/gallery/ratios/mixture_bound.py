"""
Why a mixture ratio is bounded
==============================

If a share α of the training data is target data, no sample can be more than 1/α times as likely under the target. The
ratio against the mixture, h = 1/(α + (1 − α)/r), bends towards that bound; the ratio r against the other source does
not.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

log_ratio = np.linspace(-5, 6, 300)

figure, axes = plt.subplots()
axes.plot(log_ratio, np.exp(log_ratio), color="0.6", linestyle="--", label="against the other source, r")
for number, share in enumerate((0.05, 0.2, 0.5)):
    h = cp.mixture_ratio(log_ratio[:, None], target_share=share, other_shares=[1 - share])
    axes.plot(log_ratio, h, color=f"C{number}", label=f"against the mixture, α = {share:g}")
    axes.axhline(1 / share, color=f"C{number}", linestyle=":", linewidth=1.2)
axes.set(yscale="log", ylim=(0.01, 60), xlabel="log r", ylabel="ratio")
axes.legend(loc="lower right")
figure.set_label(
    "Mixture ratios against the log ratio to the other source for three target shares, each levelling off at one "
    "over the share, beside the unbounded exponential."
)
