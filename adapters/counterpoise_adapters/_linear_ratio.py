"""Cross-fitted ratios by ridge logistic regression on dense features: `ClassifierRatio` without scikit-learn's weight.

What ``make_pipeline(StandardScaler(), LogisticRegression(C=0.1))`` fits, to the optimum. A corpus is weighed by
processes that do little else; loading scikit-learn would take each of them longer than its share of the fits.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import array_api_compat.numpy as xp
import numpy as np
from numpy.typing import NDArray

from counterpoise.ratios.newton import minimise

from ._calibration import calibration, check_calibrate, held_out, likelihood
from ._folds import assign_folds, gathered
from ._shares import Joint, settle_labels

__all__ = ["Linear", "LinearRatio", "averaged"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
RIDGE = 10.0  # ½ RIDGE ‖θ‖² beside the summed loss, for standardised features: the inverse of scikit-learn's C
_AT_ONCE = 2048  # rows whose curvature is summed at once: what fits the cache
_ENOUGH = 1e-15  # nats above the minimum: log ratios to some 1e-7


class Linear(NamedTuple):
    """log ratio = (x - centre) @ slope + level.

    Parameters
    ----------
    centre, slope : array, shape (d,)
        Of the features.
    level : float
        In nats.
    """

    centre: Floats
    slope: Floats
    level: float


def averaged(forms: Sequence[Sequence[Linear]], X: Floats) -> Floats:
    """Return the log ratios to each source, averaged over models by one product of matrices, shape (n, sources).

    Parameters
    ----------
    forms : sequence of sequences of Linear
        Models by fold, then by source.
    X : array, shape (n, d)
        Features.
    """
    # Around one centre: the models' own differ in their last digits, and features may lie far from 0.
    centre = forms[0][0].centre
    slope = np.mean([[form.slope for form in fold] for fold in forms], axis=0)
    level = [[form.level + form.slope @ (centre - form.centre) for form in fold] for fold in forms]
    return np.asarray((X - centre) @ slope.T + np.mean(level, axis=0))


class LinearRatio:
    """Estimate dQ0/dP as `ClassifierRatio` does, the target being label 0, by linear models; see there.

    Parameters
    ----------
    cv, calibrate, others, target_share, other_shares, random_state
        As in `ClassifierRatio`.
    """

    def __init__(
        self, *, cv: int, calibrate: str | None, others: str, target_share: float | None,
        other_shares: Sequence[float] | None, random_state: int,
    ) -> None:  # fmt: skip
        self._cv, self._calibrate, self._others, self._seed = cv, calibrate, others, random_state
        self._given = target_share, other_shares

    def fit(self, X: Floats, y: Ints, groups: NDArray[Any] | None = None) -> Self:
        """Fit the models fold by fold and weigh every row out of fold.

        Parameters
        ----------
        X, y, groups
            As in `ClassifierRatio.fit`; X an array of finite numbers.
        """
        return self.collect([self.fit_fold(X, y, number, groups) for number in self.assign(X, y, groups)])

    def assign(self, X: Floats, y: Ints, groups: NDArray[Any] | None = None) -> range:
        """Deal the rows to folds, and return the numbers of these; see `ClassifierRatio.assign`.

        Parameters
        ----------
        X, y, groups
            As in `fit`.
        """
        del X
        check_calibrate(self._calibrate)
        classes, counts, _ = settle_labels(y, 0, self._others)
        self._sources = classes[1:].tolist()
        share, shares = self._given
        self._joint = Joint.of(
            share, shares, others=self._others, sources=self._sources, n_target=int(counts[0]),
            n_other=counts[1:].tolist(),
        )  # fmt: skip
        self.fold_ = assign_folds(self._cv, y, groups, target=0, seed=self._seed)
        return range(int(self.fold_.max()) + 1)

    def fit_fold(
        self, X: Floats, y: Ints, number: int, groups: NDArray[Any] | None = None
    ) -> tuple[list[Linear], Floats]:
        """Fit the models that do not see a fold; return them, and the log ratios of the fold's rows.

        Parameters
        ----------
        X, y, groups
            As given to `assign`.
        number : int
            Of the fold.
        """
        inside, forms = self.fold_ == number, []
        for source in self._sources:
            pair = np.flatnonzero(~inside & ((y == 0) | (y == source)))
            forms.append(
                _fit(X[pair], y[pair] == 0, self._calibrate, self._seed, groups[pair] if groups is not None else None)
            )
        return forms, averaged([forms], X[inside])

    def collect(self, fitted: Sequence[tuple[list[Linear], Floats]]) -> Self:
        """Put the folds together.

        Parameters
        ----------
        fitted : sequence
            What `fit_fold` returned for each fold, in order.
        """
        self._members = [members for members, _ in fitted]
        self.log_ratio_ = gathered(self.fold_, [log_ratio for _, log_ratio in fitted])
        self.log_odds_ = self.log_odds(self.log_ratio_)
        return self

    def predict_log_ratio(self, X: Floats, fold: Ints) -> Floats:
        """Return log dQ0/dQi, shape (n, sources); see `ClassifierRatio.predict_log_ratio`.

        Parameters
        ----------
        X : array, shape (n, d)
            Rows.
        fold : array of int, shape (n,)
            The fold whose models weigh a row, or -1 for the average.
        """
        # Most rows go by the average: they are not copied.
        result = averaged(self._members, X)
        for number in np.unique(fold[fold >= 0]):
            where = np.flatnonzero(fold == number)
            result[where] = averaged([self._members[number]], X[where])
        return result

    def ratio(self, log_ratio: Floats) -> Floats:
        """Join log ratios to the sources into dQ0/dP.

        Parameters
        ----------
        log_ratio : array, shape (n, sources)
            In nats.
        """
        return self._joint.ratio(log_ratio)

    def log_odds(self, log_ratio: Floats) -> Floats:
        """Join log ratios to the sources into the log-odds that a row is a target row.

        Parameters
        ----------
        log_ratio : array, shape (n, sources)
            In nats.
        """
        return self._joint.log_odds(log_ratio)


def _fit(X: Floats, is_target: Mask, calibrate: str | None, seed: int, groups: NDArray[Any] | None) -> Linear:
    """Fit one model, and its calibration on rows that it did not see."""
    centre = X.mean(axis=0)
    scale = _scale(X, centre)
    Z = (X - centre) / scale
    labels = is_target.astype(np.float64)
    theta, curvature = _regress(Z, labels, np.ones(len(scale)), None, None)
    stretch, shift = 1.0, 0.0
    prior = np.log(labels.sum()) - np.log(len(labels) - labels.sum())

    def log_ratio(train: Ints, test: Ints) -> Floats:
        rows, of_rows = Z[train], labels[train]
        # Standardising once more would move the constant, which is free, and scale what the ridge holds.
        inner, _ = _regress(rows, of_rows, _scale(rows, rows.mean(axis=0)), theta, curvature)
        return np.asarray(Z[test] @ inner[1:] + inner[0] - np.log(of_rows.sum()) + np.log((1.0 - of_rows).sum()))

    if calibrate is not None:
        held = held_out(log_ratio, is_target, calibrate=calibrate, seed=seed, groups=groups)
        stretch, shift = calibration(held, is_target, shift=calibrate == "platt")
    return Linear(centre, stretch * theta[1:] / scale, float(stretch * (theta[0] - prior) + shift))


def _scale(X: Floats, centre: Floats) -> Floats:
    """Return the standard deviations, 1 for columns whose own is rounding."""
    scale = X.std(axis=0)
    return np.where(scale <= 10 * np.finfo(np.float64).eps * np.abs(centre), 1.0, scale)


def _regress(
    Z: Floats, labels: Floats, scale: Floats, start: Floats | None, curvature: Floats | None
) -> tuple[Floats, Floats]:
    """Minimise mean log loss + ½ RIDGE/n ‖scale θ‖²; return the constant and θ, and the curvature last used."""
    n = len(labels)
    ridge = np.concatenate([[0.0], scale**2]) * (RIDGE / n)

    def derivatives(theta: Floats) -> tuple[Floats, Floats, Callable[[], Floats]]:
        value, chance = likelihood(Z @ theta[1:] + theta[0], labels)
        off = (chance - labels) / n
        gradient = np.concatenate([[off.sum()], Z.T @ off]) + ridge * theta
        value = value + ridge @ theta**2 / 2
        return value, gradient, lambda: _curvature(Z, chance * (1.0 - chance)) / n + np.diag(ridge)

    share = float(labels.mean())
    first = np.concatenate([[np.log(share) - np.log1p(-share)], np.zeros(Z.shape[1])]) if start is None else start
    theta, _, held = minimise(xp, derivatives, first, tolerance=_ENOUGH, hessian=curvature)
    return theta, held


def _curvature(Z: Floats, weight: Floats) -> Floats:
    """Return Σ w (1, z)(1, z)ᵀ."""
    total = np.zeros((1 + Z.shape[1],) * 2)
    for start in range(0, len(Z), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        root = np.sqrt(weight[rows])[:, None]
        part = np.concatenate([root, root * Z[rows]], axis=1)
        total += part.T @ part
    return total
