"""Kernel mean matching as a scikit-learn estimator: weights of the fitted rows, and of no others."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

import counterpoise as cp

from ._kernel_base import Amounts, TwoSamples, floats, seed_of

__all__ = ["KMM"]


class KMM(TwoSamples):
    r"""Weights that match kernel means: min ‖E_q[w φ] − E_p[φ]‖² over 0 ≤ w ≤ B, |E_q[w] − 1| ≤ ε.

    p is the sample of the target rows, q that of all other rows, and φ the features of a Gaussian kernel of width σ.
    There is no ratio at new rows: no ``predict``, no ``score``, and no cross-fitting. It needs memory for the square of
    the training rows and is offered to compare with; prefer `RuLSIF`, `ULSIF` or `KLIEP`.

    Parameters
    ----------
    bandwidth : float or sequence of float, optional
        σ > 0 in units of the standardised columns, one or a grid; default the median distance. A grid is searched by
        the discrepancy to held-out target rows.
    bound : float, default 1000
        B, at least 1.
    slack : float, optional
        ε ≥ 0; default the smaller of B/√n and 0.1, n the number of training rows.
    tolerance : float, optional
        Largest gap of the squared discrepancy, above 0; default 0.1/n.
    target : label, optional
        Which label of ``y`` is the target; default the last of the sorted labels, as 1 is for 0 and 1.
    random_state : int, RandomState or None, default 0
        Seed of the rows that the median distance is taken of.

    Attributes
    ----------
    ratio_ : array, shape (n,)
        Weights of the training rows in their places, in [0, B]; NaN at the target rows, which get none: take
        ``ratio_[y != target_]``.
    discrepancy_, gap_, bandwidth_ : float
        Squared maximum mean discrepancy that is left, how much lower it could be at most, and the σ in use.
    classes_, target_
        All labels, and the target's.

    Raises
    ------
    ValueError
        From ``fit``: fewer than two labels, NaN or infinite features, amounts out of range.
    RuntimeError
        From ``fit``: the gap stayed above the tolerance.

    References
    ----------
    Huang et al., NIPS 19 (2006), equation 12.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(1, 1, (100, 1)), rng.normal(0, 1, (200, 1))])
    >>> model = KMM().fit(X, [1] * 100 + [0] * 200)
    >>> bool(abs(np.average(X[100:, 0], weights=model.ratio_[100:]) - X[:100, 0].mean()) < 0.1)
    True
    """

    def __init__(
        self,
        *,
        bandwidth: Amounts = None,
        bound: float = 1000.0,
        slack: float | None = None,
        tolerance: float | None = None,
        target: Any = None,
        random_state: Any = 0,
    ) -> None:
        self.bandwidth = bandwidth
        self.bound = bound
        self.slack = slack
        self.tolerance = tolerance
        self.target = target
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Weigh the training rows.

        Parameters
        ----------
        X : array or data frame, shape (n, d)
            Finite, real features, of any scale: columns are standardised.
        y : array-like, shape (n,)
            Labels: the target's, and any others, which together are the training sample.

        Returns
        -------
        KMM
            Itself.
        """
        X, inside = self._read_rows(X, y)
        found = cp.kernel_mean_matching(
            target=X[inside], train=X[~inside], bandwidth=floats(self.bandwidth), bound=self.bound, slack=self.slack,
            tolerance=self.tolerance, seed=seed_of(self.random_state),
        )  # fmt: skip
        self.ratio_: NDArray[np.float64] = np.full(len(X), np.nan)
        self.ratio_[~inside] = found.weights
        self.discrepancy_, self.gap_, self.bandwidth_ = (float(v) for v in found[1:4])
        return self
