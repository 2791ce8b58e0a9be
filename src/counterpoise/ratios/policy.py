"""Ratios of two known policies: no estimation, only truncation, and what that leaves out."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from .. import _xp
from .._types import Array
from ..diagnostics import Estimate

__all__ = ["PolicyRatio", "policy_ratio"]


class PolicyRatio(NamedTuple):
    """Truncated ratios; see `policy_ratio`.

    Attributes
    ----------
    ratio : array, shape (...,) or (..., tokens)
        min(r, cap).
    missing : Estimate
        m = 1 − E[min(r, cap)] over all samples, each of shape (): the part of the target policy that truncation
        leaves out.
    truncated : array, shape ()
        Share of the samples whose ratio was above the cap.
    """

    ratio: Array
    missing: Estimate
    truncated: Array


def policy_ratio(
    target_log_probability: Array,
    train_log_probability: Array,
    /,
    *,
    cap: float,
    level: Literal["sequence", "token"] = "sequence",
    mask: Array | None = None,
) -> PolicyRatio:
    """Turn log-probabilities of samples under two policies into min(π/μ, cap), μ being the one that generated them.

    E_μ[π/μ] = 1, so m = 1 − E_μ[min(π/μ, cap)] is the mass of π that truncation leaves out. A mean with the truncated
    ratios, of an f with a ≤ f ≤ b, is off by between −b·m and −a·m; normalised to sum 1, by at most (b − a)·m.

    Parameters
    ----------
    target_log_probability : array of real floating dtype, shape (..., tokens)
        log π of each token given those before it. Sums over whole sequences are passed with a last axis of length 1.
    train_log_probability : array, the same shape
        log μ of the same tokens, by the policy as it was when it generated them.
    cap : float
        Largest ratio, > 0; infinity truncates nothing.
    level : {"sequence", "token"}
        ``"sequence"``: the ratio of whole responses, Π_t π/μ. ``"token"``: one ratio a token, which corrects the choice
        of that token but not how often its prefix occurs: right to first order in the distance of the policies only.
    mask : array, shape broadcastable to the log-probabilities', optional
        Zero or false at tokens that do not count (prompt, padding), whatever stands there.

    Returns
    -------
    PolicyRatio
        Ratios, 0 at tokens that are masked, and m with its standard error. A token that μ cannot have generated
        (log μ = −∞), a log-probability above 0 or NaN make its ratio and m NaN.

    Raises
    ------
    TypeError, ValueError
        Arrays that are no floats or do not fit; a cap that is not positive.

    References
    ----------
    Ionides, "Truncated importance sampling", JCGS 17 (2008).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> new = np.log(np.array([[0.5, 0.5], [0.9, 0.8]]))
    >>> old = np.log(np.array([[0.5, 0.25], [0.3, 0.4]]))
    >>> cp.policy_ratio(new, old, cap=4.0).ratio.round(6)
    array([2., 4.])
    >>> cp.policy_ratio(new, old, cap=4.0, level="token").ratio.round(6)
    array([[1., 2.],
           [3., 2.]])
    """
    cap = _xp.number("cap", cap, lambda v: v > 0.0, "a positive number, or infinity for none,")
    if level not in ("sequence", "token"):
        raise ValueError(f"level is {level!r}; 'sequence' or 'token' is needed")
    xp = _xp.namespace(
        target_log_probability=target_log_probability, train_log_probability=train_log_probability, mask=mask
    )
    named = {"target_log_probability": target_log_probability, "train_log_probability": train_log_probability}
    new, old = _xp.aligned(xp, named)
    counts = xp.ones_like(new) > 0 if mask is None else xp.broadcast_to(mask, new.shape) != 0
    slack = 1e-3  # what half precision makes of log 1
    sound = (new <= slack) & (old <= slack) & (old > -math.inf)
    log_ratio = xp.where(sound, new - xp.where(sound, old, xp.zeros_like(old)), xp.nan)
    log_ratio = xp.where(counts, log_ratio, xp.zeros_like(log_ratio))
    if level == "sequence":
        log_ratio, counts = xp.sum(log_ratio, axis=-1), xp.any(counts, axis=-1)
    above = log_ratio > math.log(cap)
    ratio = _xp.exp_or_infinity(xp, xp.where(above, xp.zeros_like(log_ratio), log_ratio))
    ratio = xp.where(counts, xp.where(above, _xp.filled(xp, ratio, cap), ratio), xp.zeros_like(ratio))
    used = xp.astype(counts, ratio.dtype)
    n = xp.sum(used)
    n = xp.where(n > 0, n, xp.nan)  # of nothing there is no mean, and of one no spread
    mean = xp.sum(ratio) / n
    known = mean < xp.inf
    off = xp.where(known, ratio, xp.nan) - xp.where(known, mean, 0.0)
    spread = xp.sqrt(xp.sum(used * off**2) / xp.where(n > 1, n - 1, xp.nan))
    dtype = target_log_probability.dtype
    missing = Estimate(*(_xp.narrowed(xp, v, dtype) for v in (1 - mean, spread / xp.sqrt(n))))
    share = xp.sum(xp.astype(above & counts, ratio.dtype)) / n
    return PolicyRatio(_xp.narrowed(xp, ratio, dtype), missing, xp.astype(share, dtype))
