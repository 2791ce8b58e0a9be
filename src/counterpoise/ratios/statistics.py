"""Sums over samples from which a ratio is fitted: they add up over chunks, shards and ranks."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import _xp
from .._types import AllReduce, Array
from .features import Features, mapped
from .samples import chunks, samples

__all__ = ["Statistics", "add_statistics", "ratio_statistics"]


class Statistics(NamedTuple):
    """Counts and sums of features; see `ratio_statistics`.

    Attributes
    ----------
    n_target, n_train : array, shape ()
        Numbers of rows.
    target_sum, train_sum : array, shape (1 + b,)
        Σφ.
    target_outer, train_outer : array, shape (1 + b, 1 + b)
        Σφφᵀ.
    """

    n_target: Array
    n_train: Array
    target_sum: Array
    train_sum: Array
    target_outer: Array
    train_outer: Array


def ratio_statistics(
    features: Features, /, *, target: Array, train: Array, all_reduce: AllReduce | None = None
) -> Statistics:
    """Sum features and their products over samples: all that `fit_ulsif` needs to know about the data.

    Parameters
    ----------
    features : Features
        The same for every chunk, shard and rank.
    target, train : array, shape (n, d)
        A chunk of each sample.
    all_reduce : callable, optional
        ``all_reduce(array, "sum")`` adds up arrays over ranks, as in `penalized`.

    Returns
    -------
    Statistics
        To be added up by `add_statistics`.

    Raises
    ------
    TypeError, ValueError
        As `gaussian_features`.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> target, train = np.array([[0.0], [2.0]]), np.array([[-2.0], [0.0], [1.0]])
    >>> features = cp.gaussian_features(target=target, train=train, bandwidth=1.0)
    >>> part = cp.ratio_statistics(features, target=target, train=train)
    >>> float(part.n_train), part.train_outer.shape
    (3.0, (3, 3))
    """
    xp, target, train = samples(target, train)
    _xp.namespace(target=target, features=features.shift)
    parts = [*_sums(xp, features, target), *_sums(xp, features, train)]
    if all_reduce is not None:
        parts = [all_reduce(part, "sum") for part in parts]
    return Statistics(parts[0][0], parts[3][0], parts[1], parts[4], parts[2], parts[5])


def add_statistics(first: Statistics, second: Statistics, /) -> Statistics:
    """Add the statistics of two chunks.

    Parameters
    ----------
    first, second : Statistics
        Of the same features.

    Returns
    -------
    Statistics
        Of both chunks together.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> x = np.array([[0.0], [2.0]])
    >>> features = cp.gaussian_features(target=x, train=x, bandwidth=1.0)
    >>> part = cp.ratio_statistics(features, target=x, train=x)
    >>> float(cp.add_statistics(part, part).n_train)
    4.0
    """
    n_target, n_train, *sums = (a + b for a, b in zip(first, second, strict=True))
    return Statistics(n_target, n_train, sums[0], sums[1], sums[2], sums[3])


def _sums(xp: Any, features: Features, x: Array) -> list[Array]:
    """Return the number of rows, Σφ and Σφφᵀ, chunk by chunk."""
    total: list[Array] = []
    for part in chunks(x):
        phi = mapped(xp, features, part)
        outer = xp.matmul(xp.matrix_transpose(phi), phi)
        sums = [xp.zeros_like(phi[:1, 0]) + float(phi.shape[0]), xp.sum(phi, axis=0), outer]
        total = [a + b for a, b in zip(total, sums, strict=True)] if total else sums
    return total
