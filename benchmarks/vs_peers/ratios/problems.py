"""Fourteen pairs of distributions whose density ratio is known."""

from collections.abc import Callable
from typing import NamedTuple

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


def scale(n: int, g: Generator) -> Problem:
    return _gaussians((np.zeros(2), np.eye(2)), (np.zeros(2), 4 * np.eye(2)), n, n, g)


def heavy_tails(n: int, g: Generator) -> Problem:
    def log_ratio(x: Floats) -> Floats:
        return (stats.t.logpdf(x, 3) - stats.t.logpdf(x, 3, 1.0, 1.5)).sum(axis=1)

    return _known(lambda m: g.standard_t(3, (m, 2)), lambda m: 1 + 1.5 * g.standard_t(3, (m, 2)), log_ratio, n, n)


def correlated(n: int, g: Generator) -> Problem:
    def covariance(r: float) -> Floats:
        return (1 - r) * np.eye(3) + r * np.ones((3, 3))

    return _gaussians((np.zeros(3), covariance(0.6)), (np.zeros(3), covariance(-0.2)), n, n, g)


def few_target(n: int, g: Generator) -> Problem:
    return _gaussians((np.full(3, 0.6), np.eye(3)), (np.zeros(3), np.eye(3)), max(n // 50, 10), n, g)


def few_train(n: int, g: Generator) -> Problem:
    return _gaussians((np.full(3, 0.6), np.eye(3)), (np.zeros(3), np.eye(3)), n, max(n // 50, 10), g)


def waves(n: int, g: Generator) -> Problem:
    def density(x: Floats) -> Floats:
        return 1 + 0.9 * np.sin(2 * np.pi * x[:, 0]) * np.cos(np.pi * x[:, 1])

    def target(m: int) -> Floats:
        x = g.uniform(-1, 1, (4 * m + 100, 2))
        return x[g.uniform(0, 1.9, len(x)) < density(x)][:m]

    return _known(target, lambda m: g.uniform(-1, 1, (m, 2)), lambda x: np.log(density(x)), n, n)


def mixed_units(n: int, g: Generator) -> Problem:
    units, mean = np.array([1e-3, 1.0, 30.0, 1e4]), np.array([0.5, -0.5, 0.5, 0.0])
    plain = _gaussians((mean, np.eye(4)), (np.zeros(4), 1.5 * np.eye(4)), n, n, g)
    return Problem(plain.target * units, plain.train * units, plain.fresh * units, plain.truth)


def ties(n: int, g: Generator) -> Problem:
    def draw(rate: float) -> Callable[[int], Floats]:
        return lambda m: np.column_stack([g.poisson(rate, (m, 2)), np.full(m, 7.0)]).astype(float)

    return _known(draw(2.0), draw(3.0), lambda x: 2.0 + x[:, :2].sum(axis=1) * np.log(2 / 3), n, n)


def categorical(n: int, g: Generator) -> Problem:
    p, q = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04]), np.full(6, 1 / 6)
    u, v = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])

    def draw(a: Floats, b: Floats) -> Callable[[int], Floats]:
        return lambda m: np.hstack([np.eye(6)[g.choice(6, m, p=a)], np.eye(3)[g.choice(3, m, p=b)]])

    return _known(draw(p, u), draw(q, v), lambda x: x[:, :6] @ np.log(p / q) + x[:, 6:] @ np.log(u / v), n, n)


def _mixture(p: Floats, q: Floats, means: Floats, spread: float, n_t: int, n_s: int, g: Generator) -> Problem:
    def draw(shares: Floats) -> Callable[[int], Floats]:
        return lambda m: means[g.choice(len(shares), m, p=shares)] + spread * g.normal(size=(m, means.shape[1]))

    def log_ratio(x: Floats) -> Floats:
        logs = -((x[:, None, :] - means) ** 2).sum(axis=2) / (2 * spread**2)
        logs = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.log(logs @ p) - np.log(logs @ q)

    return _known(draw(p), draw(q), log_ratio, n_t, n_s)


def topics(n: int, g: Generator) -> Problem:
    means = 0.5 * np.random.default_rng(0).normal(size=(8, 64))
    p = np.array([0.3, 0.25, 0.2, 0.1, 0.05, 0.04, 0.03, 0.03])
    return _mixture(p, p[::-1].copy(), means, 1.0, n, n, g)


def multi_source(n: int, g: Generator) -> Problem:
    means = np.array([[0.0, 0.0], [2.5, 0.0], [0.0, 2.5]])
    return _mixture(np.array([1.0, 0.0, 0.0]), np.array([0.2, 0.4, 0.4]), means, 1.0, n // 4, n, g)


def near_disjoint(n: int, g: Generator) -> Problem:
    return _gaussians((np.array([3.0, 0.0]), np.eye(2)), (np.zeros(2), np.eye(2)), n, n, g)


def identical(n: int, g: Generator) -> Problem:
    return _gaussians((np.zeros(3), np.eye(3)), (np.zeros(3), np.eye(3)), n, n, g)


def sparse(n: int, g: Generator) -> Problem:
    p, q = np.full(200, 0.05), np.full(200, 0.05)
    p[:5] = 0.2

    def draw(rate: Floats) -> Callable[[int], Floats]:
        return lambda m: (g.uniform(size=(m, 200)) < rate).astype(float)

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
