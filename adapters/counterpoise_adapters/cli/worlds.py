"""Worlds generated from a seed: pairs of responses whose labels may depend on who wrote them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIKE", "BIASED", "SAME", "World", "draw_pairs"]

Floats = NDArray[np.float64]
DIMENSIONS = 6


@dataclass(frozen=True)
class World:
    """A mixture response shift: sources that write differently, and judge differently.

    Responses are Gaussian around their source's style; a pair is labelled by a Bradley-Terry judge with the source's
    taste. The model is judged on pairs of source 0, the target.

    Parameters
    ----------
    title : str
        For the figure.
    distance : tuple of float
        Of each source but the target: standard deviations between its style and the target's.
    bias : tuple of float
        How far its taste turns away from the target's: 0 is the same taste, 1 lies at 45 degrees to it.
    """

    title: str
    distance: tuple[float, ...]
    bias: tuple[float, ...]


BIASED = World("labels biased by source", distance=(0.5, 2.5), bias=(0.0, 2.0))
ALIKE = World("biased, but sources write alike", distance=(0.0, 0.0), bias=(0.0, 2.0))
SAME = World("no shift", distance=(0.0, 0.0), bias=(0.0, 0.0))


def draw_pairs(world: World, counts: tuple[int, ...], seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Draw labelled pairs.

    Parameters
    ----------
    world : World
        Styles and tastes.
    counts : tuple of int
        Number of pairs of each source, the target's first; sources may be left out from the end.
    seed : int
        Of the draw; the styles and tastes of a world are the same for every seed.

    Returns
    -------
    (array of shape (n, 2, 6), array of int of shape (n,))
        Features of the responses, the preferred first, and the source of each pair.

    Examples
    --------
    >>> items, source = draw_pairs(BIASED, (1, 2), seed=0)
    >>> items.shape, source
    ((3, 2, 6), array([0, 1, 1]))
    """
    generator = np.random.default_rng(seed)
    axes = np.eye(DIMENSIONS)
    source = np.repeat(np.arange(len(counts)), counts)
    taste, style = [2.0 * axes[0]], [0.0 * axes[0]]
    for other, (distance, bias) in enumerate(zip(world.distance[: len(counts) - 1], world.bias, strict=False), start=1):
        taste.append(2.0 * (axes[0] + bias * axes[other]) / np.hypot(1.0, bias))
        style.append(distance * axes[DIMENSIONS - other])
    items = generator.normal(size=(len(source), 2, DIMENSIONS)) + np.asarray(style)[source][:, None]
    scores = np.einsum("nkd,nd->nk", items, np.asarray(taste)[source])
    first = generator.random(len(source)) < 1.0 / (1.0 + np.exp(scores[:, 1] - scores[:, 0]))
    return np.where(first[:, None, None], items, items[:, ::-1]), source
