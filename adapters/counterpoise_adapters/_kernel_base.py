"""What estimators of a kernel density ratio share: labelled rows in, cross-fitted ratios and a held-out score out."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

import counterpoise as cp
from counterpoise.ratios.model import FULL, LEAST
from counterpoise.ratios.probability import log_mixture_ratio

from ._log_odds import refuse_non_finite
from ._shares import labels_of, settle_shares

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # scikit-learn 1.5: a method

    def validate_data(estimator: Any, X: Any, **options: Any) -> Any:
        """Check features and count their columns."""
        return estimator._validate_data(X, **options)


__all__ = ["Amounts", "KernelRatio", "TwoSamples", "floats", "seed_of"]

Floats = NDArray[np.float64]
Amounts = float | Sequence[float] | None


class TwoSamples(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Read rows of which one label's are the target sample and all others the training sample."""

    target: Any
    n_features_in_: int

    def _read_rows(self, X: Any, y: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
        """Check the input; return the features and which rows are the target's."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: pass a label per row"
            )
        refuse_non_finite(X)
        X = validate_data(self, X, dtype=np.float64)
        labels = labels_of(X, y)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class only, {self.classes_.tolist()[0]!r}; pass target samples and others")
        self.target_ = self.classes_[-1] if self.target is None else self.target
        if self.target_ not in self.classes_:
            raise ValueError(
                f"target {self.target!r} is not in y, which holds {self.classes_.tolist()}; name one of these"
            )
        return X, np.asarray(labels == self.target_)


class KernelRatio(TwoSamples):
    """Fit the ratio of the target sample to the training sample, or to each source's; a subclass says how."""

    _alpha = 0.0
    others: Any
    target_share: Any
    other_shares: Any

    def _fitter(self, least: int, seed: int) -> Callable[..., cp.Ratio]:
        """Return ``fit(target=, train=)`` for samples of at least ``least`` rows."""
        raise NotImplementedError

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Fit the ratio to all rows, and fold by fold for the ratios of the rows themselves.

        Parameters
        ----------
        X : array or data frame, shape (n, d)
            Finite, real features, of any scale: columns are standardised.
        y : array-like, shape (n,)
            Labels: the target's, and any others, which together are the training sample.

        Returns
        -------
        estimator
            Itself.
        """
        X, inside = self._read_rows(X, y)
        groups = self._groups(np.asarray(y), inside)
        logs = np.empty((len(X), len(groups)))
        self.models_ = []
        for column, (name, rows) in enumerate(groups):
            self._check_sizes(int(inside.sum()), int(rows.sum()), name)
            found, model = self._fit_pair(X[inside], X[rows])
            self.models_.append(model)
            # rows of the other sources are no part of this fit: its model is out-of-fold for them as it is
            logs[:, column] = cp.log_ratio(model, X) if len(groups) > 1 else 0.0
            logs[inside, column], logs[rows, column] = found.target_log_ratio, found.train_log_ratio
        self.model_ = self.models_[0]
        self.log_ratio_: Floats = logs[:, 0] if self.other_shares_ is None else self._plain(logs)
        self.ratio_: Floats = np.exp(self._joined(logs))
        return self

    def _fit_pair(self, target: Floats, train: Floats) -> tuple[cp.CrossFit, cp.Ratio]:
        """Fit the ratio of two samples, out of fold and to all rows."""
        least = min(len(target), len(train))
        folds, seed = int(self.cv), seed_of(self.random_state)
        kept = least - math.ceil(least / folds)
        found = cp.cross_fit(self._fitter(kept, seed), target=target, train=train, folds=folds, seed=seed)
        return found, self._fitter(least, seed)(target=target, train=train)

    def _groups(self, labels: NDArray[Any], inside: NDArray[np.bool_]) -> list[tuple[str, NDArray[np.bool_]]]:
        """Settle sources and shares; return the rows of every training sample."""
        if self.others not in ("mixture", "sources"):
            raise ValueError(f"others is {self.others!r}; 'mixture' or 'sources' is needed")
        self.sources_ = self.classes_[self.classes_ != self.target_]
        self.target_share_: float | None = None
        self.other_shares_: list[float] | None = None
        if self.others == "mixture":
            if self.target_share is not None or self.other_shares is not None:
                raise ValueError("others='mixture' needs no shares: the other rows are the mixture already")
            return [("samples of other labels", ~inside)]
        groups = [labels == source for source in self.sources_]
        self.target_share_, self.other_shares_ = settle_shares(
            self.target_share, self.other_shares, sources=self.sources_.tolist(), n_target=int(inside.sum()),
            n_other=[int(rows.sum()) for rows in groups],
        )  # fmt: skip
        return [(f"samples of source {name}", rows) for name, rows in zip(self.sources_, groups, strict=True)]

    def _plain(self, logs: Floats) -> Floats:
        """Turn log relative ratios into those of p/q: (1 − α)r/(1 − αr), which r = 1/α would make infinite."""
        if self._alpha == 0.0:
            return logs
        logs = np.minimum(logs, math.log(FULL / self._alpha))
        return np.asarray(logs + np.log1p(-self._alpha) - np.log1p(-self._alpha * np.exp(logs)))

    def _joined(self, logs: Floats) -> Floats:
        """Log of the ratio to the training data, from columns of log ratios to each source."""
        if self.target_share_ is None or self.other_shares_ is None:
            return logs[:, 0]
        return np.asarray(
            log_mixture_ratio(self._plain(logs), target_share=self.target_share_, other_shares=self.other_shares_)
        )

    def predict(self, X: Any) -> Floats:
        """Return the ratio at new rows, by the model that was fitted to all rows; fitted rows: see ``ratio_``.

        Parameters
        ----------
        X : array or data frame, shape (n, d)
            New rows.

        Returns
        -------
        array, shape (n,)
            At least 0.
        """
        return np.exp(self._log_ratio(X))

    def score(self, X: Any, y: ArrayLike) -> float:
        """Return how well the ratio tells target rows from others: the Donsker-Varadhan bound, higher is better.

        Mean log r over target rows − log mean r over the others; relative ratios, and ratios to sources, over the
        mixture that they are relative to, so that scores at different α or shares do not compare. It is at most the
        Kullback-Leibler divergence, in nats, which the true ratio attains; r = 1 scores 0. Log ratios below −7 count
        as −7.

        Parameters
        ----------
        X : array or data frame, shape (n, d)
            Rows that were not fitted.
        y : array-like, shape (n,)
            Their labels: some the target's, some not.

        Returns
        -------
        float
            In nats.
        """
        logs = np.maximum(self._log_ratio(X), LEAST)
        labels = labels_of(X, y)
        inside = labels == self.target_
        if inside.all() or not inside.any():
            raise ValueError(
                f"the rows to score hold {int(inside.sum())} of target {self.target_} and {int((~inside).sum())} "
                "others; some of both are needed: pass cv=StratifiedKFold(shuffle=True) to GridSearchCV"
            )
        top = float(logs.max())
        r = np.exp(logs - top)
        if self.target_share_ is None or self.other_shares_ is None:
            mixed = self._alpha * float(r[inside].mean()) + (1.0 - self._alpha) * float(r[~inside].mean())
        else:
            absent = [name for name in self.sources_.tolist() if name not in labels]
            if absent:
                raise ValueError(f"the rows to score hold none of source {absent[0]}; some of every source are needed")
            of_sources = [float(r[labels == name].mean()) for name in self.sources_]
            mixed = self.target_share_ * float(r[inside].mean()) + float(np.dot(self.other_shares_, of_sources))
        return float(np.mean(logs[inside])) - top - math.log(mixed)

    def _log_ratio(self, X: Any) -> Floats:
        check_is_fitted(self, "model_")
        refuse_non_finite(X)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._joined(np.stack([np.asarray(cp.log_ratio(model, X)) for model in self.models_], axis=1))

    def _check_sizes(self, n_target: int, n_others: int, others: str) -> None:
        for name, value, least in (("cv", self.cv, 2), ("n_centres", self.n_centres, 1)):
            if not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name} is {value!r}; a whole number of at least {least} is needed")
        least = 4 if self.cv == 2 else self.cv  # outside of every fold two rows of each sample must be left
        for what, size in ((f"samples of target {self.target_}", n_target), (others, n_others)):
            if size < least:
                advice = "add samples" if size < 3 else f"use cv={size}, or add samples"
                raise ValueError(f"y holds {size} {what}; {self.cv} folds need at least {least}: {advice}")


def seed_of(random_state: Any) -> int:
    """Return the seed of the core's draws."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def floats(amounts: Any) -> Any:
    """Return numbers of any library, one or a sequence, as Python's floats, which the core takes."""
    return None if amounts is None else np.asarray(amounts, dtype=np.float64).tolist()
