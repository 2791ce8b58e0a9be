"""Out-of-fold ratios: no row is weighed by a model that saw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .._types import Array
from .model import Ratio, log_ratio
from .samples import number_of_folds, samples, split_both, whole

__all__ = ["CrossFit", "cross_fit"]


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


def cross_fit(
    fit: Callable[..., Ratio], /, *, target: Array, train: Array, folds: int | None = None, seed: int = 0
) -> CrossFit:
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
    folds : int, optional
        Number of folds of both samples, between 2 and the size of the smaller one; default 5, or that size if it is
        less.
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
    seed = whole(seed)
    folds = number_of_folds(folds, target, train)
    order_t, order_s, models = [], [], []
    logs_t, logs_s = [], []
    for (kept_t, held_t), (kept_s, held_s) in split_both(target, train, folds, seed):
        model = fit(target=xp.take(target, kept_t, axis=0), train=xp.take(train, kept_s, axis=0))
        models.append(model)
        order_t.append(held_t)
        order_s.append(held_s)
        logs_t.append(log_ratio(model, xp.take(target, held_t, axis=0)))
        logs_s.append(log_ratio(model, xp.take(train, held_s, axis=0)))
    return CrossFit(_in_order(xp, logs_t, order_t), _in_order(xp, logs_s, order_s), tuple(models))


def _in_order(xp: Any, values: Sequence[Array], rows: Sequence[Array]) -> Array:
    """Join values that belong to these rows, in the order of the rows."""
    return xp.take(xp.concat(list(values), axis=0), xp.argsort(xp.concat(list(rows), axis=0)), axis=0)
