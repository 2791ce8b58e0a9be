"""From weights to a training loss: robust values and their gradient weights.

Every function returns an `Objective`: its ``weights`` are d value / d losses by Danskin's theorem, constants for
autograd, so ``sum(weights * losses)`` has the objective's gradient.
"""

from __future__ import annotations

from ._divergence import Divergence
from ._types import Array, Objective, Solution
from ._xp import aligned, in_range, namespace
from .divergences import KL
from .groups import group_weights
from .weights import constrained, penalized


def erm(losses: Array, /, *, prior: Array | None = None) -> Objective:
    """Mean loss Σ p l: empirical risk minimisation, the arm that every comparison needs.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l, in any units; NaN sets ``status``.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default, zero masks.

    Returns
    -------
    Objective
        Value of shape (...,), weights of shape (..., n).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.erm(np.array([1.0, 3.0])).value
    array(2.)
    """
    return _objective(penalized(losses, KL(), float("inf"), prior=prior))


def reweighted(losses: Array, ratio: Array, /, *, prior: Array | None = None) -> Objective:
    """Importance-weighted mean Σ p r l / Σ p r (self-normalised).

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l.
    ratio : array, shape broadcastable to the losses'
        r = dTarget/dTrain ≥ 0 of each example; a constant factor does not matter. A negative, NaN or infinite ratio
        sets ``status``, as does a row without a positive one.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default, zero masks.

    Returns
    -------
    Objective
        Value of shape (...,), weights of shape (..., n).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.reweighted(np.array([1.0, 3.0]), np.array([0.5, 1.5]))[:2]
    (array(2.5), array([0.25, 0.75]))
    """
    return erm(losses, prior=_around(losses, ratio, prior))


def kl_dro(losses: Array, penalty: float | Array, /, *, prior: Array | None = None) -> Objective:
    """KL-robust value λ log Σ p e^{l/λ}: vanilla KL-DRO, tilted empirical risk.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l.
    penalty : float or array of shape (...,)
        λ ≥ 0, in units of the losses; infinity is `erm`.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default, zero masks.

    Returns
    -------
    Objective
        Value of shape (...,), weights of shape (..., n).

    Notes
    -----
    Hu and Hong (2013); Li et al., "Tilted empirical risk minimization", ICLR 2021, with tilt 1/λ.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> float(cp.kl_dro(np.array([0.0, 1000.0]), 1.0).value)
    999.306853
    """
    return _objective(penalized(losses, KL(), penalty, prior=prior))


def dora(losses: Array, ratio: Array, penalty: float | Array, /, *, prior: Array | None = None) -> Objective:
    """DoRA's robust value λ log Σ p e^{h l/λ}: KL-DRO around the training mixture of the reweighted loss h·l.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l.
    ratio : array, shape broadcastable to the losses'
        h ≥ 0 of each example, such as `mixture_ratio` returns. NaN, infinity or a negative number sets ``status``: no
        such ratio can scale a loss. A product h·l beyond the dtype counts as infinite.
    penalty : float or array of shape (...,)
        λ ≥ 0, in units of h·l; infinity is Σ p h l.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default, zero masks.

    Returns
    -------
    Objective
        ``weights`` are q·h with q the tilted distribution: they need not sum to 1.

    Notes
    -----
    DoRA, arXiv 2504.05831. With a single example the tilt is the identity, whatever λ.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> objective = cp.dora(np.array([1.0, 1.0]), np.array([0.5, 1.5]), 1.0)
    >>> float(objective.value), objective.weights.round(6)
    (1.120115, array([0.134471, 1.096588]))
    """
    xp = namespace(losses=losses, ratio=ratio, prior=prior)
    wide, h = aligned(xp, {"losses": losses, "ratio": ratio})
    h = xp.where((h >= 0) & (h < xp.inf), h, xp.nan)
    # a masked loss (-inf) stays a mask where h = 0, and 0·inf does not arise at +inf
    scaled = xp.where((wide == -xp.inf), wide, xp.where(h == 0, 0.0 * h, h * wide))
    solution = penalized(scaled, KL(), penalty, prior=prior)
    weights = xp.where(solution.weights == 0, 0.0, solution.weights * h)
    return Objective(xp.astype(solution.value, losses.dtype), xp.astype(weights, losses.dtype), solution.status)


def target_dro(
    losses: Array,
    ratio: Array,
    divergence: Divergence,
    /,
    *,
    penalty: float | Array | None = None,
    radius: float | Array | None = None,
    prior: Array | None = None,
) -> Objective:
    """Worst case around the estimated target: max over q of ⟨q, l⟩ − λ D(q‖p·r), or subject to D(q‖p·r) ≤ ρ.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l.
    ratio : array, shape broadcastable to the losses'
        r = dTarget/dTrain ≥ 0; the centre is p·r, normalised.
    divergence : Divergence
        D.
    penalty, radius : float or array of shape (...,)
        λ ≥ 0 in units of the losses, or ρ ≥ 0 in units of D: exactly one of them.
    prior : array, shape broadcastable to the losses', optional
        p: non-negative masses of any scale; uniform by default, zero masks.

    Returns
    -------
    Objective
        Value of shape (...,), weights of shape (..., n) summing to 1.

    Raises
    ------
    ValueError
        Unless exactly one of ``penalty`` and ``radius`` is given.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.target_dro(np.array([0.0, 1.0]), np.array([1.5, 0.5]), cp.KL(), radius=0.1).weights.round(6)
    array([0.543328, 0.456672])
    """
    around = _around(losses, ratio, prior)
    if (penalty is None) == (radius is None):
        raise ValueError(f"penalty is {penalty!r} and radius is {radius!r}; give exactly one of them")
    if penalty is not None:
        return _objective(penalized(losses, divergence, penalty, prior=around))
    assert radius is not None
    return _objective(constrained(losses, divergence, radius, prior=around))


def group_dro(
    losses: Array,
    groups: Array,
    /,
    *,
    n_groups: int,
    divergence: Divergence | None = None,
    penalty: float | Array | None = None,
    radius: float | Array | None = None,
    size_adjustment: float = 0.0,
    prior: Array | None = None,
) -> Objective:
    """Worst group, or a divergence's worst case over group means: the objective of `group_weights`.

    Parameters
    ----------
    losses, groups, n_groups, divergence, penalty, radius, size_adjustment, prior
        As in `group_weights`.

    Returns
    -------
    Objective
        Value of shape (...,), weights of shape (..., n).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.group_dro(np.array([1.0, 3.0, 1.5]), np.array([0, 0, 1]), n_groups=2)[:2]
    (array(2.), array([0.5, 0.5, 0. ]))
    """
    return _objective(
        group_weights(
            losses, groups, n_groups=n_groups, divergence=divergence, penalty=penalty, radius=radius,
            size_adjustment=size_adjustment, prior=prior,
        )
    )  # fmt: skip


def _around(losses: Array, ratio: Array, prior: Array | None) -> Array:
    """Return the prior p·r, on some scale; an invalid entry of either stays invalid."""
    xp = namespace(losses=losses, ratio=ratio, prior=prior)
    if prior is None:
        return ratio
    r, p = aligned(xp, {"ratio": ratio, "prior": prior})
    # two negative masses must not multiply to a valid one, nor 0 and infinity to a warning
    valid = (r >= 0) & (r < xp.inf) & (p >= 0) & (p < xp.inf)
    (r, _), (p, _) = (in_range(xp, xp.where(valid, v, 0.0)) for v in (r, p))
    return xp.where(valid, r * p, xp.nan)


def _objective(solution: Solution) -> Objective:
    return Objective(solution.value, solution.weights, solution.status)
