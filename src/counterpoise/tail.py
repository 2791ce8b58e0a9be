"""How heavy the tail of weights is."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import _xp
from ._types import Array

__all__ = ["TailIndex", "pareto_k"]


class TailIndex(NamedTuple):
    """How heavy the tail of weights is; see `pareto_k`.

    Attributes
    ----------
    k : array, shape (...,)
        Shape of the generalised Pareto distribution of the largest weights; -inf for a constant tail, NaN where there
        are fewer than 25 weights or one is negative, NaN or infinite.
    threshold : array, shape (...,)
        Largest k at which averages of so many rows can be trusted.
    """

    k: Array
    threshold: Array


def pareto_k(weights: Array, /) -> TailIndex:
    """Measure how heavy the tail of weights is: the k of a generalised Pareto fit to the largest of them.

    A weighted mean has a finite variance below k = ½; its error is usable up to min(1 − 1/log10 n, 0.7). Take it before
    any cap.

    Parameters
    ----------
    weights : array, shape (..., n)
        Non-negative, on any scale.

    Returns
    -------
    TailIndex
        k and its threshold.

    References
    ----------
    Vehtari et al., "Pareto smoothed importance sampling", JMLR 25 (2024), appendix F; the fit of Zhang and Stephens,
    Technometrics 51 (2009), to the ⌈min(n/5, 3√n)⌉ largest, drawn towards ½ as by ten more weights.

    Examples
    --------
    >>> import numpy as np
    >>> k, threshold = pareto_k(np.random.default_rng(0).pareto(2.0, 10_000) + 1)
    >>> round(float(k), 1), round(float(threshold), 2)
    (0.5, 0.7)
    """
    xp = _xp.namespace(weights=weights)
    w = _xp.floating(xp, "weights", weights)
    n = int(w.shape[-1])
    bad = xp.any(~((w >= 0) & xp.isfinite(w)), axis=-1)
    limit = xp.zeros_like(w[..., 0]) + min(1 - 1 / math.log10(n), 0.7) if n >= 25 else w[..., 0] * 0 + math.nan
    if n < 25:
        return TailIndex(limit, limit)
    tail = math.ceil(min(0.2 * n, 3 * math.sqrt(n)))
    ranked = xp.sort(xp.where(bad[..., None], xp.ones_like(w), w), axis=-1)
    x = ranked[..., n - tail :] - ranked[..., n - tail - 1 : n - tail]
    most = x[..., -1:]
    constant = ~(most[..., 0] > 0)
    x = x / xp.where(most > 0, most, xp.ones_like(most))
    k = _pareto_shape(xp, x, tail)
    k = xp.where(constant, -xp.inf, k)
    return TailIndex(*(xp.astype(xp.where(bad, xp.nan, v), weights.dtype) for v in (k, limit)))


def _pareto_shape(xp: Any, x: Array, n: int) -> Array:
    """Zhang and Stephens' estimate from sorted exceedances with largest 1."""
    grid = 30 + math.isqrt(n)
    steps = [1 - math.sqrt(grid / (i + 0.5)) for i in range(grid)]  # below 0, so that θ < 1 ≤ 1/x
    quarter = x[..., int(n / 4 + 0.5) - 1]
    # half of the tail tied at its threshold: the smallest step there is, in place of none
    quarter = xp.where(quarter > 0, quarter, xp.zeros_like(quarter) + 1e-3)
    theta = xp.stack([step / (3 * quarter) + 1 for step in steps], axis=-1)
    shape = xp.mean(xp.log1p(-theta[..., :, None] * x[..., None, :]), axis=-1)
    ratio = -theta / xp.where(shape == 0, xp.ones_like(shape), shape)
    usable = (ratio > 0) & (shape != 0)
    likelihood = n * (xp.log(xp.where(usable, ratio, xp.ones_like(ratio))) - shape - 1)
    most = xp.max(xp.where(usable, likelihood, -xp.inf), axis=-1, keepdims=True)
    weight = xp.where(usable, xp.exp(xp.where(usable, likelihood - xp.where(usable, most, 0.0), 0.0)), 0.0)
    total = xp.sum(weight, axis=-1)
    best = xp.sum(theta * weight, axis=-1) / xp.where(total > 0, total, xp.ones_like(total))
    k = xp.mean(xp.log1p(-best[..., None] * x), axis=-1)
    return (n * k + 5.0) / (n + 10)
