"""Without source labels: what the ratio of target to mixture says about a row, once the target's share is known."""

from __future__ import annotations

from .. import _xp
from .._types import Array

__all__ = ["remainder_ratio", "target_posterior"]


def target_posterior(ratio: Array, /, *, share: float) -> Array:
    """Return the chance that a row of a mixture came from the target, α·r, cut off at 1 (positive-unlabelled learning).

    Parameters
    ----------
    ratio : array of real floating dtype, shape (..., n)
        r = dTarget/dMixture ≥ 0 at rows of the mixture, by models that did not see them.
    share : float
        α in [0, 1], the target's share of the mixture. It cannot be told from unlabelled rows alone: any smaller
        share explains them as well. With an upper bound (`estimate_target_share`) this is an upper bound too.

    Returns
    -------
    array, shape (..., n)
        In [0, 1]; NaN for a negative or NaN ratio. A mean over the mixture that is not α says that ratio and share
        do not fit.

    Raises
    ------
    TypeError, ValueError
        Ratios that are no floats, a share out of its range.

    References
    ----------
    Elkan and Noto, KDD 2008; Bekker and Davis, Machine Learning 109 (2020).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.target_posterior(np.array([0.0, 1.0, 4.0]), share=0.25)
    array([0.  , 0.25, 1.  ])
    """
    (alpha,) = _xp.shares("share", [share])
    xp = _xp.namespace(ratio=ratio)
    values = _xp.floating(xp, "ratio", ratio)
    chance = xp.where(values >= 0, alpha * values, xp.nan)
    return xp.astype(xp.where(chance > 1, xp.ones_like(chance), chance), ratio.dtype)


def remainder_ratio(ratio: Array, /, *, share: float) -> Array:
    """Return dTarget/dRemainder = (1 − α) r/(1 − α r): against what is left of the mixture without its target part.

    Parameters
    ----------
    ratio : array of real floating dtype, shape (..., n)
        r = dTarget/dMixture ≥ 0.
    share : float
        α in [0, 1), the target's share of the mixture; see `target_posterior`.

    Returns
    -------
    array, shape (..., n)
        Infinite where α r ≥ 1, where the remainder has no mass; NaN for a negative or NaN ratio.

    Raises
    ------
    TypeError, ValueError
        Ratios that are no floats, a share out of its range.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.remainder_ratio(np.array([0.0, 1.0, 2.0, 4.0]), share=0.25)
    array([ 0.,  1.,  3., inf])
    """
    (alpha,) = _xp.shares("share", [share])
    if alpha == 1.0:
        raise ValueError("share is 1.0: the mixture is the target, and nothing remains")
    xp = _xp.namespace(ratio=ratio)
    values = _xp.floating(xp, "ratio", ratio)
    left = 1 - alpha * values
    some = left > 0
    found = xp.where(some, (1 - alpha) * values / xp.where(some, left, xp.ones_like(left)), xp.inf)
    return xp.astype(xp.where(values >= 0, found, xp.nan), ratio.dtype)
