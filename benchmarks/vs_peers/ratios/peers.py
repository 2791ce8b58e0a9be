"""Every density-ratio peer that installs, as a function from (target, train, fresh) to ratios at the fresh rows."""

import contextlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import counterpoise as cp

Floats = NDArray[np.float64]
Method = Callable[[Floats, Floats, Floats], Floats]
WIDTHS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
"""Multiples of the median distance; adapt's KLIEP, which is slow, gets three of them."""


def _ours(fit: Callable[..., cp.Ratio]) -> Method:
    return lambda target, train, fresh: cp.ratio(fit(target=target, train=train), fresh)


OURS: dict[str, Method] = {
    "counterpoise auto": _ours(cp.fit_ratio),
    "counterpoise uLSIF": _ours(cp.fit_ulsif),
    "counterpoise RuLSIF": _ours(partial(cp.fit_ulsif, alpha=0.1)),
    "counterpoise KLIEP": _ours(cp.fit_kliep),
}


def _densratio(method: str) -> Method:
    def run(target: Floats, train: Floats, fresh: Floats) -> Floats:
        from densratio import densratio

        found = densratio(target, train, method=method, verbose=False)
        return np.asarray(found.compute_density_ratio(fresh)).ravel()

    return run


def _insurance(kind: str, **options: Any) -> Method:
    def run(target: Floats, train: Floats, fresh: Floats) -> Floats:
        from insurance_covariate_shift import density_ratio

        return getattr(density_ratio, kind)(**options).fit(train, target).predict(fresh)

    return run


def _changepoynt(alpha: float) -> Method:
    """Put the pieces of its change-point detector together as it does, and evaluate at fresh rows."""

    def run(target: Floats, train: Floats, fresh: Floats) -> Floats:
        from changepoynt.utils import densityratioestimation as parts

        estimator = parts.RuLSIF(alpha=alpha)
        centres = estimator.generate_gaussian_centers(target.T)
        sigma, penalty = estimator.compute_model_parameters(target.T, train.T, centres)
        at_t, at_s, at_x = (parts.compute_gaussian_kernel(x.T, centres, sigma).T for x in (target, train, fresh))
        second = parts.compute_H_hat(alpha, at_t, at_s)
        theta = parts.compute_theta_hat(second, penalty * np.eye(centres.shape[1]), parts.compute_h_hat(at_t))
        return np.asarray(parts.g_of_x_theta(at_x, theta)).ravel()

    return run


def _adapt(name: str, widths: tuple[float, ...], **options: Any) -> Method:
    """Give it bandwidths that ours searches: gamma = 1/2σ², σ the median distance times some widths."""

    def run(target: Floats, train: Floats, fresh: Floats) -> Floats:
        from adapt import instance_based

        median = float(cp.gaussian_features(target=target, train=train).bandwidth)
        gammas = [0.5 / (median * m) ** 2 for m in widths]
        model = getattr(instance_based, name)(kernel="rbf", gamma=gammas, verbose=0, random_state=0, **options)
        model.fit_weights(*(_standardised(x, target, train) for x in (train, target)))
        return np.asarray(model.predict_weights(_standardised(fresh, target, train))).ravel()

    return run


def _standardised(x: Floats, target: Floats, train: Floats) -> Floats:
    pooled = np.vstack([target, train])
    spread = pooled.std(axis=0)
    return np.asarray((x - pooled.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def _skada(name: str, **options: Any) -> Method:
    """Weigh fresh rows as if they were rows of the source; it has no other way to say what new rows are worth."""

    def run(target: Floats, train: Floats, fresh: Floats) -> Floats:
        from skada import _reweight

        adapter = getattr(_reweight, f"{name}ReweightAdapter")(**options)
        domains = np.r_[np.full(len(train), 1), np.full(len(target), -2)]
        adapter.fit(np.vstack([train, target]), sample_domain=domains)
        return np.asarray(adapter.compute_weights(fresh, sample_domain=np.ones(len(fresh), dtype=int)))

    return run


def _classifier(make: Callable[[], Any]) -> Method:
    """Do what a careful user does: standardise, classify, take the class sizes out."""

    def run(target: Floats, train: Floats, fresh: Floats) -> Floats:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = make_pipeline(StandardScaler(), *make())
        model.fit(np.vstack([target, train]), np.r_[np.ones(len(target)), np.zeros(len(train))])
        p = np.clip(model.predict_proba(fresh)[:, 1], 1e-12, 1 - 1e-12)
        return p / (1 - p) * len(train) / len(target)

    return run


def _classifiers() -> dict[str, Method]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.naive_bayes import GaussianNB
    from sklearn.preprocessing import PolynomialFeatures

    return {
        "sklearn logistic": _classifier(lambda: [LogisticRegression(max_iter=1000)]),
        "sklearn logistic CV": _classifier(lambda: [LogisticRegressionCV(max_iter=1000)]),
        "sklearn quadratic": _classifier(lambda: [PolynomialFeatures(2), LogisticRegression(max_iter=1000)]),
        "sklearn Nyström": _classifier(
            lambda: [Nystroem(n_components=100, random_state=0), LogisticRegressionCV(max_iter=1000)]
        ),
        "sklearn naive Bayes": _classifier(lambda: [GaussianNB()]),
        "sklearn LDA": _classifier(lambda: [LinearDiscriminantAnalysis()]),
        "sklearn QDA": _classifier(lambda: [QuadraticDiscriminantAnalysis()]),
    }


def available() -> tuple[dict[str, Method], dict[str, str]]:
    """Return ours and the peers that are there, and why others are not."""
    found = dict(OURS)
    absent = {}
    groups: dict[str, tuple[str, dict[str, Method]]] = {
        "densratio": ("densratio", {f"densratio {m}": _densratio(m) for m in ("uLSIF", "RuLSIF", "KLIEP")}),
        "insurance-covariate-shift": (
            "insurance_covariate_shift",
            {
                "insurance uLSIF": _insurance("RuLSIF", alpha=0.0),
                "insurance RuLSIF": _insurance("RuLSIF", alpha=0.1),
                "insurance KLIEP": _insurance("KLIEP"),
            },
        ),
        "adapt": (
            "adapt",
            {
                "adapt uLSIF": _adapt("ULSIF", WIDTHS, lambdas=[1e-3, 1e-2, 1e-1, 1.0]),
                "adapt RuLSIF": _adapt("RULSIF", WIDTHS, alpha=0.1, lambdas=[1e-3, 1e-2, 1e-1, 1.0]),
                "adapt KLIEP": _adapt("KLIEP", WIDTHS[3:8:2]),
            },
        ),
        "skada": (
            "skada",
            {
                "skada KLIEP": _skada("KLIEP", gamma="auto", random_state=0),
                "skada density": _skada("Density"),
                "skada Gaussian": _skada("Gaussian"),
                "skada classifier": _skada("Discriminator"),
            },
        ),
        "changepoynt": (
            "changepoynt",
            {"changepoynt uLSIF": _changepoynt(0.0), "changepoynt RuLSIF": _changepoynt(0.1)},
        ),
    }
    for name, (module, methods) in groups.items():
        with contextlib.suppress(ValueError):
            if importlib.util.find_spec(module) is not None:
                found |= methods
                continue
        absent[name] = f"pip install --no-deps {name}"
    return found | _classifiers(), absent
