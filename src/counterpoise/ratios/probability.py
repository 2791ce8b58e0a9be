"""Class probabilities into density ratios, and ratios to sources into the ratio to their mixture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .. import _xp
from .._types import Array

__all__ = ["log_mixture_ratio", "log_ratio_from_log_odds", "mixture_ratio", "mixture_ratio_multinomial"]


def log_ratio_from_log_odds(log_odds: Array, /, *, n_target: float, n_other: float | Sequence[float]) -> Array:
    """Turn a classifier's log-odds for "target" into log density ratios, whatever the class sizes.

    A classifier trained on 300 target and 900 other samples says "other" three times too readily. Its
    log-odds estimate log(dQ0/dQi) + log(n_target/n_other); this takes the second term away, once.

    Parameters
    ----------
    log_odds : array, shape (..., sources)
        log p(target) - log p(source i), each from a classifier of the target against source i, in nats. Use a
        decision function or log-probabilities: 1 - p cancels where p is close to 1.
    n_target : float
        Number (or total sample weight) of the target samples that the classifier was trained on; above 0.
    n_other : float or sequence of float
        The same for each source: one number for all, or one per source; above 0. Give equal numbers if the
        classes were equalised in training (``class_weight="balanced"``).

    Returns
    -------
    array, shape (..., sources)
        log dQ0/dQi, in the namespace, dtype and device of ``log_odds``. NaN and infinite entries stay so.

    Raises
    ------
    ValueError
        A count is not positive and finite, or their number is not the number of sources.

    References
    ----------
    Bickel, Brückner, Scheffer (2009), JMLR 10, section 3; Menon & Ong (2016), ICML, equation 7.

    Examples
    --------
    >>> import numpy as np
    >>> log_ratio_from_log_odds(np.array([[0.0, 0.0]]), n_target=300, n_other=[900, 300]).round(3)
    array([[1.099, 0.   ]])
    """
    xp = _xp.namespace(log_odds=log_odds)
    values = _xp.floating(xp, "log_odds", log_odds)
    sources = int(values.shape[-1])
    listed = _xp.listed(n_other)
    others = listed if isinstance(n_other, Iterable) else listed * sources
    if len(others) != sources:
        raise ValueError(
            f"n_other has {len(others)} counts, but the last axis of log_odds has {sources} sources; "
            "give one count per source"
        )
    allowed = "a class's number of samples, positive and finite,"
    own, *counts = (
        _xp.number(name, count, lambda v: 0.0 < v < math.inf, allowed)
        for name, count in [("n_target", n_target), *((f"n_other[{i}]", n) for i, n in enumerate(others))]
    )
    offset = [math.log(n) - math.log(own) for n in counts]
    return xp.astype(values + _row(xp, offset, values), log_odds.dtype)


def mixture_ratio(log_ratio: Array, /, *, target_share: float, other_shares: Sequence[float]) -> Array:
    """Compare the target with a training mixture that contains it: DoRA's calibration.

    The training data are P = α Q0 + Σ β_i Q_i. From the ratios r_i = dQ0/dQi of the target to every other
    source follows h = dQ0/dP = 1/(α + Σ β_i/r_i): no sample can weigh more than 1/α.

    Parameters
    ----------
    log_ratio : array, shape (..., sources)
        log r_i, in nats; any size: it is exponentiated only after the largest term is taken out.
    target_share : float
        α, the target's share of the training data, in [0, 1]. With 0 the ratio has no bound.
    other_shares : sequence of float
        β_i, one per source, in [0, 1]; together with α they sum to 1.

    Returns
    -------
    array, shape (...,)
        h in [0, 1/α], in the namespace, dtype and device of ``log_ratio``; its mean under P is 1 if shares
        and ratios are right. A NaN ratio to a source of positive share gives NaN.

    Raises
    ------
    ValueError
        A share is outside [0, 1], their sum is not 1, or their number is not the number of sources.

    References
    ----------
    DoRA, arXiv 2504.05831: h with one-vs-target probabilities p_i, where (1 - p_i)/p_i = 1/r_i.

    Examples
    --------
    >>> import numpy as np
    >>> log_ratio = np.array([[800.0, 800.0], [0.0, 0.0], [-800.0, 0.0]])
    >>> mixture_ratio(log_ratio, target_share=0.25, other_shares=[0.5, 0.25])
    array([4., 1., 0.])
    """
    xp = _xp.namespace(log_ratio=log_ratio)
    values = _xp.floating(xp, "log_ratio", log_ratio)
    (alpha,) = _xp.shares("target_share", [target_share])
    h = _xp.exp_or_infinity(xp, _log_mixture(xp, values, alpha, other_shares))
    if alpha > 0.0:
        # exp(-log(α)) may round to the other side of 1/α; a NaN must stay one.
        bound = xp.zeros_like(h) + 1.0 / alpha
        h = xp.where(h > bound, bound, h)
    return xp.astype(h, log_ratio.dtype)


def log_mixture_ratio(log_ratio: Array, /, *, target_share: float, other_shares: Sequence[float]) -> Array:
    """Logarithm of `mixture_ratio`, where the ratio itself would under- or overflow.

    Parameters
    ----------
    log_ratio, target_share, other_shares
        As in `mixture_ratio`.

    Returns
    -------
    array, shape (...,)
        log h, at most -log α: minus the log-sum-exp of log α and log β_i - log r_i.

    Examples
    --------
    >>> import numpy as np
    >>> log_mixture_ratio(np.array([[-800.0]]), target_share=0.5, other_shares=[0.5]).round(3)
    array([-799.307])
    """
    xp = _xp.namespace(log_ratio=log_ratio)
    values = _xp.floating(xp, "log_ratio", log_ratio)
    return xp.astype(_log_mixture(xp, values, target_share, other_shares), log_ratio.dtype)


def mixture_ratio_multinomial(
    log_probability: Array,
    /,
    *,
    n_target: float,
    n_other: Sequence[float],
    target_share: float,
    other_shares: Sequence[float],
) -> Array:
    """Compare the target with a training mixture by one classifier of all sources, whose ratios agree by construction.

    With class probabilities π and class sizes n it is h = (π_0/n_0)/(α π_0/n_0 + Σ β_i π_i/n_i).

    Parameters
    ----------
    log_probability : array, shape (..., 1 + sources)
        log π, the target's first, in nats; any constant may be added to a row. A row of -inf alone gives NaN.
    n_target : float
        Number (or total sample weight) of the target samples that the classifier was trained on; above 0.
    n_other : sequence of float
        The same for each source.
    target_share : float
        α, the target's share of the training data, in [0, 1].
    other_shares : sequence of float
        β_i, one per source, in [0, 1]; together with α they sum to 1.

    Returns
    -------
    array, shape (...,)
        h in [0, 1/α], in the namespace, dtype and device of ``log_probability``.

    Raises
    ------
    ValueError
        As `log_ratio_from_log_odds` and `mixture_ratio`; fewer than two classes.

    Examples
    --------
    >>> import numpy as np
    >>> log_probability = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    >>> mixture_ratio_multinomial(
    ...     log_probability, n_target=100, n_other=[100, 100], target_share=0.2, other_shares=[0.4, 0.4]
    ... ).round(3)
    array([1.667, 0.263])
    """
    xp = _xp.namespace(log_probability=log_probability)
    values = _xp.floating(xp, "log_probability", log_probability)
    if int(values.shape[-1]) < 2:
        raise ValueError(
            f"log_probability has shape {tuple(values.shape)}; its last axis needs the target and at least one source"
        )
    own, others = values[..., :1], values[..., 1:]
    # a row that is none of the target's has ratio 0, to sources that it is none of as well
    log_odds = own - xp.where((own == -xp.inf) & (others == -xp.inf), 0.0, others)
    log_odds = xp.where(xp.all(values == -xp.inf, axis=-1, keepdims=True), xp.nan, log_odds)
    log_ratio = log_ratio_from_log_odds(log_odds, n_target=n_target, n_other=_xp.listed(n_other))
    h = mixture_ratio(log_ratio, target_share=target_share, other_shares=other_shares)
    return xp.astype(h, log_probability.dtype)


def _log_mixture(xp: Any, values: Array, target_share: float, other_shares: Sequence[float]) -> Array:
    """Minus log(α + Σ β_i exp(-values_i)) over the last axis, in the dtype of the values."""
    alpha, *betas = _checked(target_share, other_shares, int(values.shape[-1]))
    # A share of 0 drops its source: 0 * inf must not make a NaN of an infinite ratio.
    terms = [math.log(b) - values[..., i] for i, b in enumerate(betas) if b > 0.0]
    if alpha > 0.0:
        terms.append(xp.zeros_like(values[..., 0]) + math.log(alpha))
    stacked = xp.stack(terms, axis=-1)
    most = xp.max(stacked, axis=-1, keepdims=True)
    finite = xp.isfinite(most)
    scaled = xp.exp(stacked - xp.where(finite, most, xp.zeros_like(most)))
    total = xp.sum(xp.where(finite, scaled, xp.ones_like(scaled)), axis=-1)
    most, finite = most[..., 0], finite[..., 0]
    return -xp.where(finite, most + xp.log(total), most)


def _checked(target_share: float, other_shares: Sequence[float], sources: int) -> list[float]:
    """Return [α, β_1, ...] as floats that sum to 1, or say which of them is wrong."""
    (alpha,) = _xp.shares("target_share", [target_share])
    betas = _xp.shares("other_shares", other_shares)
    if len(betas) != sources:
        raise ValueError(
            f"other_shares has {len(betas)} shares, but the last axis of log_ratio has {sources} sources; "
            "give one share per source"
        )
    total = math.fsum([alpha, *betas])
    if abs(total - 1.0) > 1e-6:
        raise ValueError(f"target_share and other_shares sum to {total}, not to 1; divide each by the sum")
    return [alpha, *betas]


def _row(xp: Any, numbers: list[float], like: Array) -> Array:
    """Return the numbers in the dtype and on the device of ``like``, without a float64 on the way."""
    return xp.stack([xp.zeros_like(like[..., 0]) + number for number in numbers], axis=-1)


def log_losses(xp: Any, at_target: Array, at_train: Array, target: Array, train: Array) -> Array:
    """Log loss of each row, the target's first, for the classifier of log-odds log r + log n_t/n_s."""
    offset = math.log(int(target.shape[0])) - math.log(int(train.shape[0]))
    return softplus(xp, xp.concat([-(at_target + offset), at_train + offset], axis=0))


def softplus(xp: Any, eta: Array) -> Array:
    """Return log(1 + e^eta)."""
    return xp.maximum(eta, xp.zeros_like(eta)) + xp.log1p(xp.exp(-xp.abs(eta)))
