"""Worlds drawn at random: how many rows and sources, how far apart, how biased, how bent the truth is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Problem", "draw_world"]

Floats = NDArray[np.float64]
TEST = 4000


@dataclass(frozen=True)
class Problem:
    """Rows to train on and target rows to be judged by.

    Parameters
    ----------
    name : str
        Of the world or file; seeds of one name are averaged.
    x : array, shape (n, d)
        What the policy sees: differences of the pair's features, or features times the label.
    z : array, shape (n, p)
        What the ratio sees: both responses in their order, or features and label.
    source : array of int, shape (n,)
        0 is the target.
    key : array, shape (n,)
        Rows of one key stay together.
    test : array, shape (m, d)
        Like ``x``, of fresh target rows.
    labelled : bool
        Whether rows are samples with labels rather than pairs.
    """

    name: str
    x: Floats
    z: Floats
    source: NDArray[np.int64]
    key: NDArray[np.int64]
    test: Floats
    labelled: bool = False

    @property
    def blind(self) -> Floats:
        """What ``z`` says of the features alone, as `advise` lays them out."""
        if self.labelled:  # z holds features, features times label, label
            return self.z[:, : self.z.shape[1] // 2]
        first, second = np.split(self.z, 2, axis=1)
        return np.hstack([first + second, np.abs(first - second)])


def _pairs(generator: np.random.Generator, style: Floats, score, temperature: float, flips: float, tails: float):
    n, d = style.shape
    noise = generator.normal(size=(n, 2, d))
    if tails:
        noise = generator.standard_t(tails, size=(n, 2, d))
    items = noise + style[:, None]
    gap = temperature * (score(items[:, 0]) - score(items[:, 1]))
    first = generator.random(n) < 1.0 / (1.0 + np.exp(-gap))
    first ^= generator.random(n) < flips
    return np.where(first[:, None, None], items, items[:, ::-1])


def draw_world(family: str, seed: int) -> Problem:
    """Draw the settings of a world, then its rows.

    Parameters
    ----------
    family : str
        "gauss" (pairs of Gaussian responses, the truth linear or bent), "heavy" (Student-t responses, saturating
        tastes, other ranges), or "labels" (samples with labels ±1, sources that differ in features, labels or both).
    seed : int
        Of everything.
    """
    generator = np.random.default_rng([seed, sum(map(ord, family))])
    g = generator
    if family == "gauss":
        d, sources = int(g.choice([4, 6, 10, 20])), int(g.integers(1, 4))
        n_target, n_other = (
            int(np.exp(g.uniform(np.log(20), np.log(300)))),
            int(np.exp(g.uniform(np.log(200), np.log(2000)))),
        )
        distances, biases, bends, flip = (
            [0.0, 0.0, 0.5, 1.0, 2.5, 4.0],
            [0.0, 0.0, 0.3, 1.0, 2.0, -3.0],
            [0.0, 0.0, 0.5, 1.5],
            [0.0, 0.0, 0.2, 0.4],
        )
        tails = 0.0
    else:
        d, sources = int(g.choice([5, 8, 16, 30])), int(g.integers(1, 5))
        n_target, n_other = (
            int(np.exp(g.uniform(np.log(25), np.log(400)))),
            int(np.exp(g.uniform(np.log(150), np.log(1500)))),
        )
        distances, biases, bends, flip = (
            [0.0, 0.3, 1.0, 2.0, 3.0],
            [0.0, 0.0, 0.5, 1.5, -2.0],
            [0.0, 0.7, 2.0],
            [0.0, 0.1, 0.3],
        )
        tails = 4.0
    counts = np.concatenate([[n_target], g.multinomial(n_other, g.dirichlet(np.full(sources, 2.0)))])
    bend, temperature = float(g.choice(bends)), float(g.choice([0.7, 1.5, 3.0]))
    minority = float(g.choice([0.0, 0.0, 0.25]))
    axes = np.linalg.qr(g.normal(size=(d, d)))[0]

    def utility(taste: Floats):
        if family == "heavy":
            return lambda v: np.tanh(v @ taste) * 1.5 + bend * np.sin(v @ axes[1])
        return lambda v: v @ taste + bend * ((v @ axes[1]) ** 2 - 1) / np.sqrt(2)

    shared = bool(g.random() < 0.5)
    distance = [float(g.choice(distances)) for _ in range(sources)]
    bias = [float(g.choice(biases)) for _ in range(sources)]
    flips = [0.0] + [float(g.choice(flip)) for _ in range(sources)]
    if shared:
        distance, bias, flips = [distance[0]] * sources, [bias[0]] * sources, [0.0] + [flips[1]] * sources
    tastes = [axes[0]]
    for b in bias:
        away = axes[2] if shared else axes[int(g.integers(1, d))]
        tastes.append(
            (axes[0] + b * away) / np.hypot(1, b) if b >= 0 else (0.3 * axes[0] + b * 0.3 * axes[0] + away) / 1.2
        )

    def rows(source: NDArray[np.int64]):
        style = np.zeros((len(source), d))
        for s in range(1, sources + 1):
            style[source == s] = distance[s - 1] * axes[(2 + s) % d]
        if minority:
            odd = (source == 0) & (g.random(len(source)) < minority)
            style[odd] = 2.5 * axes[3]
        items = np.empty((len(source), 2, d))
        for s in range(sources + 1):
            mine = source == s
            items[mine] = _pairs(g, style[mine], utility(tastes[s]), temperature, flips[s], tails)
        return items

    source = np.repeat(np.arange(sources + 1), counts)
    train, test = rows(source), rows(np.zeros(TEST, dtype=np.int64))
    if family == "labels":  # one response each: the first won or lost against a bar at 0

        def labelled(items: Floats) -> tuple[Floats, Floats]:
            win = g.random(len(items)) < 0.5
            v = np.where(win[:, None], items[:, 0], items[:, 1])
            y = np.where(win, 1.0, -1.0)
            plus = np.hstack([v, np.ones((len(v), 1))])
            return plus * y[:, None], np.hstack([v, v * y[:, None], y[:, None]])

        (x, z), (x_test, _) = labelled(train), labelled(test)
    else:
        x, z, x_test = train[:, 0] - train[:, 1], train.reshape(len(train), -1), test[:, 0] - test[:, 1]
    name = f"{family}-{seed}"
    return Problem(name, x, z, source, np.arange(len(x)), x_test, family == "labels")
