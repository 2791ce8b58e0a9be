"""The cross-fitted classifiers behind ``counterpoise weigh``, for dense features and for hashed words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoise_adapters._linear_ratio import LinearRatio
    from counterpoise_adapters.sklearn import ClassifierRatio

__all__ = ["dense_model", "hashed_model"]


def dense_model(*, folds: int, calibrate: Any, seed: int, shares: Sequence[float] | None) -> "LinearRatio":
    """Return ridge logistic regressions on standardised features, unfitted; scikit-learn is not loaded for them.

    Parameters
    ----------
    folds, calibrate, seed
        As ``cv``, ``calibrate`` and ``random_state`` of `ClassifierRatio`.
    shares : sequence of float, optional
        Of the sources in the data, the target's first; None where target samples are not rows of these.
    """
    from counterpoise_adapters._linear_ratio import LinearRatio

    return LinearRatio(**_options(folds, calibrate, seed, shares))


def hashed_model(*, folds: int, calibrate: Any, seed: int, shares: Sequence[float] | None) -> "ClassifierRatio":
    """Return logistic regressions on TF-IDF, unfitted.

    Parameters
    ----------
    folds, calibrate, seed, shares
        As in `dense_model`.
    """
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from counterpoise_adapters.sklearn import ClassifierRatio

    classifier = make_pipeline(
        TfidfTransformer(sublinear_tf=True),
        LogisticRegression(C=10.0, solver="liblinear", dual=True, max_iter=1000, random_state=seed),
    )
    return ClassifierRatio(classifier, target=0, **_options(folds, calibrate, seed, shares))


def _options(folds: int, calibrate: Any, seed: int, shares: Sequence[float] | None) -> dict[str, Any]:
    return {
        "cv": folds, "calibrate": calibrate, "others": "mixture" if shares is None else "sources",
        "target_share": None if shares is None else shares[0],
        "other_shares": None if shares is None else list(shares[1:]), "random_state": seed,
    }  # fmt: skip
