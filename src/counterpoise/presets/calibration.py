"""What stands in for the density ratio: the paper's calibration, the released code's, and truncation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import _xp
from .._types import Array

__all__ = ["released_calibration", "stabilised_calibration", "truncated_ratio"]

RELEASED_SHARES = {2: (1 / 2, 1 / 2), 4: (1 / 4, 1 / 4, 1 / 4, 1 / 4), 6: (1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 3, 1 / 6)}


def stabilised_calibration(
    log_ratio: Array, /, *, target_share: float, other_shares: Sequence[float], stabiliser: float | None = None
) -> Array:
    """DoRA's published calibration h~ = (1/n) Σ_i 1/(β_i/r_i + s) over all n sources, the target with r = 1 among them.

    It is no density ratio: with s = 0 it is at least n times the exact `mixture_ratio` (arithmetic against harmonic
    mean), with s = 1/n at least n h/(1 + h) and at most n.

    Parameters
    ----------
    log_ratio : array, shape (..., sources)
        log r_i of the target to each other source, log γ_i c_i/(1 - c_i) for a classifier c_i of one against one and
        class imbalance γ_i: what `log_ratio_from_log_odds` returns.
    target_share : float
        α, the target's share of the training data, in (0, 1].
    other_shares : sequence of float
        β_i, one per source, in (0, 1]; together with α they sum to 1.
    stabiliser : float, optional
        s ≥ 0, added to each denominator; 1/n by default, n counting the target.

    Returns
    -------
    array, shape (...,)
        h~ of each response, in the namespace, dtype and device of ``log_ratio``. NaN stays NaN.

    Raises
    ------
    ValueError
        A share is not in (0, 1], their sum is not 1, their number is not the number of sources, or s is negative.

    References
    ----------
    Zhu et al., DoRA, arXiv 2504.05831, with the stabilising term of their released code.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> log_ratio = np.log(np.array([[4.0], [1.0], [0.25]]))
    >>> cp.stabilised_calibration(log_ratio, target_share=0.5, other_shares=[0.5])
    array([1.3, 1. , 0.7])
    """
    xp = _xp.namespace(log_ratio=log_ratio)
    values = _xp.floating(xp, "log_ratio", log_ratio)
    shares = _positive_shares(target_share, other_shares, int(values.shape[-1]))
    s = 1.0 / len(shares)
    if stabiliser is not None:
        s = _xp.number("stabiliser", stabiliser, lambda v: 0.0 <= v < math.inf, "a finite float >= 0")
    every = [xp.zeros_like(values[..., 0]), *(values[..., i] for i in range(len(shares) - 1))]
    total = sum(_reciprocal(xp, log_r, share, s) for log_r, share in zip(every, shares, strict=True))
    return xp.astype(total / len(shares), log_ratio.dtype)


def released_calibration(
    probability: Array, /, *, target_share: float | None = None, slot_shares: Sequence[float] | None = None
) -> Array:
    """Slot weights of DoRA's released code, 1/(α + b_k (1-p)/p): one classifier, no γ, shares by place in the list.

    Parameters
    ----------
    probability : array, shape (..., K)
        p, the classifier's probability that the response in each slot is a target response. Outside [0, 1] the weight
        is NaN.
    target_share : float, optional
        α in (0, 1]; 1/K by default, as there.
    slot_shares : sequence of float, optional
        b_k in (0, 1], one per slot; by default the constants of the code: K = 2, 4 or 6.

    Returns
    -------
    array, shape (..., K)
        Weights in [0, 1/α]. Where b_k = 1/K they are exactly K·p.

    Raises
    ------
    ValueError
        For a share outside (0, 1], a number of shares other than K, and a K that the code has no constants for.

    References
    ----------
    https://github.com/stevie1023/DoRA (the code of arXiv 2504.05831), ``rrhf_loss``, ``lire_loss``, ``dpo_loss``.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.released_calibration(np.array([[0.95, 0.5, 0.1, 0.8]]))
    array([[3.8, 2. , 0.4, 3.2]])
    """
    xp = _xp.namespace(probability=probability)
    p = _xp.floating(xp, "probability", probability)
    slots = int(p.shape[-1])
    if slot_shares is None and slots not in RELEASED_SHARES:
        raise ValueError(f"probability has {slots} slots; the code has constants for 2, 4 and 6: give slot_shares")
    given = _xp.listed(RELEASED_SHARES[slots] if slot_shares is None else slot_shares)
    named = [("target_share", 1.0 / slots if target_share is None else target_share)]
    named += [(f"slot_shares[{i}]", b) for i, b in enumerate(given)]
    alpha, *shares = (
        _xp.number(name, b, lambda share: 0.0 < share <= 1.0, "a share in (0, 1], which divides,") for name, b in named
    )
    if len(shares) != slots:
        raise ValueError(f"slot_shares has {len(shares)} shares for {slots} slots; give one per slot")
    p = xp.where((p >= 0) & (p <= 1), p, xp.nan)
    # p/(α p + b (1 - p)) is the same, and has no 0 in a denominator
    weights = [p[..., k] / (alpha * p[..., k] + b * (1.0 - p[..., k])) for k, b in enumerate(shares)]
    return xp.astype(xp.stack(weights, axis=-1), probability.dtype)


def truncated_ratio(ratio: Array, /, *, cap: float | None = None) -> Array:
    """Cap importance weights, min(r, cap): bounded variance for a bias.

    Parameters
    ----------
    ratio : array, shape (..., n)
        r ≥ 0. A negative one gives NaN.
    cap : float, optional
        > 0; by default √n times the mean of the row, which keeps the estimate consistent.

    Returns
    -------
    array, shape (..., n)
        In the namespace, dtype and device of ``ratio``.

    Raises
    ------
    ValueError
        For a cap that is not positive.

    References
    ----------
    Ionides, "Truncated importance sampling", Journal of Computational and Graphical Statistics 17(2), 2008.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.truncated_ratio(np.array([0.0, 0.0, 0.0, 8.0])), cp.truncated_ratio(np.array([0.5, 3.0]), cap=2.0)
    (array([0., 0., 0., 4.]), array([0.5, 2. ]))
    """
    xp = _xp.namespace(ratio=ratio)
    r = _xp.floating(xp, "ratio", ratio)
    r = xp.where(r >= 0, r, xp.nan)
    if cap is not None:
        cap = _xp.number("cap", cap, lambda v: v > 0.0, "a float > 0")
    if cap is not None:
        most = _xp.filled(xp, r, cap)
        return xp.astype(xp.where(r > most, most, r), ratio.dtype)
    share, unit = _xp.in_range(xp, r)
    most = math.sqrt(int(r.shape[-1])) * xp.mean(share, axis=-1, keepdims=True)
    return xp.astype(xp.where(share > most, xp.where(share > most, most, 0.0) * unit, r), ratio.dtype)


def _reciprocal(xp: Any, log_r: Array, share: float, s: float) -> Array:
    """1/(β/r + s) without an overflow of r or of 1/r on the way."""
    small = xp.exp(-xp.abs(log_r))
    if s > 0.0:
        above = 1.0 / (share * small + s)
        return xp.where(log_r >= 0, above, small / (share + s * small))
    return _xp.exp_or_infinity(xp, log_r - math.log(share))  # unstabilised it is r/β


def _positive_shares(target_share: float, other_shares: Sequence[float], sources: int) -> list[float]:
    """Return [α, β_1, ...], all positive with sum 1, or say which of them is wrong."""
    (alpha,) = _xp.shares("target_share", [target_share])
    betas = _xp.shares("other_shares", other_shares)
    if len(betas) != sources:
        raise ValueError(
            f"other_shares has {len(betas)} shares, but the last axis of log_ratio has {sources} sources; "
            "give one share per source"
        )
    for name, share in [("target_share", alpha), *((f"other_shares[{i}]", b) for i, b in enumerate(betas))]:
        if share == 0.0:
            raise ValueError(f"{name} is 0, and the calibration divides by it; leave sources without data out")
    if abs(math.fsum([alpha, *betas]) - 1.0) > 1e-6:
        raise ValueError(
            f"target_share and other_shares sum to {math.fsum([alpha, *betas])}, not to 1; divide each by the sum"
        )
    return [alpha, *betas]
