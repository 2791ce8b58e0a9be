"""Density ratios from any scikit-learn classifier, cross-fitted: no sample is weighed by a model that saw it.

A classifier that tells target samples from training samples knows their density ratio. `ClassifierRatio`
trains it fold by fold, takes the class sizes out of its log-odds, calibrates it if asked to, and joins the
ratios against several sources into the ratio against their mixture. `ULSIF`, `RuLSIF` and `KLIEP` fit the
ratio itself; `KMM` is there to compare with.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise._extras import extra

from ._folds import assign_folds, gathered
from ._shares import Joint, Shares, labels_of, settle_labels

with extra("sklearn", __name__):
    from sklearn.base import BaseEstimator, clone
    from sklearn.utils import _safe_indexing as rows_of
    from sklearn.utils.validation import check_is_fitted

    from ._kernel_matching import KMM
    from ._kernel_ratios import KLIEP, ULSIF, RuLSIF
    from ._log_odds import ClassSizes, Member, default_classifier, fit_member, mean_log_ratio, refuse_non_finite

__all__ = ["KLIEP", "KMM", "ULSIF", "ClassifierRatio", "RuLSIF"]

Floats = NDArray[np.float64]


class ClassifierRatio(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Estimate dQ0/dP, how much likelier a sample is under the target Q0 than under the training data P.

    Each fold's classifiers are trained on the other folds and weigh the fold they did not see. With
    several sources one classifier per source tells the target from it, and the shares join their ratios: h
    = 1/(α + Σ β_i/r_i).

    Parameters
    ----------
    estimator : scikit-learn classifier or pipeline, optional
        With ``predict_proba``, or with ``decision_function`` and ``calibrate="platt"``. Default: logistic
        regression on standardised columns, so that units do not matter; on sparse ones as they are.
    cv : int or splitter, default 5
        Number of folds (at least 2, at most the size of the smallest class), stratified and shuffled; or
        an object with ``split(X, y, groups)`` whose test sets cover every row once.
    calibrate : {None, "temperature", "platt"}, default None
        Rescale the log-odds (``"temperature"``), or rescale and shift them (``"platt"``), by held-out
        likelihood inside each training part; four fits in place of one.
    target : label, optional
        Which label of ``y`` is the target; default the last of the sorted labels, as 1 is for 0 and 1.
    others : {"sources", "mixture"}, default "sources"
        ``"sources"``: target rows and all other rows together are the training data, each other label a
        source. ``"mixture"``: the rows of the one other label are a sample of the whole training data,
        sources unknown; the ratio is then against these rows, needs no shares, and has no bound.
    target_share : float, optional
        α, the target's share of the training data; default its share of the rows.
    other_shares : mapping of label to float, or sequence of float in the order of ``sources_``, optional
        β_i; default in proportion to the rows. All shares sum to 1.
    class_sizes : {"auto", "counts", "balanced"}, default "auto"
        Whether the classifier learns the classes in the numbers it gets, or equalised. ``"auto"`` reads
        ``class_weight`` and refuses where it is ambiguous.
    random_state : int, default 0
        Seed of the folds.

    Attributes
    ----------
    classes_, target_, sources_
        All labels, the target's, and the others in order.
    ratio_ : array, shape (n,)
        Out-of-fold dQ0/dP of the fitted rows, in their order; its mean over training rows should be near 1.
    log_ratio_ : array, shape (n, sources)
        Out-of-fold log dQ0/dQi.
    log_odds_ : array, shape (n,)
        Out-of-fold log-odds that the row is a target row, at the shares (``"mixture"``: at the row counts).
    fold_ : array of int, shape (n,)
        The fold of each fitted row: the number of the models that did not see it.
    target_share_, other_shares_
        The shares used (None, None for ``"mixture"``).

    Raises
    ------
    ValueError
        From ``fit``: fewer than two classes, too few samples of a class for the folds, NaN or infinite
        features, shares that are none, scores that are no log-odds.

    References
    ----------
    Ratio: Bickel et al. (2009), JMLR 10; cross-fitting: Chernozhukov et al. (2018); mixture: arXiv
    2504.05831.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(1, 1, (300, 1)), rng.normal(0, 1, (900, 1))])
    >>> model = ClassifierRatio(target="human").fit(X, ["human"] * 300 + ["generated"] * 900)
    >>> float(model.ratio_.mean().round(1)), bool(model.ratio_.max() < 4)
    (1.0, True)
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        cv: Any = 5,
        calibrate: Literal["temperature", "platt"] | None = None,
        target: Any = None,
        others: Literal["sources", "mixture"] = "sources",
        target_share: float | None = None,
        other_shares: Shares | None = None,
        class_sizes: ClassSizes = "auto",
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.calibrate = calibrate
        self.target = target
        self.others = others
        self.target_share = target_share
        self.other_shares = other_shares
        self.class_sizes = class_sizes
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Fit the classifiers fold by fold and weigh every row out of fold.

        Parameters
        ----------
        X : array, sparse matrix, data frame, or list of texts for a pipeline that takes them; n rows
            Features.
        y : array-like, shape (n,)
            Source labels, the target's among them.
        groups : array-like, shape (n,), optional
            Rows of one group (one prompt, one author) stay in one fold; integer ``cv`` or a splitter that
            uses them.

        Returns
        -------
        ClassifierRatio
            Itself.
        """
        return self.collect([self.fit_fold(X, y, number, groups) for number in self.assign(X, y, groups)])

    def assign(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None) -> range:
        """Check the input and deal the rows to folds: the first of the three steps that `fit` consists of.

        The second, `fit_fold`, may then run for each fold on another machine, on a copy of this object; what it
        returns is put together by `collect`.

        Parameters
        ----------
        X, y, groups
            As in `fit`.

        Returns
        -------
        range
            The numbers of the folds.
        """
        labels = self._read(X, y)
        self.fold_ = assign_folds(self.cv, labels, groups, target=self.target_, seed=self.random_state)
        return range(int(self.fold_.max()) + 1)

    def fit_fold(
        self, X: Any, y: ArrayLike, number: int, groups: ArrayLike | None = None
    ) -> tuple[list[Member], Floats]:
        """Fit the classifiers that do not see a fold; return them, and the log ratios of the fold's rows.

        Parameters
        ----------
        X, y, groups
            As given to `assign`.
        number : int
            Of the fold.
        """
        labels, members = np.asarray(y), []
        inside = self.fold_ == number
        for source in self.sources_:
            pair = np.flatnonzero(~inside & ((labels == self.target_) | (labels == source)))
            base = default_classifier(X) if self.estimator is None else self.estimator
            members.append(
                fit_member(
                    clone(base), rows_of(X, pair), labels[pair] == self.target_,
                    calibrate=self.calibrate, class_sizes=self.class_sizes, seed=self.random_state,
                    groups=None if groups is None else np.asarray(groups)[pair],
                )
            )  # fmt: skip
        if not inside.any():  # fewer groups than folds
            return members, np.empty((0, len(members)))
        return members, mean_log_ratio([members], rows_of(X, np.flatnonzero(inside)))

    def collect(self, fitted: Sequence[tuple[list[Member], Floats]]) -> Self:
        """Put the folds together.

        Parameters
        ----------
        fitted : sequence
            What `fit_fold` returned for each fold, in order.
        """
        self.members_ = [members for members, _ in fitted]
        self.log_ratio_ = gathered(self.fold_, [log_ratio for _, log_ratio in fitted])
        self.ratio_ = self._join(self.log_ratio_)
        self.log_odds_ = self.log_odds(self.log_ratio_)
        return self

    def predict(self, X: Any) -> Floats:
        """Return dQ0/dP of rows that were not fitted: log ratios averaged over the folds, then joined.

        Rows that were fitted have their out-of-fold value in ``ratio_``; given to ``predict`` they would
        be weighed by models that saw them.

        Parameters
        ----------
        X : as in `fit`
            New rows.
        """
        return self._join(self.predict_log_ratio(X))

    def predict_log_ratio(self, X: Any, fold: ArrayLike | None = None) -> Floats:
        """Return log dQ0/dQi, shape (n, sources), by the models of a fold or averaged over all of them.

        Parameters
        ----------
        X : as in `fit`
            Rows.
        fold : array-like of int, shape (n,), optional
            Per row the fold whose models weigh it (the fold that holds its copy), or -1 for the average.
        """
        check_is_fitted(self, "members_")
        refuse_non_finite(X)
        if None not in (_width(X), self._width) and _width(X) != self._width:
            raise ValueError(f"X has {_width(X)} features, but ClassifierRatio was fitted to {self._width}")
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        wanted = np.full(n_rows, -1) if fold is None else np.asarray(fold)
        result: Floats = np.empty((n_rows, len(self.sources_)))
        for number in np.unique(wanted):
            where = np.flatnonzero(wanted == number)
            part = X if len(where) == n_rows else rows_of(X, where)
            chosen = self.members_ if number < 0 else [self.members_[number]]
            result[where] = mean_log_ratio(chosen, part)
        return result

    def ratio(self, log_ratio: Floats) -> Floats:
        """Join log ratios to the sources, as `predict_log_ratio` returns them, into dQ0/dP.

        Parameters
        ----------
        log_ratio : array, shape (n, sources)
            In nats.
        """
        check_is_fitted(self, "members_")
        return self._join(log_ratio)

    def log_odds(self, log_ratio: Floats) -> Floats:
        """Join log ratios to the sources into the log-odds that a row is a target row; see ``log_odds_``.

        Parameters
        ----------
        log_ratio : array, shape (n, sources)
            In nats.
        """
        check_is_fitted(self, "members_")
        return self._joint.log_odds(log_ratio)

    def _join(self, log_ratio: Floats) -> Floats:
        return self._joint.ratio(log_ratio)

    def _read(self, X: Any, y: ArrayLike) -> NDArray[Any]:
        """Check the input and settle the labels and shares."""
        labels = labels_of(X, y)
        refuse_non_finite(X)
        self._width = _width(X)
        self.classes_, counts, self.target_ = settle_labels(labels, self.target, self.others)
        self.sources_ = self.classes_[self.classes_ != self.target_]
        self._settle_shares(dict(zip(self.classes_.tolist(), counts.tolist(), strict=True)))
        return labels

    def _settle_shares(self, counts: dict[Any, int]) -> None:
        sources = self.sources_.tolist()
        self._joint = Joint.of(
            self.target_share, self.other_shares, others=self.others, sources=sources,
            n_target=counts[self.target_], n_other=[counts[source] for source in sources],
        )  # fmt: skip
        self.target_share_, self.other_shares_ = self._joint.target_share, self._joint.other_shares


def _width(X: Any) -> int | None:
    """Return the number of columns of a table; None for lists, such as texts."""
    shape: Sequence[int] = getattr(X, "shape", ())
    return int(shape[1]) if len(shape) == 2 else None
