"""The ratio of target to training rows, out of fold: what ``compare`` and ``advise`` fit where none is given."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from counterpoise import fit_logistic, log_ratio
from counterpoise._extras import extra
from counterpoise_adapters._folds import deal

if TYPE_CHECKING:
    from counterpoise_adapters.sklearn import ClassifierRatio

__all__ = ["blind_score", "out_of_fold"]

Floats = NDArray[np.float64]
FOLDS = 5
RIDGE = 1e-2


def out_of_fold(
    features: Floats,
    source: NDArray[np.int64],
    *,
    group: NDArray[Any] | None,
    seed: int,
) -> "ClassifierRatio":
    """Fit the target's ratio by cross-fitted logistic regression, calibrated by Platt scaling.

    Parameters
    ----------
    features : array, shape (n, p)
        What the ratio is a function of.
    source : array of int, shape (n,)
        Source of each row; 0 is the target.
    group : array, shape (n,), optional
        Rows of one group share a fold.
    seed : int
        Of the folds.

    Returns
    -------
    ClassifierRatio
        Fitted.
    """
    with extra("sklearn", "fitting a ratio for advice"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from counterpoise_adapters.sklearn import ClassifierRatio

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    cv = max(2, min(FOLDS, int(np.bincount(source)[np.unique(source)].min())))  # a small source fills fewer
    model = ClassifierRatio(classifier, cv=cv, calibrate="platt", target=0, random_state=seed)
    return model.fit(features, source, groups=group)


def blind_score(features: Floats, is_target: NDArray[np.bool_], *, group: NDArray[Any] | None, seed: int) -> Floats:
    """Return how target-like features look, labels unseen, by models that did not see the row's group.

    Parameters
    ----------
    features : array, shape (n, q)
        Of the rows, without their labels.
    is_target : array of bool, shape (n,)
        Which rows are target rows.
    group : array, shape (n,), optional
        Rows of one group share a fold.
    seed : int
        Of the folds.

    Returns
    -------
    array, shape (n,)
        log target/others.
    """
    score = np.zeros(len(features))
    fold = deal(is_target, group, n_folds=FOLDS, seed=seed)
    for number in range(FOLDS):
        kept, held = fold != number, fold == number
        if held.any() and (kept & is_target).any() and (kept & ~is_target).any():
            model = fit_logistic(target=features[kept & is_target], train=features[kept & ~is_target], penalty=RIDGE)
            score[held] = log_ratio(model, features[held])
    return score
