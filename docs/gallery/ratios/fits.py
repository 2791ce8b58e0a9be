"""
Ratio fits against the truth
============================

Two normal samples whose ratio is known. Every method sees 300 rows of each; the vertical axis is logarithmic, because
a ratio that is off by a factor of two is as wrong above as below.
"""

import matplotlib.pyplot as plt
import numpy as np

import counterpoise as cp

rng = np.random.default_rng(7)
target, train = rng.normal(0.5, 0.8, (300, 1)), rng.normal(0.0, 1.0, (300, 1))
x = np.linspace(-2.5, 2.5, 300)
truth = np.exp(0.5 * x**2 - 0.5 * ((x - 0.5) / 0.8) ** 2) / 0.8

figure, axes = plt.subplots()
axes.plot(x, truth, color="0.2", linewidth=4, alpha=0.35, label="truth")
for fit in (cp.fit_logistic, cp.fit_ulsif, cp.fit_kliep, cp.fit_ratio):
    model = fit(target=target, train=train)
    style = "--" if fit is cp.fit_ratio else "-"  # it may well choose one of the others
    axes.plot(x, cp.ratio(model, x), style, linewidth=1.8, label=fit.__name__)
axes.plot(target[:, 0], np.full(300, 0.012), "|", color="C0", alpha=0.3)
axes.plot(train[:, 0], np.full(300, 0.018), "|", color="0.5", alpha=0.3)
axes.set(yscale="log", xlabel="x", ylabel="target density / training density", ylim=(0.01, 6), xlim=(-2.5, 2.5))
axes.legend(loc="upper left")
figure.set_label(
    "The true density ratio of two normal distributions and four fits on a logarithmic axis. A linear logistic "
    "model is a straight line and misses the bend; the others follow the truth where there are rows."
)
