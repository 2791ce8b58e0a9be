"""Kernel density ratios as scikit-learn estimators: `ULSIF`, `RuLSIF` and `KLIEP`."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import counterpoise as cp

from ._kernel_base import Amounts, KernelRatio, floats
from ._shares import Shares

__all__ = ["KLIEP", "ULSIF", "RuLSIF"]

Estimator = TypeVar("Estimator", bound=KernelRatio)

SAMPLING = """
n_centres : int, default 100
    Number of bumps, at least 1.
tilts : bool, default True
    Whether parametric ratios stand beside the bumps, as in `counterpoise.fit_ulsif` and `counterpoise.fit_kliep`.
cv : int, default 5
    Number of folds of ``ratio_``: at least 2, at most the size of the smaller sample.
target : label, optional
    Which label of ``y`` is the target; default the last of the sorted labels, as 1 is for 0 and 1.
others : {"mixture", "sources"}, default "mixture"
    ``"mixture"``: all other rows together are a sample of the training data q. ``"sources"``: every other label is
    a source with a ratio of its own, and the training data are their mixture with the target at the shares: r =
    1/(α + Σ β_i/r_i) ≤ 1/α, α the target's share.
target_share : float, optional
    The target's share of the training data, for ``"sources"``; default its share of the rows.
other_shares : mapping of label to float, or sequence of float in the order of ``sources_``, optional
    β_i, for ``"sources"``; default in proportion to the rows. All shares sum to 1.
random_state : int, RandomState or None, default 0
    Seed of folds and centres.
"""
FITTED = """
    For ``"sources"``: r to the mixture, and log p/q_i, of shape (n, sources).
model_, models_ : counterpoise.Ratio, list of counterpoise.Ratio
    Fitted to all rows; one per source.
target_share_, other_shares_
    The shares used (None, None for ``"mixture"``).
classes_, target_, sources_
    All labels, the target's, and the others.
"""
"""What the docstrings of all three say of their arguments and attributes."""


def _described(estimator: type[Estimator]) -> type[Estimator]:
    """Fill in what the docstrings of all three have in common."""
    text = inspect.cleandoc(estimator.__doc__ or "")
    estimator.__doc__ = text.replace("{sampling}", SAMPLING.strip()).replace("{fitted}", FITTED.strip("\n"))
    return estimator


@_described
class ULSIF(KernelRatio):
    r"""Density ratio p/q by least squares: min ½ E_q[r²] − E_p[r] + ½ λ ‖θ‖², r = max(φᵀθ, 0).

    p is the distribution of the target rows and q that of all other rows; φ are a constant and Gaussian bumps of width
    σ at target rows, and ratios of Gaussians. The constant goes unpenalised: samples of one distribution get r = 1
    however strong the penalty.

    Parameters
    ----------
    bandwidth : float or sequence of float, optional
        σ > 0 in units of the standardised columns, one or a grid; default the median distance times 0.1 to 4.
    penalty : float or sequence of float, optional
        λ ≥ 0, one or a grid; default 10⁻⁴ to 10^1.5. Grids are searched by exact leave-one-out, anew in every fold.
    {sampling}

    Attributes
    ----------
    ratio_, log_ratio_ : array, shape (n,)
        Out-of-fold r and log r (-inf where r = 0) of the fitted rows, in their order; r has a mean near 1 over rows
        that are not the target's.
    {fitted}

    Raises
    ------
    ValueError
        From ``fit``: fewer than two labels, too few rows for the folds, NaN or infinite features, amounts out of range.

    References
    ----------
    Kanamori, Hido and Sugiyama, JMLR 10 (2009), equation 13.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(1, 1, (300, 1)), rng.normal(0, 1, (900, 1))])
    >>> model = ULSIF(target="web").fit(X, ["web"] * 300 + ["lab"] * 900)
    >>> model.predict([[-1.0], [0.5], [1.5]]).round(1), round(float(model.ratio_[300:].mean()), 1)
    (array([0.3, 1.2, 2.8]), 1.0)
    """

    def __init__(
        self,
        *,
        bandwidth: Amounts = None,
        penalty: Amounts = None,
        n_centres: int = 100,
        tilts: bool = True,
        cv: int = 5,
        target: Any = None,
        others: Literal["mixture", "sources"] = "mixture",
        target_share: float | None = None,
        other_shares: Shares | None = None,
        random_state: Any = 0,
    ) -> None:
        self.bandwidth = bandwidth
        self.penalty = penalty
        self.n_centres = n_centres
        self.tilts = tilts
        self.cv = cv
        self.target = target
        self.others = others
        self.target_share = target_share
        self.other_shares = other_shares
        self.random_state = random_state

    def _fitter(self, least: int, seed: int) -> Callable[..., cp.Ratio]:
        return partial(
            cp.fit_ulsif, alpha=self._alpha, bandwidth=floats(self.bandwidth), penalty=floats(self.penalty),
            n_centres=int(self.n_centres), tilts=bool(self.tilts), seed=seed,
        )  # fmt: skip


@_described
class RuLSIF(ULSIF):
    r"""Relative density ratio r = p/m, m = αp + (1 − α)q, by least squares: min ½ E_m[r²] − E_p[r] + ½ λ ‖θ‖².

    p is the distribution of the target rows and q that of all other rows. The relative ratio cannot exceed 1/α, so
    that it can be estimated, and its weights have bounded variance, where p/q runs away. Otherwise as `ULSIF`.

    Parameters
    ----------
    alpha : float, default 0.1
        α in [0, 1); 0 is `ULSIF`.
    bandwidth : float or sequence of float, optional
        σ > 0 in units of the standardised columns, one or a grid; default the median distance times 0.1 to 4.
    penalty : float or sequence of float, optional
        λ ≥ 0, one or a grid; default 10⁻⁴ to 10^1.5. Grids are searched by exact leave-one-out, anew in every fold.
    {sampling}

    Attributes
    ----------
    ratio_, log_ratio_ : array, shape (n,)
        Out-of-fold r and log r (-inf where r = 0) of the fitted rows, in their order; r has a mean near 1 under m.
    {fitted}

    Raises
    ------
    ValueError
        As `ULSIF`.

    References
    ----------
    Yamada et al., Neural Computation 25 (2013), equation 6.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(1, 1, (300, 1)), rng.normal(0, 1, (900, 1))])
    >>> RuLSIF(alpha=0.5).fit(X, [1] * 300 + [0] * 900).predict([[-1.0], [0.5], [3.0]]).round(1)
    array([0.4, 1. , 1.9])
    """

    def __init__(
        self,
        *,
        alpha: float = 0.1,
        bandwidth: Amounts = None,
        penalty: Amounts = None,
        n_centres: int = 100,
        tilts: bool = True,
        cv: int = 5,
        target: Any = None,
        others: Literal["mixture", "sources"] = "mixture",
        target_share: float | None = None,
        other_shares: Shares | None = None,
        random_state: Any = 0,
    ) -> None:
        super().__init__(
            bandwidth=bandwidth, penalty=penalty, n_centres=n_centres, tilts=tilts, cv=cv, target=target, others=others,
            target_share=target_share, other_shares=other_shares, random_state=random_state,
        )  # fmt: skip
        self.alpha = alpha

    @property
    def _alpha(self) -> float:  # type: ignore[override]
        return float(self.alpha)


@_described
class KLIEP(KernelRatio):
    r"""Density ratio p/q by likelihood: max E_p[log r] subject to E_q[r] = 1, r = φᵀθ, θ ≥ 0.

    p is the distribution of the target rows and q that of all other rows; φ are a constant and Gaussian bumps of width
    σ at target rows, and ratios of Gaussians. Solved to a duality gap below 1e-9 nats.

    Parameters
    ----------
    bandwidth : float or sequence of float, optional
        σ > 0 in units of the standardised columns, one or a grid; default the median distance times 0.1 to 4. A grid is
        searched by ``cv``-fold cross-validation of the Donsker-Varadhan bound, anew in every fold.
    {sampling}

    Attributes
    ----------
    ratio_, log_ratio_ : array, shape (n,)
        Out-of-fold r and log r (-inf where r = 0) of the fitted rows, in their order; r has a mean near 1 over rows
        that are not the target's.
    {fitted}

    Raises
    ------
    ValueError
        From ``fit``: fewer than two labels, too few rows for the folds, NaN or infinite features, amounts out of range.

    References
    ----------
    Sugiyama et al., AISM 60 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(1, 1, (300, 1)), rng.normal(0, 1, (900, 1))])
    >>> model = KLIEP().fit(X, [1] * 300 + [0] * 900)
    >>> model.predict([[-1.0], [0.5], [1.5]]).round(1), bool(model.model_.gap < 1e-9)
    (array([0.2, 1.1, 3. ]), True)
    """

    def __init__(
        self,
        *,
        bandwidth: Amounts = None,
        n_centres: int = 100,
        tilts: bool = True,
        cv: int = 5,
        target: Any = None,
        others: Literal["mixture", "sources"] = "mixture",
        target_share: float | None = None,
        other_shares: Shares | None = None,
        random_state: Any = 0,
    ) -> None:
        self.bandwidth = bandwidth
        self.n_centres = n_centres
        self.tilts = tilts
        self.cv = cv
        self.target = target
        self.others = others
        self.target_share = target_share
        self.other_shares = other_shares
        self.random_state = random_state

    def _fitter(self, least: int, seed: int) -> Callable[..., cp.Ratio]:
        return partial(
            cp.fit_kliep, bandwidth=floats(self.bandwidth), n_centres=int(self.n_centres), tilts=bool(self.tilts),
            folds=min(int(self.cv), least), seed=seed,
        )  # fmt: skip
