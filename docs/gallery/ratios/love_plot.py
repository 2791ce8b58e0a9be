"""
Balance before and after
========================

A love plot shows how far the means of each feature lie apart, in standard deviations, before and after the training
rows are weighed by the ratio. Below 0.1 a feature counts as balanced.
"""

import numpy as np
from counterpoise_adapters.plots import love_plot

import counterpoise as cp

rng = np.random.default_rng(8)
names = ["length", "formality", "questions", "code", "numbers", "links", "year", "politeness"]
shift = np.array([0.8, -0.5, 0.3, 0.0, 0.6, 0.05, -0.2, 0.0])
target, train = rng.normal(shift, 1.0, (400, 8)), rng.normal(0.0, 1.0, (1600, 8))

fit = cp.cross_fit(cp.fit_logistic, target=target, train=train)
table = cp.standardised_differences(target, train, weights=np.exp(fit.train_log_ratio))
figure = love_plot(table, names=names)
figure.set_label(
    "Absolute standardised mean differences of eight features, before weighting up to 0.8, after weighting below 0.2."
)
