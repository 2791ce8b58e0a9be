"""One scikit-learn classifier of target against other: its held-out log ratio, corrected and calibrated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing as rows_of

from counterpoise.ratios.probability import log_ratio_from_log_odds

from ._calibration import calibration, check_calibrate, held_out
from ._linear_ratio import Linear, averaged

__all__ = ["ClassSizes", "Member", "default_classifier", "fit_member", "mean_log_ratio", "refuse_non_finite"]

ClassSizes = Literal["auto", "counts", "balanced"]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Member:
    """A fitted classifier and what turns its scores into log ratios.

    Parameters
    ----------
    model : classifier
        Fitted on two classes, the target being 1.
    link : {"decision", "probability"}
        Where the log-odds come from.
    n_target, n_other : float
        Class sizes as the classifier saw them.
    scale, shift : float
        The calibration: log ratio = scale * raw log ratio + shift.
    """

    model: Any
    link: Literal["decision", "probability"]
    n_target: float
    n_other: float
    scale: float = 1.0
    shift: float = 0.0

    def log_ratio(self, X: Any) -> Floats:
        """Return log dQ0/dQ1 of each row.

        Parameters
        ----------
        X : features
            As the classifier takes them.
        """
        if self.link == "decision":
            log_odds = np.asarray(self.model.decision_function(X), dtype=np.float64)
        else:
            p = np.asarray(self.model.predict_proba(X))[:, 1]
            # A probability of exactly 0 or 1 says no more than that it is beyond the dtype's resolution.
            limit = float(np.finfo(p.dtype).eps)
            p = np.clip(p.astype(np.float64), limit, 1.0 - limit)
            log_odds = np.log(p) - np.log1p(-p)
        raw = log_ratio_from_log_odds(log_odds[:, None], n_target=self.n_target, n_other=self.n_other)[:, 0]
        return np.asarray(self.scale * raw + self.shift)


def default_classifier(X: Any) -> Any:
    """Return the classifier that is fitted where none is given: a ridge penalty on columns as they are has units.

    Parameters
    ----------
    X : features
        Those of sparse matrices, counts as a rule, are left as they are.
    """
    classifier = LogisticRegression()
    return classifier if sparse.issparse(X) else make_pipeline(StandardScaler(), classifier)


def mean_log_ratio(members: Sequence[Sequence[Member]], X: Any) -> Floats:
    """Return the log ratios to each source, averaged over models, shape (n, sources).

    Where all models are linear in the features, it is one product of matrices, however many there are.

    Parameters
    ----------
    members : sequence of sequences of Member
        Models by fold, then by source.
    X : features
        As the classifiers take them.
    """
    forms = [[_linear(member) if _is_matrix(X) else None for member in fold] for fold in members]
    known = [[form for form in fold if form is not None] for fold in forms]
    if any(None in fold for fold in forms):
        return np.asarray(np.mean([[member.log_ratio(X) for member in fold] for fold in members], axis=0).T)
    return averaged(known, X)


def _is_matrix(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "f"


def _linear(member: Member) -> Linear | None:
    """Return the linear function that a member is, if it is a logistic regression, standardised or not."""
    model = member.model
    steps = [step for _, step in model.steps] if type(model) is Pipeline else [model]
    last = steps[-1]
    if member.link != "decision" or type(last) is not LogisticRegression or len(last.coef_) != 1:
        return None
    slope, level, centre = last.coef_[0].astype(np.float64), float(last.intercept_[0]), np.zeros(last.coef_.shape[1])
    if len(steps) == 2 and type(steps[0]) is StandardScaler:
        centre = steps[0].mean_ if steps[0].with_mean else centre
        slope = slope / steps[0].scale_ if steps[0].with_std else slope
    elif len(steps) > 1:
        return None
    (raw,) = log_ratio_from_log_odds(np.asarray([[level]]), n_target=member.n_target, n_other=member.n_other)[:, 0]
    return Linear(centre, member.scale * slope, float(member.scale * raw + member.shift))


def fit_member(
    model: Any,
    X: Any,
    is_target: Mask,
    *,
    calibrate: str | None,
    class_sizes: ClassSizes,
    seed: int,
    groups: NDArray[Any] | None,
) -> Member:
    """Fit a classifier, and its calibration on rows that it did not see.

    Parameters
    ----------
    model : classifier
        Unfitted; it is fitted in place.
    X : features
        n rows.
    is_target : array of bool, shape (n,)
        Both values occur.
    calibrate : {None, "temperature", "platt"}
        See `ClassifierRatio`.
    class_sizes : {"auto", "counts", "balanced"}
        See `ClassifierRatio`.
    seed : int
        Of the inner folds.
    groups : array, shape (n,), optional
        Kept together in the inner folds.

    Returns
    -------
    Member
        Ready to weigh other rows. Options or classifiers that do not fit raise ValueError.
    """
    check_calibrate(calibrate)
    if calibrate is None:
        return _fit(model, X, is_target, calibrate, class_sizes)

    def log_ratio(train: NDArray[np.int64], test: NDArray[np.int64]) -> Floats:
        inner = _fit(clone(model), rows_of(X, train), is_target[train], calibrate, class_sizes)
        return inner.log_ratio(rows_of(X, test))

    held = held_out(log_ratio, is_target, calibrate=calibrate, seed=seed, groups=groups)
    scale, shift = calibration(held, is_target, shift=calibrate == "platt")
    fitted = _fit(model, X, is_target, calibrate, class_sizes)
    return Member(fitted.model, fitted.link, fitted.n_target, fitted.n_other, scale, shift)


def refuse_non_finite(X: Any) -> None:
    """Raise ValueError, naming row and column, if a feature is NaN or infinite; text features pass.

    Parameters
    ----------
    X : features
        Array, sparse matrix, data frame, or anything without a numeric dtype.
    """
    if sparse.issparse(X):
        matrix = X.tocoo()
        bad = np.flatnonzero(~np.isfinite(matrix.data))
        if bad.size:
            _refuse(int(matrix.row[bad[0]]), int(matrix.col[bad[0]]), matrix.data[bad[0]])
        return
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        for name in X.columns:
            _refuse_column(X[name].to_numpy(), name)
        return
    array = np.asarray(X)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0]
        _refuse(int(first[0]), int(first[-1]), array[tuple(first)])


def _refuse_column(values: Any, name: Any) -> None:
    column = np.asarray(values)
    # A missing cell of a text column is a float NaN among strings: NaN is the one value unequal to itself.
    bad = ~np.isfinite(column) if column.dtype.kind == "f" else np.asarray(column != column, dtype=bool)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        _refuse(row, name, column[row])


def _refuse(row: int, column: Any, value: Any) -> None:
    raise ValueError(
        f"X holds {value} in row {row}, column {column!r}; features must be finite, not NaN or infinite: drop or "
        "impute the row"
    )


def _fit(model: Any, X: Any, is_target: Mask, calibrate: str | None, class_sizes: ClassSizes) -> Member:
    n_target, n_other = _sizes(model, is_target, class_sizes)
    model.fit(X, is_target.astype(np.int64))
    return Member(model, _link(model, X, calibrate), n_target, n_other)


def _sizes(model: Any, is_target: Mask, class_sizes: ClassSizes) -> tuple[float, float]:
    """Return the class sizes as the classifier sees them: the counts, unless class weights change them."""
    counts = (float(is_target.sum()), float((~is_target).sum()))
    if class_sizes == "balanced":
        return 1.0, 1.0
    if class_sizes == "counts":
        return counts
    if class_sizes != "auto":
        raise ValueError(f"class_sizes is {class_sizes!r}; 'auto', 'counts' or 'balanced' is needed")
    parameters = model.get_params(deep=True)
    found = [value for name, value in parameters.items() if name.rpartition("__")[2] == "class_weight"]
    if not found or all(value is None for value in found):
        return counts
    if all(value in ("balanced", "balanced_subsample") for value in found if not isinstance(value, dict)):
        weights = [value for value in found if isinstance(value, dict)]
        if not weights:
            return 1.0, 1.0
        if len(found) == 1:
            return counts[0] * weights[0].get(1, 1.0), counts[1] * weights[0].get(0, 1.0)
    raise ValueError(
        f"the parts of the classifier disagree on class_weight ({found}); say class_sizes='counts' or "
        "'balanced', whichever its final probabilities follow"
    )


def _link(model: Any, X: Any, calibrate: str | None) -> Literal["decision", "probability"]:
    """Tell where the log-odds are: in the decision function if the probabilities say so, else in them."""
    scores, chances = hasattr(model, "decision_function"), hasattr(model, "predict_proba")
    if not chances:
        if scores and calibrate == "platt":
            return "decision"
        raise ValueError(
            f"{type(model).__name__} has no predict_proba, so that its scores are no log-odds; "
            + ("use calibrate='platt'" if scores else "use a classifier that has one")
        )
    if not scores:
        return "probability"
    some = rows_of(X, np.arange(min(100, X.shape[0] if hasattr(X, "shape") else len(X))))
    gap = np.abs(expit(model.decision_function(some)) - model.predict_proba(some)[:, 1])
    # Both are computed from one score where the link is logistic; 1e-5 leaves room for float32 models.
    return "decision" if float(gap.max()) < 1e-5 else "probability"
