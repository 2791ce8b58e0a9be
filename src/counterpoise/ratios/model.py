"""A fitted ratio: plain arrays, evaluated anywhere."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from .. import _xp
from .._types import Array
from .features import Features, mapped
from .samples import chunks, table, warn

__all__ = ["Ratio", "Scores", "log_ratio", "ratio"]

Method = Literal["ulsif", "kliep", "log_linear", "logistic", "gaussian", "average"]
LEAST = -7.0
"""Least log ratio where one would rule a mean or a score, about 1/1,000: a ratio of 0 is not to outvote all other rows,
and rows do not tell one from the other."""

FULL = 0.9
"""Most of its bound 1/α that a relative ratio counts as, where p/q is taken from it: at the bound it is infinite."""

LARGEST = 0.4
"""Power of the largest number of a dtype at which ratios are cut: sums of their squares stay finite. Those of half
precision are summed in float32."""


class Scores(NamedTuple):
    """What a grid search saw: lower is better, in the method's own loss.

    Attributes
    ----------
    bandwidth : array, shape (s,)
        Bandwidths tried.
    penalty : array, shape (p,)
        Penalties tried.
    score : array, shape (s, p)
        Held-out loss of each pair.
    """

    bandwidth: Array
    penalty: Array
    score: Array


class Comparison(NamedTuple):
    """What `fit_ratio` saw of the methods.

    Attributes
    ----------
    methods : tuple of str
        Their names; ``"one"`` is the ratio 1.
    score : array, shape (methods,)
        Held-out log loss in nats; lower is better.
    difference : array, shape (methods,)
        Score less the best one's.
    standard_error : array, shape (methods,)
        Of the paired difference.
    """

    methods: tuple[str, ...]
    score: Array
    difference: Array
    standard_error: Array


class Ratio(NamedTuple):
    """A fitted density ratio dTarget/dTrain, for `ratio` and `log_ratio`.

    Attributes
    ----------
    method : {"ulsif", "kliep", "log_linear", "logistic", "gaussian", "average"}
        How it was fitted. The first two are max(φᵀθ, 0), the next three exp(φᵀθ), the last a geometric mean.
    features : Features or None
        φ; None for an average.
    coefficients : array, shape (1 + b,)
        θ, the constant's first; for an average the shares of its members: what they leave of 1 is r = 1's.
    alpha : float
        α of the relative ratio p/(αp + (1 − α)q); 0 for p/q.
    penalty : array, shape ()
        The ridge in use.
    gap : array, shape ()
        How far the fitted objective is from its optimum at most, in nats; 0 for closed forms.
    scores : Scores or None
        The grid's; None if nothing was searched.
    members : tuple of Ratio
        Those that are averaged; empty otherwise. A relative one counts as the p/q that it implies, (1 − α)r/(1 − αr),
        αr being 0.9 at most.
    comparison : Comparison or None
        The methods' held-out scores, from `fit_ratio`.
    cap : array, shape (), or None
        Largest log ratio that an average gives.
    noise : array, shape (k, 1 + b), or None
        Of a member of an average: rows v for which the sum of (φᵀv)² is the sampling variance of its log r. The
        average counts log r as (log r)|log r|/(|log r| + that): a ratio that may be large by chance counts as less.
    """

    method: Method
    features: Features | None
    coefficients: Array
    alpha: float
    penalty: Array
    gap: Array
    scores: Scores | None
    members: tuple[Ratio, ...] = ()
    comparison: Comparison | None = None
    cap: Array | None = None
    noise: Array | None = None


def ratio(model: Ratio, x: Array, /) -> Array:
    """Evaluate a fitted ratio: how much likelier each sample is under the target than under the training data.

    Parameters
    ----------
    model : Ratio
        From `fit_ratio` or one method's fit: `fit_ulsif`, `fit_kliep`, `fit_logistic`, ...
    x : array, shape (n, d)
        Samples; a vector is a sample of one feature. A row with NaN or infinite entries gives NaN.

    Returns
    -------
    array, shape (n,)
        Non-negative and finite, in the dtype of ``x`` (of the model for integers and booleans). Ratios are cut at 1e123
        (1e15 in float32, 65504 in float16), with a warning: so large they come from samples that do not overlap;
        `log_ratio` has them.

    Raises
    ------
    TypeError, ValueError
        Samples of another library, device or width than the model's.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_logistic(target=rng.normal(1, 1, (500, 1)), train=rng.normal(0, 1, (500, 1)))
    >>> cp.ratio(model, np.array([[-1.0], [0.5], [2.0]])).round(1)
    array([0.2, 1.1, 5.3])
    """
    return _evaluate(model, x, log=False)


def log_ratio(model: Ratio, x: Array, /) -> Array:
    """Evaluate the logarithm of a fitted ratio, where the ratio itself would under- or overflow.

    Parameters
    ----------
    model, x
        As in `ratio`.

    Returns
    -------
    array, shape (n,)
        -inf where the ratio is 0.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> x = np.array([[0.0], [1.0]])
    >>> cp.log_ratio(cp.fit_logistic(target=x, train=x, penalty=1.0), x)
    array([0., 0.])
    """
    return _evaluate(model, x, log=True)


def _evaluate(model: Ratio, x: Array, *, log: bool) -> Array:
    if not isinstance(model, Ratio):
        raise TypeError(f"model is a {type(model).__name__}; a Ratio, from one of the fits, is needed, and then x")
    xp = _xp.namespace(x=x, model=model.coefficients)
    z = table(xp, "x", x, finite=False)
    width = _width(model)
    if int(z.shape[1]) != width:
        raise ValueError(f"x has {z.shape[1]} features, but the ratio was fitted to {width}")
    linear = model.method in ("ulsif", "kliep")
    out = xp.concat([_of_rows(xp, model, part, log=log or not linear) for part in chunks(z)], axis=0)
    dtype = x.dtype if xp.isdtype(x.dtype, "real floating") else out.dtype
    return _xp.narrowed(xp, out, dtype) if log else _cut(xp, out, dtype, log=not linear)


def _cut(xp: Any, out: Array, dtype: Any, *, log: bool) -> Array:
    """Return ratios, or their exponentials, in a dtype; cut where sums of squares would leave its range, and say so."""
    most = float(xp.finfo(dtype).max)
    largest = most**LARGEST if xp.finfo(dtype).bits > 16 else min(most, float(xp.finfo(xp.float32).max) ** LARGEST)
    over = out > (math.log(largest) if log else largest)
    if not _xp.is_traced(over) and bool(xp.any(over)):
        number = int(xp.sum(xp.astype(over, _xp.integer(xp, out))))
        warn(
            f"{number} of {out.shape[0]} ratios are above {largest:.0e} and were cut there: the samples do not overlap "
            "at these rows, and no weight is worth its name; log_ratio has the values"
        )
    kept = xp.where(over, xp.zeros_like(out), out)
    return xp.astype(xp.where(over, xp.zeros_like(out) + largest, xp.exp(kept) if log else kept), dtype)


def _width(model: Ratio) -> int:
    return _width(model.members[0]) if model.features is None else int(model.features.shift.shape[0])


def _of_rows(xp: Any, model: Ratio, x: Array, *, log: bool) -> Array:
    """Evaluate the log ratio; or the ratio, where the method is linear in it."""
    if model.features is None:
        logs = xp.stack([_plain(xp, member, x) for member in model.members], axis=1)
        mean = xp.matmul(xp.where(logs < LEAST, xp.zeros_like(logs) + LEAST, logs), model.coefficients)
        return mean if model.cap is None else xp.where(mean > model.cap, model.cap, mean)
    known = xp.all(xp.isfinite(x), axis=1)
    x = xp.where(known[:, None], x, xp.zeros_like(x))
    value = xp.matmul(mapped(xp, model.features, x), model.coefficients)
    if model.method in ("ulsif", "kliep"):
        positive = value > 0
        value = xp.where(positive, value, xp.zeros_like(value))
        if log:
            value = xp.where(positive, xp.log(xp.where(positive, value, xp.ones_like(value))), -xp.inf)
    return xp.where(known, value, xp.zeros_like(value) + xp.nan)


def _plain(xp: Any, model: Ratio, x: Array) -> Array:
    """Evaluate the log of p/q, whatever the ratio is relative to."""
    alpha = model.alpha
    if alpha == 0.0:
        return _doubted(xp, model, x, _of_rows(xp, model, x, log=True))
    share = alpha * _of_rows(xp, model, x, log=False)
    share = xp.where(share > FULL, xp.zeros_like(share) + FULL, share)
    odds = (1.0 - alpha) / alpha * share / (1.0 - share)
    return xp.where(odds == 0.0, -xp.inf, xp.log(xp.where(odds == 0.0, xp.ones_like(odds), odds)))


def _doubted(xp: Any, model: Ratio, x: Array, logs: Array) -> Array:
    """Draw log ratios towards 0 by their sampling variance, where that is known."""
    if model.noise is None or model.features is None:
        return logs
    known = xp.isfinite(logs)
    x = xp.where(known[:, None], x, xp.zeros_like(x))
    root = xp.matmul(mapped(xp, model.features, x), xp.matrix_transpose(model.noise))
    size = xp.where(known, xp.abs(logs), xp.ones_like(logs))
    size = xp.maximum(size, xp.zeros_like(size) + math.sqrt(float(xp.finfo(size.dtype).smallest_normal)))
    root = root / xp.sqrt(size)[:, None]  # before it is squared: far out the variance would leave the dtype's range
    return xp.where(known, logs / (1 + xp.sum(root * root, axis=1)), logs)
