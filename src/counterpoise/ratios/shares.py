"""Shares that nobody wrote down: how much of a mixture is the target, and how class shares have moved."""

from __future__ import annotations

import math
from typing import NamedTuple

from .. import _xp
from .._types import Array
from .samples import refuse_probabilities

__all__ = ["Share", "estimate_target_share", "label_shift", "target_share_bound"]


class Share(NamedTuple):
    """An estimated share; see `estimate_target_share`.

    Attributes
    ----------
    value : array, shape ()
        The estimate, in [0, 1].
    upper : array, shape ()
        An upper bound that holds with the confidence asked for.
    threshold : array, shape ()
        The score from which target rows were counted.
    """

    value: Array
    upper: Array
    threshold: Array


def target_share_bound(ratio: Array, /) -> Array:
    """Bound the target's share of the training mixture by the ratio: α ≤ 1/max dQ0/dP.

    The bound is the share itself where some region holds target rows only. An estimated maximum is noisy: an
    overestimated ratio makes the bound too small. Prefer `estimate_target_share`.

    Parameters
    ----------
    ratio : array, shape (..., n)
        dQ0/dP at training samples, by a model that did not see them.

    Returns
    -------
    array, shape (...,)
        In [0, 1]; NaN for a NaN or negative ratio.

    References
    ----------
    Blanchard, Lee and Scott, JMLR 11 (2010), section 4.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> float(cp.target_share_bound(np.array([0.0, 0.5, 2.5])))
    0.4
    """
    xp = _xp.namespace(ratio=ratio)
    values = _xp.floating(xp, "ratio", ratio)
    most = xp.max(values, axis=-1)
    bad = xp.any(~(values >= 0), axis=-1)
    one = xp.ones_like(most)
    share = xp.where(most > 1, 1 / xp.where(most > 1, most, one), one)
    return xp.astype(xp.where(bad, xp.nan, share), ratio.dtype)


def estimate_target_share(target_scores: Array, mixture_scores: Array, /, *, confidence: float = 0.9) -> Share:
    """Estimate the target's share α of a mixture from scores: min over c of P(mixture ≥ c)/P(target ≥ c), with care.

    Every such quotient is above α; it reaches α where only target rows score above c. Few rows make a quotient
    uncertain, and the threshold is taken where quotient plus its uncertainty is least (best bin estimation). Never
    below the truth but for chance; far above it where no threshold leaves the target alone.

    Parameters
    ----------
    target_scores : array, shape (m,)
        Scores (log-odds, say) of target samples by models that did not see them; higher means more target-like.
    mixture_scores : array, shape (n,)
        The same of the mixture's samples.
    confidence : float
        In (0, 1), of the upper bound.

    Returns
    -------
    Share
        The estimate, its upper bound, and the threshold.

    Raises
    ------
    TypeError, ValueError
        Scores that are no vectors of floats; a confidence out of its range. NaN scores give NaN.

    References
    ----------
    Garg et al., "Mixture proportion estimation and PU learning", NeurIPS 2021, algorithm 1.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> mixture = np.concatenate([rng.normal(3, 1, 600), rng.normal(-3, 1, 1400)])
    >>> share = cp.estimate_target_share(rng.normal(3, 1, 2000), mixture)
    >>> round(float(share.value), 2), bool(share.upper > 0.3)
    (0.3, True)
    """
    confidence = _xp.number("confidence", confidence, lambda v: 0.0 < v < 1.0, "a number between 0 and 1")
    xp = _xp.namespace(target_scores=target_scores, mixture_scores=mixture_scores)
    target = _xp.floating(xp, "target_scores", target_scores)
    mixture = _xp.floating(xp, "mixture_scores", mixture_scores)
    for name, scores in (("target_scores", target), ("mixture_scores", mixture)):
        if scores.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(scores.shape)}; one axis is needed")
    m, n = int(target.shape[0]), int(mixture.shape[0])
    noise = math.sqrt(math.log(4 / (1 - confidence)) / 2) * (m**-0.5 + n**-0.5)
    at = xp.sort(target)
    above = xp.astype(m - xp.searchsorted(at, at, side="left"), target.dtype) / m
    mixed = xp.astype(n - xp.searchsorted(xp.sort(mixture), at, side="left"), target.dtype) / n
    quotient, doubt = mixed / above, noise / above
    k = xp.argmin(quotient + 1.01 * doubt)
    one = xp.ones_like(quotient[0])
    undefined = xp.any(xp.isnan(target)) | xp.any(xp.isnan(mixture))
    value, upper = xp.minimum(quotient[k], one), xp.minimum(quotient[k] + doubt[k], one)
    return Share(*(xp.astype(xp.where(undefined, xp.nan, v), target_scores.dtype) for v in (value, upper, at[k])))


def label_shift(log_probability: Array, /, *, train_shares: Array, steps: int = 1000) -> Array:
    """Estimate class shares of unlabelled rows: max over the simplex of mean log Σ_k (π_k/ρ_k) p(k | x), by EM.

    Right if the classes look as they did in training (p(x | k) is unchanged) and the probabilities are calibrated;
    otherwise biased, the more the less calibrated: calibrate on held-out rows first.

    Parameters
    ----------
    log_probability : array, shape (n, k)
        log p(k | x) under the training shares, at the unlabelled rows; a constant added to a row does not matter.
    train_shares : array, shape (k,)
        ρ, the classes' shares in training; positive.
    steps : int
        Most iterations; each raises the likelihood, and they end when shares move by no more than rounding.

    Returns
    -------
    array, shape (k,)
        π, summing to 1.

    Raises
    ------
    TypeError, ValueError
        Arrays that are no floats or do not fit; shares that are not positive; rows with NaN or of -inf alone;
        probabilities themselves.

    References
    ----------
    Saerens, Latinne and Decaestecker, Neural Computation 14 (2002); calibration: Alexandari, Kundaje and Shrikumar,
    ICML 2020.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> log_probability = np.log(np.repeat([[0.9, 0.1], [0.1, 0.9]], [80, 20], axis=0))
    >>> cp.label_shift(log_probability, train_shares=np.array([0.5, 0.5])).round(3)
    array([0.875, 0.125])
    """
    xp = _xp.namespace(log_probability=log_probability, train_shares=train_shares)
    values = _xp.floating(xp, "log_probability", log_probability, min_ndim=2)
    before = xp.astype(_xp.floating(xp, "train_shares", train_shares), values.dtype)
    if values.ndim != 2 or tuple(before.shape) != (int(values.shape[1]),):
        raise ValueError(
            f"log_probability has shape {tuple(values.shape)} and train_shares {tuple(before.shape)}; rows by "
            "classes and one share per class are needed"
        )
    if not bool(xp.all((before > 0) & (before < xp.inf))):
        raise ValueError("train_shares holds a share that is not positive and finite; leave out classes without rows")
    if bool(xp.any(xp.isnan(values))):
        raise ValueError("log_probability holds NaN; drop such rows first")
    most = xp.max(values, axis=1, keepdims=True)
    if not bool(xp.all(xp.isfinite(most))):
        raise ValueError("log_probability has a row that no class explains, of -inf alone or with +inf; drop such rows")
    refuse_probabilities(xp, values)
    before = before / xp.sum(before)
    likelihood = values - xp.log(before)[None, :]
    likelihood = xp.exp(likelihood - xp.max(likelihood, axis=1, keepdims=True))
    shares, eps = before, float(xp.finfo(values.dtype).eps)
    for _ in range(_xp.count("steps", steps)):
        joint = likelihood * shares
        new = xp.mean(joint / xp.sum(joint, axis=1, keepdims=True), axis=0)
        moved, shares = xp.max(xp.abs(new - shares)), new
        if bool(moved <= 4 * eps):
            break
    return xp.astype(shares / xp.sum(shares), log_probability.dtype)
