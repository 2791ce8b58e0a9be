"""Fourteen pairs of distributions whose density ratio is known, each in two variants."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Generator = np.random.Generator


class Problem(NamedTuple):
    """Two samples, fresh training points and the true ratio there."""

    target: Floats
    train: Floats
    fresh: Floats
    truth: Floats


def _gaussians(p: tuple[Floats, Floats], q: tuple[Floats, Floats], n_t: int, n_s: int, generator: Generator) -> Problem:
    return _known(
        lambda n: generator.multivariate_normal(*p, n), lambda n: generator.multivariate_normal(*q, n),
        lambda x: stats.multivariate_normal.logpdf(x, *p) - stats.multivariate_normal.logpdf(x, *q), n_t, n_s,
    )  # fmt: skip


def _known(
    p: Callable[[int], Floats], q: Callable[[int], Floats], log_ratio: Callable[[Floats], Floats], n_t: int, n_s: int
) -> Problem:
    target, train, fresh = p(n_t), q(n_s), q(5000)
    return Problem(target, train, fresh, np.exp(log_ratio(fresh)))


def scale(n: int, g: Generator, *, d: int = 2, variance: float = 4.0) -> Problem:
    return _gaussians((np.zeros(d), np.eye(d)), (np.zeros(d), variance * np.eye(d)), n, n, g)


def heavy_tails(
    n: int, g: Generator, *, d: int = 2, freedom: float = 3.0, shift: float = 1.0, spread: float = 1.5
) -> Problem:
    def log_ratio(x: Floats) -> Floats:
        return (stats.t.logpdf(x, freedom) - stats.t.logpdf(x, freedom, shift, spread)).sum(axis=1)

    return _known(
        lambda m: g.standard_t(freedom, (m, d)), lambda m: shift + spread * g.standard_t(freedom, (m, d)),
        log_ratio, n, n,
    )  # fmt: skip


def correlated(n: int, g: Generator, *, d: int = 3, of_target: float = 0.6, of_train: float = -0.2) -> Problem:
    def covariance(r: float) -> Floats:
        return (1 - r) * np.eye(d) + r * np.ones((d, d))

    return _gaussians((np.zeros(d), covariance(of_target)), (np.zeros(d), covariance(of_train)), n, n, g)


def few_target(n: int, g: Generator, *, d: int = 3, shift: float = 0.6, share: int = 50) -> Problem:
    return _gaussians((np.full(d, shift), np.eye(d)), (np.zeros(d), np.eye(d)), max(n // share, 10), n, g)


def few_train(n: int, g: Generator, *, d: int = 3, shift: float = 0.6, share: int = 50) -> Problem:
    return _gaussians((np.full(d, shift), np.eye(d)), (np.zeros(d), np.eye(d)), n, max(n // share, 10), g)


def waves(n: int, g: Generator, *, height: float = 0.9, across: float = 2.0, along: float = 1.0) -> Problem:
    def density(x: Floats) -> Floats:
        return 1 + height * np.sin(across * np.pi * x[:, 0]) * np.cos(along * np.pi * x[:, 1])

    def target(m: int) -> Floats:
        x = g.uniform(-1, 1, (4 * m + 100, 2))
        return x[g.uniform(0, 1 + height, len(x)) < density(x)][:m]

    return _known(target, lambda m: g.uniform(-1, 1, (m, 2)), lambda x: np.log(density(x)), n, n)


def mixed_units(
    n: int, g: Generator, *, variance: float = 1.5, mean: tuple[float, ...] = (0.5, -0.5, 0.5, 0.0)
) -> Problem:
    units = np.array([1e-3, 1.0, 30.0, 1e4])
    plain = _gaussians((np.array(mean), np.eye(4)), (np.zeros(4), variance * np.eye(4)), n, n, g)
    return Problem(plain.target * units, plain.train * units, plain.fresh * units, plain.truth)


def ties(n: int, g: Generator, *, d: int = 2, of_target: float = 2.0, of_train: float = 3.0) -> Problem:
    def draw(rate: float) -> Callable[[int], Floats]:
        return lambda m: np.column_stack([g.poisson(rate, (m, d)), np.full(m, 7.0)]).astype(float)

    def log_ratio(x: Floats) -> Floats:
        return d * (of_train - of_target) + x[:, :d].sum(axis=1) * np.log(of_target / of_train)

    return _known(draw(of_target), draw(of_train), log_ratio, n, n)


def categorical(
    n: int, g: Generator, *, p: tuple[float, ...] = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04),
    u: tuple[float, ...] = (0.5, 0.3, 0.2), v: tuple[float, ...] = (0.2, 0.3, 0.5),
) -> Problem:  # fmt: skip
    k, m = len(p), len(u)
    q = np.full(k, 1 / k)

    def draw(a: Any, b: Any) -> Callable[[int], Floats]:
        return lambda rows: np.hstack([np.eye(k)[g.choice(k, rows, p=a)], np.eye(m)[g.choice(m, rows, p=b)]])

    def log_ratio(x: Floats) -> Floats:
        return x[:, :k] @ np.log(np.array(p) / q) + x[:, k:] @ np.log(np.array(u) / np.array(v))

    return _known(draw(p, u), draw(q, v), log_ratio, n, n)


def _mixture(p: Floats, q: Floats, means: Floats, n_t: int, n_s: int, g: Generator) -> Problem:
    def draw(shares: Floats) -> Callable[[int], Floats]:
        return lambda m: means[g.choice(len(shares), m, p=shares)] + g.normal(size=(m, means.shape[1]))

    def log_ratio(x: Floats) -> Floats:
        logs = -((x[:, None, :] - means) ** 2).sum(axis=2) / 2
        logs = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.log(logs @ p) - np.log(logs @ q)

    return _known(draw(p), draw(q), log_ratio, n_t, n_s)


def topics(n: int, g: Generator, *, distance: float = 0.5, seed: int = 0) -> Problem:
    means = distance * np.random.default_rng(seed).normal(size=(8, 64))
    p = np.array([0.3, 0.25, 0.2, 0.1, 0.05, 0.04, 0.03, 0.03])
    return _mixture(p, p[::-1].copy(), means, n, n, g)


def multi_source(
    n: int, g: Generator, *, away: float = 2.5, shares: tuple[float, ...] = (0.2, 0.4, 0.4), d: int = 2
) -> Problem:
    means = np.zeros((3, d))
    means[1, 0] = means[2, 1] = away
    return _mixture(np.array([1.0, 0.0, 0.0]), np.array(shares), means, n // 4, n, g)


def near_disjoint(n: int, g: Generator, *, d: int = 2, away: float = 3.0) -> Problem:
    mean = np.zeros(d)
    mean[0] = away
    return _gaussians((mean, np.eye(d)), (np.zeros(d), np.eye(d)), n, n, g)


def identical(n: int, g: Generator, *, d: int = 3) -> Problem:
    return _gaussians((np.zeros(d), np.eye(d)), (np.zeros(d), np.eye(d)), n, n, g)


def sparse(n: int, g: Generator, *, rate: float = 0.05, raised: float = 0.2, columns: int = 5) -> Problem:
    p, q = np.full(200, rate), np.full(200, rate)
    p[:columns] = raised

    def draw(shares: Floats) -> Callable[[int], Floats]:
        return lambda m: (g.uniform(size=(m, 200)) < shares).astype(float)

    def log_ratio(x: Floats) -> Floats:
        return x @ np.log(p / q) + (1 - x) @ np.log((1 - p) / (1 - q))

    return _known(draw(p), draw(q), log_ratio, n, n)


PROBLEMS: dict[str, Callable[[int, Generator], Problem]] = {
    f.__name__.replace("_", " "): f
    for f in (
        scale, heavy_tails, correlated, few_target, few_train, waves, mixed_units, ties, categorical, topics,
        multi_source, near_disjoint, identical, sparse,
    )
}  # fmt: skip

VARIANTS: dict[str, Callable[[int, Generator], Problem]] = {
    f.func.__name__.replace("_", " "): f
    for f in (
        partial(scale, d=3, variance=2.5), partial(heavy_tails, freedom=4.0, shift=0.5, spread=1.3),
        partial(correlated, d=4, of_target=0.3, of_train=-0.1), partial(few_target, d=5, shift=0.4, share=30),
        partial(few_train, d=2, shift=0.8, share=30), partial(waves, height=0.7, across=1.0, along=1.5),
        partial(mixed_units, variance=1.2, mean=(0.3, 0.0, -0.6, 0.4)),
        partial(ties, d=3, of_target=1.5, of_train=1.0),
        partial(categorical, p=(0.3, 0.3, 0.2, 0.1, 0.1), u=(0.25, 0.25, 0.5), v=(0.4, 0.4, 0.2)),
        partial(topics, distance=0.4, seed=1), partial(multi_source, away=2.0, shares=(0.3, 0.5, 0.2), d=3),
        partial(near_disjoint, d=3, away=2.5), partial(identical, d=6),
        partial(sparse, rate=0.1, raised=0.22, columns=8),
    )
}  # fmt: skip
"""The same families with other parameters: kernel methods were not tuned on them, the averaging was seen on them."""
