"""Problems for Hypothesis: small, tied, masked, skewed, saturated or nearly."""

import math

import numpy as np
from formulas import largest_radius
from hypothesis import assume
from hypothesis import strategies as st

GRID = st.integers(-4, 4).map(lambda k: k / 2)
"""Losses that tie."""
SMOOTH_LOSS = st.floats(-3, 3).map(lambda loss: round(loss, 9))
MASS = st.one_of(st.integers(0, 3).map(float), st.floats(0.01, 10), st.floats(-6, 6).map(math.exp))


@st.composite
def losses_and_priors(draw, min_size=1, max_size=7):
    """Losses (n,) and masses (n,), at least one of them positive."""
    n = draw(st.integers(min_size, max_size))
    loss = draw(st.sampled_from([GRID, SMOOTH_LOSS]))
    losses = np.array(draw(st.lists(loss, min_size=n, max_size=n)))
    prior = np.array(draw(st.lists(MASS, min_size=n, max_size=n)))
    prior[draw(st.integers(0, n - 1))] = draw(st.floats(0.1, 3))
    return losses, prior


@st.composite
def problems(draw, divergence, verb, min_size=1):
    """Losses, prior and an amount: penalties over six decades, radii from tiny to beyond saturation."""
    losses, prior = draw(losses_and_priors(min_size=min_size))
    spread = np.ptp(losses[prior > 0])
    assume(spread == 0 or spread > 1e-6 * abs(losses).max())  # else rounding the shift would move it across the range
    spread = spread or 1.0
    size = 10.0 ** draw(st.floats(-3, 3))
    if verb == "penalized":
        return losses, prior, spread * size
    p = prior / prior.sum()
    most = largest_radius(divergence, p[losses == losses[prior > 0].max()].sum())
    if not math.isfinite(most) or most == 0:
        most = 2.0
    return losses, prior, most * draw(st.one_of(st.floats(1e-9, 1.2), st.floats(-12, 0).map(lambda e: 10.0**e)))
