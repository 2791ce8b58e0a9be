"""
Where log(mean(exp)) breaks
===========================

Published training codes write the KL-robust loss as ``λ * log(mean(exp(h * l / λ)))``. In float32 the exponential
overflows from 88 on: the loss becomes infinite and its gradient NaN. Losses counted from the largest cannot overflow.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

losses = np.linspace(0.5, 1.0, 64, dtype=np.float32)
penalties = np.geomspace(1.0, 1e-3, 400).astype(np.float32)
with np.errstate(over="ignore"):
    naive = penalties * np.log(np.mean(np.exp(losses / penalties[:, None]), axis=-1))
ours = cp.kl_dro(np.broadcast_to(losses, (400, 64)), penalties).value
size = losses.max() / penalties

figure, axes = plt.subplots()
axes.plot(size, ours, label="kl_dro")
axes.plot(size, np.where(np.isfinite(naive), naive, np.nan), "--", color="C1", label="λ · log(mean(exp(l/λ)))")
axes.axvspan(size[~np.isfinite(naive)].min(), size.max(), color="C1", alpha=0.15, label="infinite, in float32")
axes.axvline(88.7, color="0.4", linestyle=":", label="largest exponent of float32, 88.7")
axes.set(xscale="log", xlabel="largest loss / λ", ylabel="robust loss")
axes.legend(loc="upper left")
figure.set_label(
    "Two curves of the KL-robust loss against the largest loss over λ. They coincide up to 88.7, where the naive "
    "formula becomes infinite; the library's goes on to the largest loss."
)
