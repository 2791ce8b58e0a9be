"""The methods that are compared, how each is fitted again to fewer rows, and what its ratios count as."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from .._types import Array
from .features import Features, linear_features
from .gaussian import FEW, fit_gaussian, gaussian_noise
from .grids import best_of, grid
from .kliep import fit_kliep
from .logistic import PENALTIES, fit_logistic, logistic_noise, penalty_path
from .model import Ratio, log_ratio
from .probability import log_losses
from .samples import number_of_folds, relevance, samples, split_both
from .student import fit_student, has_heavy_tails
from .tilts import tilts_of
from .ulsif import fit_ulsif

Fit = Callable[..., Ratio]

ALPHA = 0.1
"""α of the relative ratio from which `"rulsif"` takes that of p/q."""


def _fit_rulsif(*, target: Array, train: Array, **options: Any) -> Ratio:
    """Fit a relative ratio and return the p/q that it implies: an average of one."""
    return _alone(fit_ulsif(target=target, train=train, alpha=ALPHA, **options))


def _fit_logistic(
    *, target: Array, train: Array, penalty: float | None = None, folds: int | None = None, seed: int = 0
) -> Ratio:
    """Fit logistic regression whose ridge bears more on columns in which the samples hardly differ.

    Its penalty is chosen by folds in which these columns are found anew: those that held-out rows helped to find would
    flatter them. Without them, a sample of one row leaves one out of the other.
    """
    xp, target, train = samples(target, train)
    scores, features = None, _by_relevance(xp, target, train)
    if penalty is None and (folds is not None or min(int(target.shape[0]), int(train.shape[0])) > 1):
        found = _held_out_losses(xp, target, train, number_of_folds(folds, target, train), seed)
        (_, best), scores = best_of([found]), grid(xp, features.shift, [float(features.bandwidth)], PENALTIES, [found])
        penalty = PENALTIES[best]
    model = fit_logistic(target=target, train=train, features=features, penalty=penalty, seed=seed)
    return model if scores is None else model._replace(scores=scores)


def _by_relevance(xp: Any, target: Array, train: Array) -> Features:
    """Prepare scaled samples as features, smaller in columns in which they hardly differ, as distances have them."""
    features = linear_features(target=target, train=train)
    z = [(x - features.shift) / features.scale for x in (target, train)]
    return features._replace(scale=features.scale / relevance(xp, *z))


def _held_out_losses(xp: Any, target: Array, train: Array, folds: int, seed: int) -> list[float]:
    """Mean log loss of held-out rows for every penalty."""
    of_rows = []
    for rows in split_both(target, train, folds, seed):
        (kept_t, kept_s), held = (
            [xp.take(x, of[side], axis=0) for x, of in zip((target, train), rows, strict=True)] for side in (0, 1)
        )
        path = penalty_path(xp, _by_relevance(xp, kept_t, kept_s), kept_t, kept_s, PENALTIES)
        logs = [[log_ratio(model, x) for x in held] for model in path]
        of_rows.append(xp.stack([log_losses(xp, at_t, at_s, target, train) for at_t, at_s in logs], axis=1))
    mean = xp.mean(xp.concat(of_rows, axis=0), axis=0)
    losses = [float(mean[k]) for k in range(len(PENALTIES))]
    return [loss if math.isfinite(loss) else math.inf for loss in losses]


def _alone(model: Ratio) -> Ratio:
    """Return the average of one model."""
    share = (model.gap * 0 + 1.0)[None]
    return Ratio("average", None, share, 0.0, model.penalty, model.gap, model.scores, (model,))


METHODS: dict[str, Fit] = {
    "discriminant": partial(fit_gaussian, shared=True),
    "gaussian": fit_gaussian,
    "independent": partial(fit_gaussian, independent=True),
    "proportional": partial(fit_gaussian, proportional=True),
    "student": fit_student,
    "logistic": _fit_logistic,
    "quadratic": partial(fit_logistic, features="quadratic"),
    "kernel": partial(fit_logistic, features="gaussian"),
    "ulsif": fit_ulsif,
    "rulsif": _fit_rulsif,
    "kliep": fit_kliep,
}
MOMENTS = ("discriminant", "gaussian", "independent", "proportional", "student")
"""Gaussians and Student's t: methods without a penalty to choose."""
BUMPS = ("kernel", "ulsif", "rulsif", "kliep")
"""Methods that sum bumps."""
FOLDED = ("logistic", "kliep")
"""Methods that choose by folds."""
MANY = 1000
"""Rows of both samples from which kernel logistic regression is compared: ten for each of its bumps."""
SHARE = 0.25
"""Most products of two features that are fitted, as a share of the rows."""


def compared(xp: Any, target: Array, train: Array, *, formed: bool) -> list[str]:
    """Name the methods that so many rows allow, Student's t in place of Gaussians where tails are heavy.

    Samples that look Gaussian (``formed``) need fewer rows for Gaussians, may have proportional covariances if neither
    is small, and no heavy tails. Else few target rows have a mean, but no covariance of their own; few training rows
    have neither: ratios are largest where they lack.
    """
    n_t, n_s, d = int(target.shape[0]), int(train.shape[0]), int(target.shape[1])
    few, wide = min(n_t, n_s) < FEW and not formed, d * (d + 1) / 2 > SHARE * (n_t + n_s)
    none = (few and (n_s < FEW or wide)) or 2 * d > n_t + n_s  # of so few rows a covariance is near singular
    shared = few or wide
    without = {"quadratic", *(MOMENTS if none else MOMENTS[1:] if shared else ())}
    without |= {"kernel"} if n_t + n_s < MANY else set()
    without |= set() if formed and d > 1 and min(n_t, n_s) >= FEW else {"proportional"}  # in one column any two are
    heavy = not (none or shared or formed) and has_heavy_tails(xp, target, train)
    without |= set(MOMENTS) - {"student"} if heavy else {"student"}
    return [name for name in METHODS if name not in without]


def fitted(name: str, seed: int, target: Array, train: Array, folds: int | None = None) -> Ratio:
    """Fit one method with its own grid."""
    options = {} if name in MOMENTS else {"seed": seed}
    if folds is not None:
        if name not in FOLDED:
            raise ValueError(f"folds is {folds!r}, but {name!r} has no folds to choose; leave it out")
        options["folds"] = folds
    return METHODS[name](target=target, train=train, **options)


def hyper_parameters(name: str, model: Ratio, seed: int) -> dict[str, Any]:
    """Return what a grid has chosen, as arguments for a fit to fewer rows."""
    if name in MOMENTS:
        return {}
    model = model.members[0] if model.members else model
    options: dict[str, Any] = {"seed": seed}
    if name != "kliep":
        options["penalty"] = float(model.penalty)
    if name in ("ulsif", "rulsif", "kliep"):
        options["tilts"] = (model.features and tilts_of(model.features)) or False
    if model.features is not None and model.features.kind == "gaussian":
        options["bandwidth"] = float(model.features.bandwidth)
    return options


def doubted(name: str, model: Ratio, target: Array, train: Array) -> Ratio:
    """Return the model as an average counts it: with the sampling variance of log r, where that has a closed form."""
    xp, target, train = samples(target, train)
    if name in MOMENTS and name != "student":
        of = {} if name in ("discriminant", "gaussian") else {name: True}
        noise = gaussian_noise(xp, model, target, train, **of)
    elif name in ("logistic", "kernel"):
        noise = logistic_noise(xp, model, target, train)
    else:
        return model
    return _alone(model._replace(noise=noise))
