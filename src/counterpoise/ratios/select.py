"""Out-of-fold ratios, and a choice of method by what they are worth on rows that no fit saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from .._types import Array
from .features import linear_features
from .gaussian import fit_gaussian
from .kliep import fit_kliep
from .logistic import fit_logistic
from .model import LEAST, Comparison, Ratio, log_ratio
from .samples import samples, split
from .ulsif import fit_ulsif

__all__ = ["CrossFit", "cross_fit", "fit_ratio"]

Fit = Callable[..., Ratio]

METHODS: dict[str, Fit] = {
    "discriminant": partial(fit_gaussian, shared=True),
    "gaussian": fit_gaussian,
    "logistic": fit_logistic,
    "quadratic": partial(fit_logistic, features="quadratic"),
    "kernel": partial(fit_logistic, features="gaussian"),
    "ulsif": fit_ulsif,
    "kliep": fit_kliep,
}
SHARE = 0.25
"""Most products of two features that are fitted, as a share of the rows."""
NEAR = 0.25
"""Standard errors of the difference within which methods count as equally good, and are averaged."""
CLEAR = 1.5
"""Standard errors by which the best must beat r = 1."""


class CrossFit(NamedTuple):
    """Out-of-fold ratios; see `cross_fit`.

    Attributes
    ----------
    target_log_ratio : array, shape (n_target,)
        log r at each target row, by the model that did not see it.
    train_log_ratio : array, shape (n_train,)
        The same at the training rows.
    models : tuple of Ratio
        One per fold.
    """

    target_log_ratio: Array
    train_log_ratio: Array
    models: tuple[Ratio, ...]


def cross_fit(fit: Callable[..., Ratio], /, *, target: Array, train: Array, folds: int = 5, seed: int = 0) -> CrossFit:
    """Fit a ratio fold by fold and evaluate it where it was not fitted, so that no row is weighed by its own model.

    Parameters
    ----------
    fit : callable
        ``fit(target=, train=)`` returns a `Ratio`: `fit_ulsif`, `fit_kliep`, `fit_logistic`, `fit_ratio`, ..., or a
        ``functools.partial`` of one. A grid is searched anew in every fold.
    target : array, shape (n_target, d)
        Target samples.
    train : array, shape (n_train, d)
        Training samples.
    folds : int
        Number of folds of both samples, between 2 and the size of the smaller one.
    seed : int
        Of the folds.

    Returns
    -------
    CrossFit
        Log ratios in the order of the rows.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; a number of folds out of its range.

    References
    ----------
    Chernozhukov et al., Econometrics Journal 21 (2018), section 3.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> target, train = rng.normal(1, 1, (100, 1)), rng.normal(0, 1, (300, 1))
    >>> out_of_fold = cp.cross_fit(cp.fit_logistic, target=target, train=train)
    >>> out_of_fold.train_log_ratio.shape, len(out_of_fold.models)
    ((300,), 5)
    """
    xp, target, train = samples(target, train)
    order_t, order_s, models = [], [], []
    logs_t, logs_s = [], []
    for (kept_t, held_t), (kept_s, held_s) in zip(
        split(target, folds, seed), split(train, folds, seed + 1), strict=True
    ):
        model = fit(target=xp.take(target, kept_t, axis=0), train=xp.take(train, kept_s, axis=0))
        models.append(model)
        order_t.append(held_t)
        order_s.append(held_s)
        logs_t.append(log_ratio(model, xp.take(target, held_t, axis=0)))
        logs_s.append(log_ratio(model, xp.take(train, held_s, axis=0)))
    return CrossFit(_in_order(xp, logs_t, order_t), _in_order(xp, logs_s, order_s), tuple(models))


def fit_ratio(
    *,
    target: Array,
    train: Array,
    method: Literal["auto", "discriminant", "gaussian", "logistic", "quadratic", "kernel", "ulsif", "kliep"] = "auto",
    folds: int | None = None,
    seed: int = 0,
) -> Ratio:
    """Fit a ratio by the method that tells held-out target rows from held-out training rows best.

    ``"auto"`` fits every method with its own grid, fits it again fold by fold with what the grid chose, and compares
    the held-out log losses. Methods within a quarter of a standard error of the best are averaged in log r; if the best
    does not beat r = 1 by one and a half standard errors, the ratio is 1: there is no shift to be seen.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    method : {"auto", "discriminant", "gaussian", "logistic", "quadratic", "kernel", "ulsif", "kliep"}
        One method, or the choice among them; ``"quadratic"`` and ``"gaussian"`` are left out of the choice where
        products of two features outnumber a quarter of the rows.
    folds : int, optional
        Of the comparison, or of ``"kliep"``'s choice of a bandwidth; default 5, or the size of the smaller sample if
        that is less. The other methods have none.
    seed : int
        Of centres and folds.

    Returns
    -------
    Ratio
        With every method's score in ``comparison``.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; an unknown method; folds where there are none to choose; a
        sample of one row for ``"auto"``.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_ratio(target=rng.normal(1, 1, (200, 2)), train=rng.normal(0, 1, (400, 2)))
    >>> model.comparison.methods[:3]
    ('one', 'discriminant', 'gaussian')
    >>> cp.ratio(model, np.array([[-1.0, 0.0], [2.0, 1.0]])).round(1)
    array([0.1, 8. ])
    """
    if method != "auto":
        if method not in METHODS:
            raise ValueError(f"method is {method!r}; 'auto' or one of {', '.join(map(repr, METHODS))} is needed")
        return _fit(method, seed, target, train, folds)
    xp, target, train = samples(target, train)
    n_t, n_s, d = int(target.shape[0]), int(train.shape[0]), int(target.shape[1])
    if min(n_t, n_s) < 2:
        raise ValueError(
            f"target has {n_t} rows and train {n_s}; comparing methods holds rows out and needs two of each. Pass "
            "method='discriminant' or another one"
        )
    many = d * (d + 1) / 2 > SHARE * (n_t + n_s)
    folds = min(5, n_t, n_s) if folds is None else folds
    names = [name for name in METHODS if name not in ("gaussian", "quadratic") or not many]
    fitted = {name: _fit(name, seed, target, train, folds if name == "kliep" else None) for name in names}
    one = _constant(xp, target, train)
    losses = {"one": _losses(xp, xp.zeros_like(target[:, 0]), xp.zeros_like(train[:, 0]))}
    for name, model in fitted.items():
        again = partial(METHODS[name], **_hyper_parameters(name, model, seed))
        found = cross_fit(again, target=target, train=train, folds=folds, seed=seed)
        losses[name] = _losses(xp, found.target_log_ratio, found.train_log_ratio)
    comparison, best = _compare(xp, losses)
    near = [
        name for name, difference, error in zip(losses, comparison.difference, comparison.standard_error, strict=True)
        if name != "one" and float(difference) <= NEAR * float(error)
    ]  # fmt: skip
    clear = float(comparison.difference[0]) > CLEAR * float(comparison.standard_error[0])
    chosen = one if best == "one" or not clear else _averaged(xp, [fitted[name] for name in near])
    return chosen._replace(comparison=comparison)


def _fit(name: str, seed: int, target: Array, train: Array, folds: int | None = None) -> Ratio:
    options = {} if name in ("discriminant", "gaussian") else {"seed": seed}
    if folds is not None:
        if name != "kliep":
            raise ValueError(f"folds is {folds!r}, but {name!r} has no folds to choose; leave it out")
        options["folds"] = folds
    return METHODS[name](target=target, train=train, **options)


def _hyper_parameters(name: str, model: Ratio, seed: int) -> dict[str, Any]:
    """Return what a grid has chosen, as arguments for a fit to fewer rows."""
    if name in ("discriminant", "gaussian"):
        return {}
    options: dict[str, Any] = {"seed": seed}
    if name != "kliep":
        options["penalty"] = float(model.penalty)
    if model.features is not None and model.features.kind == "gaussian":
        options["bandwidth"] = float(model.features.bandwidth)
    return options


def _constant(xp: Any, target: Array, train: Array) -> Ratio:
    features = linear_features(target=target, train=train)
    zero = xp.zeros_like(features.shift[0])
    theta = xp.concat([zero[None], xp.zeros_like(features.shift)], axis=0)
    return Ratio("logistic", features, theta, 0.0, zero + xp.inf, zero, None)


def _averaged(xp: Any, members: Sequence[Ratio]) -> Ratio:
    if len(members) == 1:
        return members[0]
    zero = xp.zeros_like(members[0].coefficients[0])
    weights = xp.concat([zero[None] + 1 / len(members)] * len(members), axis=0)
    return Ratio("average", None, weights, 0.0, zero, zero, None, tuple(members))


def _losses(xp: Any, target: Array, train: Array) -> Array:
    """Log loss of each row, the target's first, for the classifier of log-odds log r + log n_t/n_s."""
    offset = math.log(int(target.shape[0])) - math.log(int(train.shape[0]))
    margin = xp.concat([-(target + offset), train + offset], axis=0)
    known = margin < xp.inf
    safe = xp.where(known, margin, xp.zeros_like(margin))
    loss = xp.maximum(safe, xp.zeros_like(safe)) + xp.log1p(xp.exp(-xp.abs(safe)))
    return xp.where(known, loss, xp.zeros_like(loss) - LEAST)


def _compare(xp: Any, losses: dict[str, Array]) -> tuple[Comparison, str]:
    scores = {name: float(xp.mean(loss)) for name, loss in losses.items()}
    best = min(scores, key=lambda name: scores[name] if math.isfinite(scores[name]) else math.inf)
    differences = [loss - losses[best] for loss in losses.values()]
    means = xp.stack([xp.mean(d) for d in differences])
    errors = xp.stack([xp.std(d) / math.sqrt(int(d.shape[0])) for d in differences])
    return Comparison(tuple(losses), xp.stack([xp.mean(loss) for loss in losses.values()]), means, errors), best


def _in_order(xp: Any, values: Sequence[Array], rows: Sequence[Array]) -> Array:
    """Join values that belong to these rows, in the order of the rows."""
    return xp.take(xp.concat(list(values), axis=0), xp.argsort(xp.concat(list(rows), axis=0)), axis=0)
