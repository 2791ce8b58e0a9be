"""Neighbouring weights and objectives, each with its source."""

from __future__ import annotations

import math

from .. import _xp
from .._types import Array, Objective, Status
from ..divergences import KL
from ..weights import penalized

__all__ = ["dr_dpo", "kldpo", "wpo_weights"]


def dr_dpo(losses: Array, temperature: float | Array, /, *, prior: Array | None = None) -> Objective:
    """Dr. DPO: -β' log Σ p e^{-l/β'}, which weighs pairs with a large loss less; KL-DRO of a negative temperature.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l of each pair.
    temperature : float or array of shape (...,)
        β' ≥ 0, in units of the losses; infinity is `erm`, 0 the smallest loss.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default, zero masks.

    Returns
    -------
    Objective
        Value of shape (...,), weights ∝ p e^{-l/β'} of shape (..., n). It is the best case in a divergence: the
        opposite of robustness to hard examples, and robustness to wrong labels.

    References
    ----------
    Wu et al., "Towards robust alignment of language models: distributionally robustifying direct preference
    optimization", arXiv 2407.07880; https://github.com/junkangwu/Dr_DPO.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.dr_dpo(np.array([0.0, 1.0]), 1.0).weights.round(6)
    array([0.731059, 0.268941])
    """
    solution = penalized(-losses, KL(), temperature, prior=prior)
    return Objective(-solution.value, solution.weights, solution.status)


def kldpo(losses: Array, temperature: float | Array, /, *, cap: float = 10.0) -> Objective:
    """KLDPO as released: mean of w·l with w = min(e^{(l - l̄)/τ}, cap), l̄ the mean loss.

    The weights of `kl_dro` with the mean loss in place of the log-mean-exp that would normalise them, and a cap.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l of each pair, of all ranks; one that is not finite sets ``status``.
    temperature : float or array of shape (...,)
        τ > 0, in units of the losses; infinity is the mean.
    cap : float
        Largest weight, > 0; 10 there.

    Returns
    -------
    Objective
        The value, and the weights w/n, which sum to no constant. The value's own gradient differs: w is held constant.

    Raises
    ------
    ValueError
        For a cap that is not positive.

    References
    ----------
    Xu et al., "Robust LLM alignment via distributionally robust direct preference optimization", arXiv 2502.01930;
    https://github.com/TheBlackCat22/distributionally_robust_dpo.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.kldpo(np.array([0.0, 2.0]), 1.0).weights.round(6)
    array([0.18394 , 1.359141])
    """
    cap = _xp.number("cap", cap, lambda v: v > 0.0, "a float > 0")
    xp = _xp.namespace(losses=losses)
    wide = _xp.floating(xp, "losses", losses)
    tau = _xp.amount(xp, "temperature", temperature, wide)
    finite = xp.all(xp.isfinite(wide), axis=-1)
    wide = xp.where(finite[..., None], wide, xp.nan)  # an infinite loss has no distance from the mean
    exponent = (wide - xp.mean(wide, axis=-1, keepdims=True)) / xp.where(tau > 0, tau, xp.nan)
    most = math.log(float(cap))
    w = xp.exp(xp.where(exponent > most, most, exponent))
    status = xp.zeros_like(tau[..., 0], dtype=xp.int32)
    status = xp.where((tau > 0)[..., 0], status, status + int(Status.INVALID_AMOUNT))
    status = xp.where(finite, status, 0 * status + int(Status.NAN_LOSS))
    value = xp.mean(w * wide, axis=-1)
    n = int(wide.shape[-1])
    return Objective(xp.astype(value, losses.dtype), xp.astype(w / n, losses.dtype), status)


def wpo_weights(log_probability: Array, log_collision: Array, mask: Array, /) -> Array:
    """WPO's weight of a response: exp of the mean over its tokens of log π(y_t) - log Σ_v π(v)²; multiply for a pair.

    The second term aligns the weights: a token sampled from the policy itself then weighs about 1, however unsure the
    policy is there.

    Parameters
    ----------
    log_probability : array of real floating dtype, shape (..., tokens)
        log π(y_t) of the response's tokens under the policy as it is now.
    log_collision : array, shape (..., tokens)
        log Σ_v π(v)² over the vocabulary at the same places; 0 gives the weights without alignment.
    mask : array of bool, shape (..., tokens)
        Which tokens are the response's.

    Returns
    -------
    array, shape (...,)
        Of each response; 1 for an empty one. Multiply those of a pair, and hold the product constant.

    Raises
    ------
    TypeError
        For a mask that is not boolean.

    References
    ----------
    Zhou et al., "WPO: enhancing RLHF with weighted preference optimization", arXiv 2406.11827, equation 2.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> log_probability, log_collision = np.log(np.array([0.5, 0.1, 0.9])), np.log(np.array([0.5, 0.2, 0.5]))
    >>> float(cp.wpo_weights(log_probability, log_collision, np.array([True, True, False])))
    0.707106
    """
    xp = _xp.namespace(log_probability=log_probability, log_collision=log_collision, mask=mask)
    lp, lc = _xp.aligned(xp, {"log_probability": log_probability, "log_collision": log_collision})
    if not xp.isdtype(mask.dtype, "bool"):
        raise TypeError(f"mask has dtype {mask.dtype}; booleans are needed")
    live = xp.broadcast_to(mask, lp.shape)
    tokens = xp.sum(xp.astype(live, lp.dtype), axis=-1)
    total = xp.sum(xp.where(live, lp - xp.where(live, lc, 0.0), 0.0), axis=-1)
    mean = total / xp.where(tokens > 0, tokens, 1.0)
    return xp.astype(_xp.exp_or_infinity(xp, mean), log_probability.dtype)
