"""What a weight is for: a token, a response, a pair, a list; and whether it may see the label."""

from __future__ import annotations

from typing import Any, Literal

from .. import _xp
from .._types import Array

__all__ = ["pair_features", "ratio_at_level"]

LEVELS = ("token", "response", "pair", "list", "list mean")


def ratio_at_level(
    log_ratio: Array,
    /,
    *,
    level: Literal["token", "response", "pair", "list", "list mean"],
    mask: Array | None = None,
) -> Array:
    """Turn log ratios of parts into ratios of what the loss is a loss of.

    Parts that are independent given the prompt multiply: the tokens of a response, given what stands before them; the
    responses of a pair or of a list.

    Parameters
    ----------
    log_ratio : array, shape (..., n)
        log r of each part, in nats: of tokens for "token" and "response", of responses for the others.
    level : {"token", "response", "pair", "list", "list mean"}
        "token": the ratio r_t of each token, for a loss per token. "response": Π_t r_t. "pair": r_j r_k of all n(n-1)/2
        pairs of a list, j < k, in the order (0, 1), (0, 2), ..., for a loss per pair. "list": Π_k r_k. "list mean":
        the mean of the r_k, as DoRA weighs lists and pairs: it is no density ratio, and in long lists hardly varies.
    mask : array of bool, shape broadcastable to log_ratio's, optional
        Which parts there are; all by default. A masked token weighs 0, a masked response's pairs weigh 0.

    Returns
    -------
    array, shape (..., n), (...,) or (..., n(n-1)/2)
        In the namespace, dtype and device of ``log_ratio``; infinity beyond the dtype. A mean over nothing is NaN.

    Raises
    ------
    ValueError
        For an unknown level, and for pairs of fewer than two responses.
    TypeError
        For a mask that is not boolean.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> log_ratio = np.log(np.array([2.0, 0.5, 3.0]))
    >>> cp.ratio_at_level(log_ratio, level="pair"), float(cp.ratio_at_level(log_ratio, level="list"))
    (array([1. , 6. , 1.5]), 3.0)
    """
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; it is one of {', '.join(LEVELS)}")
    xp = _xp.namespace(log_ratio=log_ratio, mask=mask)
    values = _xp.floating(xp, "log_ratio", log_ratio)
    n = int(values.shape[-1])
    if level == "pair" and n < 2:
        raise ValueError(f"log_ratio has shape {tuple(values.shape)}; a pair needs two responses on the last axis")
    live = xp.ones_like(values, dtype=xp.bool) if mask is None else _mask(xp, mask, values)
    if level == "token":
        return xp.astype(xp.where(live, _xp.exp_or_infinity(xp, values), 0.0), log_ratio.dtype)
    if level == "list mean":
        count = xp.sum(xp.astype(live, values.dtype), axis=-1)
        total = xp.sum(xp.where(live, _xp.exp_or_infinity(xp, values), 0.0), axis=-1)
        mean = xp.where(count > 0, total / xp.where(count > 0, count, 1.0), xp.nan)
        return xp.astype(mean, log_ratio.dtype)
    if level == "pair":
        pairs = [(j, k) for j in range(n) for k in range(j + 1, n)]
        there = xp.stack([live[..., j] & live[..., k] for j, k in pairs], axis=-1)
        product = _xp.exp_or_infinity(xp, xp.stack([values[..., j] + values[..., k] for j, k in pairs], axis=-1))
        return xp.astype(xp.where(there, product, 0.0), log_ratio.dtype)
    return xp.astype(_xp.exp_or_infinity(xp, xp.sum(xp.where(live, values, 0.0), axis=-1)), log_ratio.dtype)


def pair_features(chosen: Array, rejected: Array, /, *, label_aware: bool) -> Array:
    """Join the features of two responses for a classifier of sources that may see which of them was preferred, or not.

    A label-aware ratio covers sources that judge differently; it needs target labels. A label-blind one is the
    average of the label-aware ratio over both orders: right where labels, given the responses, do not depend on the
    source, and the same for a pair and for the pair turned around.

    Parameters
    ----------
    chosen, rejected : array, shape (..., d)
        Features of the preferred and of the other response; put the prompt's features, which both share, into each.
    label_aware : bool
        Whether the order may matter.

    Returns
    -------
    array, shape (..., 2 d)
        Chosen and rejected side by side, or their sum and absolute difference: all that a pair without order has.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> chosen, rejected = np.array([[1.0, 2.0]]), np.array([[3.0, 0.0]])
    >>> cp.pair_features(chosen, rejected, label_aware=True), cp.pair_features(chosen, rejected, label_aware=False)
    (array([[1., 2., 3., 0.]]), array([[4., 2., 2., 2.]]))
    """
    xp = _xp.namespace(chosen=chosen, rejected=rejected)
    first, second = _xp.floating(xp, "chosen", chosen), _xp.floating(xp, "rejected", rejected)
    if tuple(first.shape) != tuple(second.shape):
        raise ValueError(f"chosen has shape {tuple(first.shape)} and rejected {tuple(second.shape)}; they must agree")
    both = [first, second] if label_aware else [first + second, xp.abs(first - second)]
    return xp.astype(xp.concat(both, axis=-1), chosen.dtype)


def _mask(xp: Any, mask: Array, values: Array) -> Array:
    if not xp.isdtype(mask.dtype, "bool"):
        raise TypeError(f"mask has dtype {mask.dtype}; booleans are needed")
    return xp.broadcast_to(mask, values.shape)
