"""Losses and weights for labels that may be wrong, as functions of a pair's margin or of its two losses."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

from .. import _xp
from .._types import Array

__all__ = ["MarginLoss", "conservative_dpo", "dpo_pro_preference", "label_posterior", "robust_dpo", "ropo"]


class MarginLoss(NamedTuple):
    """A loss as a function of the margin, with its slope.

    Attributes
    ----------
    losses : array, shape (...)
        Of each pair.
    slopes : array, shape (...)
        d losses / d margin.
    """

    losses: Array
    slopes: Array


def dpo_pro_preference(losses: Array, turned: Array, preference: Array, /, *, radius: float | Array) -> Array:
    """DPO-PRO's worst-case preference: the p within √(ρ q(1-q)) of q that makes p l + (1-p) l' largest.

    That is a χ² ball around each pair's own label, (p-q)²/(q(1-q)) ≤ ρ, and no ball around the data.

    Parameters
    ----------
    losses, turned : array of real floating dtype, shape (..., n)
        l of the pair as labelled, and l' of the pair turned around.
    preference : array, shape broadcastable to the losses'
        q in [0, 1], how likely the label is right: agreement of annotators, or a judge's probability.
    radius : float or array of shape (...,)
        ρ ≥ 0.

    Returns
    -------
    array, shape (..., n)
        p in [0, 1]: train on p l + (1-p) l' with p held constant. NaN for a preference or radius out of range.

    References
    ----------
    Kim et al., arXiv 2509.02709 and 2510.23590, where p = min(1, q + √(ρ q(1-q))) for l ≥ l'.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> losses, turned = np.array([0.2, 2.0]), np.array([1.7, 0.3])
    >>> cp.dpo_pro_preference(losses, turned, np.array([0.8, 0.8]), radius=0.25)
    array([0.6, 1. ])
    """
    xp = _xp.namespace(losses=losses, turned=turned, preference=preference)
    loss, other, q = _xp.aligned(xp, {"losses": losses, "turned": turned, "preference": preference})
    rho = _xp.amount(xp, "radius", radius, loss)
    good = (q >= 0) & (q <= 1) & (rho >= 0)
    safe = xp.where(good, q, 0.5)
    move = xp.sqrt(xp.where(rho >= 0, rho, 0.0) * safe * (1.0 - safe))
    p = xp.where(loss > other, safe + move, xp.where(loss < other, safe - move, safe))
    p = xp.where(p > 1.0, 1.0, xp.where(p < 0.0, 0.0, p))
    return xp.astype(xp.where(good & (loss == loss) & (other == other), p, xp.nan), losses.dtype)


def conservative_dpo(margin: Array, /, *, flip: float) -> MarginLoss:
    """cDPO: cross-entropy with labels that are right with probability 1 - ε, -(1-ε) log σ(m) - ε log σ(-m).

    Parameters
    ----------
    margin : array of real floating dtype
        m = β (log-ratio of the chosen response minus that of the rejected).
    flip : float
        ε in [0, ½).

    Returns
    -------
    MarginLoss
        Least where σ(m) = 1 - ε.

    References
    ----------
    Mitchell, "A note on DPO with noisy preferences and relationship to IPO", 2023, equation 3.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.conservative_dpo(np.array([0.0, 1.0]), flip=0.1).losses.round(6)
    array([0.693147, 0.413262])
    """
    xp, m, epsilon = _margin(margin, flip)
    losses = (1.0 - epsilon) * _softplus(xp, -m) + epsilon * _softplus(xp, m)
    slopes = epsilon - _sigmoid(xp, -m)
    return _as_given(xp, losses, slopes, margin)


def robust_dpo(margin: Array, /, *, flip: float) -> MarginLoss:
    """Robust DPO: the loss whose mean over labels flipped with probability ε is DPO's loss on the true labels.

    [-(1-ε) log σ(m) + ε log σ(-m)] / (1 - 2ε)

    Parameters
    ----------
    margin : array of real floating dtype
        m, as in `conservative_dpo`.
    flip : float
        ε in [0, ½).

    Returns
    -------
    MarginLoss
        Unbiased, and without a lower bound: a margin of a well separated pair keeps growing.

    References
    ----------
    Chowdhury, Kini, Natarajan, "Provably robust DPO: aligning language models with noisy feedback", arXiv 2403.00409.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.robust_dpo(np.array([0.0, 1.0]), flip=0.1).losses.round(6)
    array([0.693147, 0.188262])
    """
    xp, m, epsilon = _margin(margin, flip)
    losses = ((1.0 - epsilon) * _softplus(xp, -m) - epsilon * _softplus(xp, m)) / (1.0 - 2.0 * epsilon)
    slopes = -(1.0 - epsilon) * _sigmoid(xp, -m) - epsilon * _sigmoid(xp, m)
    return _as_given(xp, losses, slopes / (1.0 - 2.0 * epsilon), margin)


def ropo(margin: Array, /, *, strength: float) -> MarginLoss:
    """ROPO: 4α/(1+α)² · (-log σ(m)) + 4α²/(1+α)² · σ(-m), whose gradient forgives pairs with a very negative margin.

    The factors make the steepest slope exactly -1 for α ≥ 1, at σ(-m) = (1+α)/(2α).

    Parameters
    ----------
    margin : array of real floating dtype
        m, as in `conservative_dpo`.
    strength : float
        α > 0: the second term's weight against the first.

    Returns
    -------
    MarginLoss
        The loss of the method's training step; its filtering and rejection sampling are no formula of the margin.

    Raises
    ------
    ValueError
        For a strength that is not positive and finite.

    References
    ----------
    Liang et al., "ROPO: robust preference optimization for large language models", arXiv 2404.04102, equation 9.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.ropo(np.array([0.0, -20.0]), strength=3.0).slopes.round(6)
    array([-0.9375, -0.75  ])
    """
    a = _xp.number("strength", strength, lambda v: 0.0 < v < math.inf, "a finite float > 0")
    xp = _xp.namespace(margin=margin)
    m = _xp.floating(xp, "margin", margin)
    share = a / (1.0 + a)  # its square is in range where that of 1 + α is not
    first, second = 4.0 * share / (1.0 + a), 4.0 * share * share
    wrong = _sigmoid(xp, -m)
    losses = first * _softplus(xp, -m) + second * wrong
    slopes = -wrong * (first + second * _sigmoid(xp, m))
    return _as_given(xp, losses, slopes, margin)


def label_posterior(losses: Array, turned: Array, /, *, reliability: float | Array) -> Array:
    """RPO's E-step, the probability that a label is right: η e^{-l}/(η e^{-l} + (1-η) e^{-l'}), the weight of its pair.

    The true label is latent, an annotator gives it with probability η, and the model says e^{-l} : e^{-l'} for the
    label as given against its opposite. The M-step sets each annotator's η to the mean of their posteriors.

    Parameters
    ----------
    losses, turned : array of real floating dtype, shape (..., n)
        l of the pair as labelled, and l' of the pair turned around, in nats.
    reliability : float or array, shape broadcastable to the losses'
        η in [0, 1], of each pair's annotator. Outside it the posterior is NaN.

    Returns
    -------
    array, shape (..., n)
        In [0, 1]; train on w l + (1-w) l'.

    References
    ----------
    Cao et al., "Robust preference optimization" (later RE-PO), arXiv 2509.24159.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.label_posterior(np.array([0.1, 3.0]), np.array([2.4, 0.05]), reliability=0.9).round(3)
    array([0.989, 0.32 ])
    """
    xp = _xp.namespace(losses=losses, turned=turned)
    loss, other = _xp.aligned(xp, {"losses": losses, "turned": turned})
    if isinstance(reliability, Real):
        eta = xp.zeros_like(loss) + float(reliability)
    else:
        loss, other, eta = _xp.aligned(xp, {"losses": loss, "turned": other, "reliability": reliability})
    good = (eta >= 0) & (eta <= 1)
    safe = xp.where(good & (eta > 0) & (eta < 1), eta, 0.5)
    inside = _sigmoid(xp, other - loss + xp.log(safe) - xp.log(1.0 - safe))
    w = xp.where(eta == 0, 0.0, xp.where(eta == 1, 1.0, inside))
    return xp.astype(xp.where(good & (loss == loss) & (other == other), w, xp.nan), losses.dtype)


def _margin(margin: Array, flip: float) -> tuple[Any, Array, float]:
    flip = _xp.number(
        "flip", flip, lambda v: 0.0 <= v < 0.5, "a probability in [0, 0.5), as from ½ on labels say nothing,"
    )
    xp = _xp.namespace(margin=margin)
    return xp, _xp.floating(xp, "margin", margin), flip


def _softplus(xp: Any, x: Array) -> Array:
    """log(1 + e^x), without overflow."""
    return xp.where(x > 0, x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def _sigmoid(xp: Any, x: Array) -> Array:
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1.0, small) / (1.0 + small)


def _as_given(xp: Any, losses: Array, slopes: Array, margin: Array) -> MarginLoss:
    return MarginLoss(xp.astype(losses, margin.dtype), xp.astype(slopes, margin.dtype))
