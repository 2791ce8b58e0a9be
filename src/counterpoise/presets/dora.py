"""DoRA's objective as the paper states it, as the released code computes it, and as this library would set it."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from .. import _xp
from .._types import Array, Objective, Status
from ..objective import dora

__all__ = ["paper_dora", "released_dpo", "released_lire", "released_rrhf", "scaled_dora"]


def paper_dora(
    losses: Array, slot_weights: Array, /, *, penalty: float | Array = 1.0, prior: Array | None = None
) -> Objective:
    """DoRA as published: λ log Σ p e^{h~ l/λ} with λ = 1, h~ of a pair or list the mean over its responses.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l of each pair or list.
    slot_weights : array, shape (..., n, K)
        h~ ≥ 0 of each response, as `stabilised_calibration` returns them.
    penalty : float or array of shape (...,)
        λ ≥ 0, in units of h~·l; 1 in the paper.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default.

    Returns
    -------
    Objective
        As `dora` returns it.

    References
    ----------
    Zhu et al., arXiv 2504.05831.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> slot_weights = np.array([[0.5, 1.5], [2.0, 1.0]])
    >>> float(cp.paper_dora(np.array([1.0, 2.0]), slot_weights).value)
    2.433780
    """
    xp = _xp.namespace(losses=losses, slot_weights=slot_weights, prior=prior)
    return dora(losses, _slot_mean(xp, slot_weights), penalty, prior=prior)


def released_dpo(
    losses: Array, slot_weights: Array, /, *, micro_batch: int = 1, penalty: float | Array = 1.0
) -> Objective:
    """DPO-DoRA of the released code: λ log mean e^{w l/λ} in each micro-batch by itself, and the mean of these.

    With the released setting, micro-batches of one, it is plain reweighting: the mean of w·l, whatever λ.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l of each pair or list, micro-batches one after the other.
    slot_weights : array, shape (..., n, K)
        Of each response, as `released_calibration` returns them; their mean over the slots weighs the list.
    micro_batch : int
        Size m ≥ 1, a divisor of n; 1 there.
    penalty : float or array of shape (...,)
        λ ≥ 0; 1 there.

    Returns
    -------
    Objective
        The value, and its gradient in all n losses.

    Raises
    ------
    ValueError
        If n is not a multiple of the micro-batch.

    References
    ----------
    https://github.com/stevie1023/DoRA, ``dpo_loss``; its ``log(mean(exp(.)))`` overflows float32 at 88, this does not.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> losses, slot_weights = np.array([1.0, 2.0]), np.array([[0.5, 1.5], [2.0, 1.0]])
    >>> cp.released_dpo(losses, slot_weights)[:2]
    (np.float64(2.0), array([0.5 , 0.75]))
    """
    xp, loss, parts, w = _micro_batches(losses, slot_weights, micro_batch)
    found = dora(parts, w, _each(xp, penalty, loss))
    return _joined(xp, found.value, found.weights, found.status, losses)


def released_lire(
    losses: Array, slot_weights: Array, /, *, micro_batch: int = 1, penalty: float | Array = 1.0
) -> Objective:
    """LIRE-DoRA of the released code: w̄ · λ log mean e^{l/λ} in each micro-batch, w̄ the mean of all its slot weights.

    The weight multiplies outside the logarithm: it is KL-DRO that knows nothing of a target, with a step size that
    varies by micro-batch. With micro-batches of one it is reweighting.

    Parameters
    ----------
    losses, slot_weights, micro_batch, penalty
        As in `released_dpo`.

    Returns
    -------
    Objective
        The value, and its gradient in all n losses.

    Raises
    ------
    ValueError
        If n is not a multiple of the micro-batch.

    References
    ----------
    https://github.com/stevie1023/DoRA, ``lire_loss``.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> losses, slot_weights = np.array([1.0, 2.0]), np.array([[0.5, 1.5], [2.0, 1.0]])
    >>> float(cp.released_lire(losses, slot_weights, micro_batch=2).value)
    2.025143
    """
    xp, loss, parts, w = _micro_batches(losses, slot_weights, micro_batch)
    mean = _mean(xp, w)
    found = dora(parts, xp.ones_like(w), _each(xp, penalty, loss))
    return _joined(xp, mean * found.value, mean[..., None] * found.weights, found.status, losses)


def released_rrhf(
    losses: Array, slot_weights: Array, /, *, micro_batch: int = 1, penalty: float | Array = 1.0
) -> Objective:
    """RRHF-DoRA of the released code: λ log mean_{i,k} e^{L w_ik/λ}, L the micro-batch's mean loss.

    The losses are averaged before they are tilted, so the tilt acts on the slots of a list, not on examples: no loss
    counts more than another of its micro-batch.

    Parameters
    ----------
    losses, slot_weights, micro_batch, penalty
        As in `released_dpo`; the loss of a list is RRHF's ranking loss plus its log-likelihood term.

    Returns
    -------
    Objective
        The value, and its gradient in all n losses.

    Raises
    ------
    ValueError
        If n is not a multiple of the micro-batch.

    References
    ----------
    https://github.com/stevie1023/DoRA, ``rrhf_loss``.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> losses, slot_weights = np.array([1.0, 2.0]), np.array([[0.5, 1.5], [2.0, 1.0]])
    >>> cp.released_rrhf(losses, slot_weights, micro_batch=2).weights.round(6)
    array([0.828582, 0.828582])
    """
    xp = _xp.namespace(losses=losses, slot_weights=slot_weights)
    w = _xp.floating(xp, "slot_weights", slot_weights, min_ndim=2)
    loss, _ = _xp.aligned(xp, {"losses": losses, "slot_weights": w[..., 0]})
    parts = _split(xp, loss, micro_batch)
    every = xp.concat([_split(xp, w[..., k], micro_batch) for k in range(int(w.shape[-1]))], axis=-1)
    every = xp.astype(every, loss.dtype)
    mean = _mean(xp, parts)[..., None]
    found = dora(mean + xp.zeros_like(every), every, _each(xp, penalty, loss))
    slope = xp.sum(found.weights, axis=-1, keepdims=True) / micro_batch
    return _joined(xp, found.value, slope + xp.zeros_like(parts), found.status, losses)


def scaled_dora(
    losses: Array, ratio: Array, /, *, spreads: float | Array = 2.0, prior: Array | None = None
) -> Objective:
    """DoRA with a ratio of mean 1 and a penalty that follows the losses: λ log Σ p e^{h l/λ}, λ = spreads · std_p(h l).

    A λ in nats tilts hard where losses are large and not at all where they are small. In units of the spread the tilt
    keeps its strength as training goes on: of the effective samples it leaves e^{-1/spreads²}, were h·l Gaussian.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l.
    ratio : array, shape broadcastable to the losses'
        h ≥ 0 of each example, best from `mixture_ratio`, at pair or list level (`ratio_at_level`). It is divided by its
        mean, so a wrong constant factor does no harm.
    spreads : float or array of shape (...,)
        λ in standard deviations of h·l under the prior, ≥ 0. Infinity is reweighting.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default, zero masks.

    Returns
    -------
    Objective
        With weights that hold λ constant; they need not sum to 1. A ratio that is 0 wherever the prior is positive is
        an empty prior.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> losses, ratio = np.array([1.0, 2.0, 0.5]), np.array([0.5, 1.5, 1.0])
    >>> one, ten = cp.scaled_dora(losses, ratio), cp.scaled_dora(10 * losses, 7 * ratio)
    >>> bool(np.allclose(ten.value, 10 * one.value)), one.weights.round(3)
    (True, array([0.102, 0.886, 0.205]))
    """
    xp = _xp.namespace(losses=losses, ratio=ratio, prior=prior)
    given = {"losses": losses, "ratio": ratio, **({} if prior is None else {"prior": prior})}
    loss, h, *rest = _xp.aligned(xp, given)
    h = xp.where((h >= 0) & (h < xp.inf), h, xp.nan)
    mass = rest[0] if rest else xp.ones_like(loss)
    known = (mass > 0) & (mass < xp.inf) & xp.isfinite(loss)
    p, _ = _xp.in_range(xp, xp.where(known, mass, 0.0))
    total = xp.sum(p, axis=-1, keepdims=True)
    p = p / xp.where(total > 0, total, 1.0)
    h, _ = _xp.in_range(xp, h)
    mean = xp.sum(p * xp.where(known, h, 0.0), axis=-1, keepdims=True)
    h = h / xp.where(mean > 0, mean, 1.0)
    scaled = h * xp.where(known, loss, 0.0)
    centre = xp.sum(p * scaled, axis=-1, keepdims=True)
    off = xp.where(known, scaled - centre, 0.0)
    size = xp.max(xp.abs(off), axis=-1, keepdims=True)  # squares would leave the dtype's range before the losses do
    off = off / xp.where(size > 0, size, 1.0)
    spread = size[..., 0] * xp.sqrt(xp.sum(p * off**2, axis=-1))
    wanted = _xp.amount(xp, "spreads", spreads, loss)[..., 0]
    # without a spread every λ gives the same weights, and 0·inf none
    penalty = xp.where(spread > 0, wanted * spread, xp.where(wanted >= 0, 1.0, wanted))
    found = dora(loss, h, penalty, prior=prior)
    empty = (mean[..., 0] == 0) & (found.status < int(Status.NOT_CONVERGED))
    status = xp.where(empty, xp.zeros_like(found.status) + int(Status.EMPTY_PRIOR), found.status)
    value, weights = xp.where(empty, xp.nan, found.value), xp.where(empty[..., None], 0.0, found.weights)
    return Objective(xp.astype(value, losses.dtype), xp.astype(weights, losses.dtype), status)


def _slot_mean(xp: Any, slot_weights: Array) -> Array:
    """Mean over the slots, of shape (..., n)."""
    wide = _xp.floating(xp, "slot_weights", slot_weights, min_ndim=2)
    return xp.astype(_mean(xp, wide), slot_weights.dtype)


def _mean(xp: Any, values: Array) -> Array:
    """Mean over the last axis, of which the sum may leave the dtype's range where the mean does not."""
    share, unit = _xp.in_range(xp, values)
    return xp.mean(share, axis=-1) * unit[..., 0]


def _micro_batches(losses: Array, slot_weights: Array, micro_batch: int) -> tuple[Any, Array, Array, Array]:
    """Return the namespace, the losses, and these and the lists' weights in micro-batches."""
    xp = _xp.namespace(losses=losses, slot_weights=slot_weights)
    loss, w = _xp.aligned(xp, {"losses": losses, "slot_weights": _slot_mean(xp, slot_weights)})
    return xp, loss, _split(xp, loss, micro_batch), _split(xp, w, micro_batch)


def _split(xp: Any, array: Array, micro_batch: int) -> Array:
    """Return micro-batches along a new axis before the last."""
    n = int(array.shape[-1])
    if isinstance(micro_batch, bool) or not isinstance(micro_batch, Integral) or micro_batch < 1 or n % micro_batch:
        raise ValueError(f"micro_batch is {micro_batch!r}; a divisor of the {n} losses is needed")
    return xp.reshape(array, (*array.shape[:-1], n // micro_batch, micro_batch))


def _each(xp: Any, penalty: float | Array, like: Array) -> float | Array:
    """Return the penalty for rows of micro-batches."""
    return penalty if isinstance(penalty, Real) else _xp.amount(xp, "penalty", penalty, like)


def _joined(xp: Any, value: Array, weights: Array, status: Array, losses: Array) -> Objective:
    """Average over the micro-batches, of which the worst status counts."""
    batches = int(weights.shape[-2])
    flat = xp.reshape(weights, (*weights.shape[:-2], batches * int(weights.shape[-1]))) / batches
    worst = xp.max(status, axis=-1)
    return Objective(xp.astype(_mean(xp, value), losses.dtype), xp.astype(flat, losses.dtype), worst)
