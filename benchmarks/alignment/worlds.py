"""Thirteen worlds generated from a seed, from no shift to a golden set that is itself shifted, as pairs and as lists.

Responses are Gaussian around the style of their source and are judged with their source's taste (Bradley-Terry). The
first source is the target. Policies are linear in the response, and a regime may put the truth out of their reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["REGIMES", "Draw", "Regime", "draw_lists", "draw_pairs", "true_log_ratio"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
DIMENSIONS = 6
SHARPNESS = 2.0  # length of a taste: how far a judge tells a response from one a standard deviation worse


@dataclass(frozen=True)
class Regime:
    """What differs between the sources, and between the target and what the model is judged on.

    Parameters
    ----------
    title : str
        In words.
    counts : tuple of int
        Training pairs of each source, the target's first.
    distance : tuple of float
        Of each source but the target: standard deviations between its style and the target's.
    bias : tuple of float
        How far its taste turns away from the target's: 0 is the same taste, 1 lies at 45 degrees to it.
    flips : tuple of float
        Probability that a label of each source, the target's first, is turned around.
    curvature : float
        How far the taste, everywhere the same function, turns with the response's style; a linear policy cannot follow.
    minority : float
        Share of the target's responses that come from a group with a style and a taste of its own.
    spread : float
        Standard deviation of the target's responses; that of all others is 1.
    golden : float
        By how many standard deviations, and how far in taste, the test pairs differ from the target's training pairs.
    unclipped : bool
        Whether the ratio is taken against the other sources alone, which has no bound, as if no target row were among
        the training data.
    """

    title: str
    counts: tuple[int, ...] = (240, 320, 400)
    distance: tuple[float, ...] = (2.0, 2.5)
    bias: tuple[float, ...] = (0.0, 0.0)
    flips: tuple[float, ...] = (0.0, 0.0, 0.0)
    curvature: float = 0.0
    minority: float = 0.0
    spread: float = 1.0
    golden: float = 0.0
    unclipped: bool = False


BIAS = (1.0, 2.0)
REGIMES = {
    "no shift": Regime("no shift", distance=(0.0, 0.0)),
    "covariate": Regime("covariate shift, the policy can represent the truth"),
    "misspecified": Regime("covariate shift, it cannot", curvature=0.6),
    "biased": Regime("labels biased by source", bias=BIAS),
    "inseparable": Regime("biased, but sources write alike", distance=(0.0, 0.0), bias=BIAS),
    "flips": Regime("40 % of the other sources' labels flipped", flips=(0.0, 0.4, 0.4)),
    "small share": Regime("biased, target share 5 %", counts=(48, 400, 512), bias=BIAS),
    "minority": Regime("biased, 30 % of the target a minority", bias=BIAS, minority=0.3),
    "small n": Regime("biased, 300 pairs", counts=(75, 100, 125), bias=BIAS),
    "far": Regime("biased, styles 4 standard deviations away", distance=(4.0, 4.0), bias=BIAS),
    "heavy tails": Regime(
        "biased, heavy-tailed ratio without a bound", counts=(48, 400, 512), distance=(1.0, 1.5), bias=BIAS,
        spread=1.5, unclipped=True,
    ),
    "noisy target": Regime("biased, 30 % of the target's labels flipped", bias=BIAS, flips=(0.3, 0.0, 0.0)),
    "golden": Regime("biased, golden set shifted from what is judged", bias=BIAS, golden=0.75),
}  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """Training data of one seed, and target data to judge by.

    Parameters
    ----------
    items : array, shape (n, K, d)
        Responses in the order of preference as labelled, the best first; K = 2 for pairs.
    source : array of int, shape (n,) for pairs, (n, K) for lists
        Source of each pair, or of each response of a list; 0 is the target.
    test : array, shape (m, K, d)
        Responses of target lists in the order that the target's taste gives without noise.
    test_labelled : array, shape (m, K, d)
        The same lists in the order of noisy labels, as one would have them.
    """

    items: Floats
    source: Integers
    test: Floats
    test_labelled: Floats


def draw_pairs(regime: Regime, seed: int, *, test: int = 1000, target_only: bool = False) -> Draw:
    """Draw labelled pairs; both responses of a pair come from its source.

    Parameters
    ----------
    regime : Regime
        One of `REGIMES`, or another.
    seed : int
        Of the draw; styles and tastes are the same for every seed.
    test : int
        Test pairs, of the target.
    target_only : bool
        Draw as many training pairs, all of what the test pairs are drawn from: the upper bound.

    Returns
    -------
    Draw
        Sources in blocks.
    """
    source = np.repeat(np.arange(len(regime.counts)), regime.counts)
    return _draw(regime, np.repeat(source[:, None], 2, axis=1), seed, test, target_only, slots=2, pairs=True)


def draw_lists(
    regime: Regime, seed: int, *, lists: int = 240, slots: int = 4, test: int = 500, target_only: bool = False
) -> Draw:
    """Draw ranked lists whose responses come each from a source of its own, in the regime's shares.

    Parameters
    ----------
    regime, seed, test, target_only
        As in `draw_pairs`; test lists hold target responses only.
    lists, slots : int
        Training lists, and responses in each.

    Returns
    -------
    Draw
        With a source for every response.
    """
    shares = np.asarray(regime.counts) / sum(regime.counts)
    lists = max(60, round(lists * sum(regime.counts) / sum(Regime("").counts)))
    source = np.random.default_rng((seed, 7)).choice(len(shares), size=(lists, slots), p=shares)
    return _draw(regime, source, seed, test, target_only, slots=slots, pairs=False)


def true_log_ratio(regime: Regime, responses: Floats) -> Floats:
    """Return log dQ0/dQi of single responses, label-blind; minority and golden set apart, it is exact.

    Parameters
    ----------
    regime : Regime
        Whose styles are Gaussian.
    responses : array, shape (..., d)
        Features.

    Returns
    -------
    array, shape (..., sources)
        One column for each source but the target.
    """
    styles = _styles(regime)
    target = _log_normal(responses, styles[0], regime.spread)
    return np.stack([target - _log_normal(responses, style, 1.0) for style in styles[1:]], axis=-1)


def _draw(
    regime: Regime, source: Integers, seed: int, test: int, target_only: bool, *, slots: int, pairs: bool
) -> Draw:
    generator = np.random.default_rng((seed, 0))
    if target_only:
        items, _ = _target_lists(regime, len(source), slots, np.random.default_rng((seed, 2)))
        source = np.zeros_like(source)
    else:
        items = _responses(regime, source, generator)
        scores = _scores(regime, items, source)
        flip = (
            generator.random(source[:, :1].shape if pairs else source.shape)
            < np.asarray(regime.flips)[source[:, :1] if pairs else source]
        )
        items = _ranked(items, np.where(flip, -scores, scores), generator)
    judged = np.random.default_rng((seed, 1))
    labelled, truth = _target_lists(regime, test, slots, judged)
    return Draw(items, source[:, 0] if pairs else source, truth, labelled)


def _target_lists(regime: Regime, lists: int, slots: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw lists of what the model is judged on, in the order of noisy labels and in the true order."""
    source = np.zeros((lists, slots), dtype=np.int64)
    items = _responses(regime, source, generator, golden=regime.golden)
    scores = _scores(regime, items, source, golden=regime.golden)
    order = np.argsort(-scores, axis=1)
    return _ranked(items, scores, generator), np.take_along_axis(items, order[..., None], axis=1)


def _styles(regime: Regime) -> list[Floats]:
    """Return the centre of each source's responses; the styles of the others lie on axes of their own."""
    axes = np.eye(DIMENSIONS)
    if regime.curvature:  # one axis, along which the taste turns: averages over it mislead
        return [0.0 * axes[0], *(d * axes[-1] for d in regime.distance)]
    return [0.0 * axes[0], *(d * axes[-i] for i, d in enumerate(regime.distance, start=1))]


def _responses(regime: Regime, source: Integers, generator: np.random.Generator, *, golden: float = 0.0) -> Floats:
    noise = generator.normal(size=(*source.shape, DIMENSIONS))
    wide = np.where(source == 0, regime.spread, 1.0)[..., None]
    items = np.asarray(_styles(regime))[source] + wide * noise
    mine = (source == 0)[..., None]
    if regime.minority:
        # a whole list, its prompt as it were, is of the minority or is not
        few = (generator.random(len(source)) < regime.minority).reshape(-1, *[1] * source.ndim)
        items = items + 2.0 * (mine & few) * np.eye(DIMENSIONS)[3]
    return np.asarray(items + golden * mine * np.eye(DIMENSIONS)[4])


def _scores(regime: Regime, items: Floats, source: Integers, *, golden: float = 0.0) -> Floats:
    """Return the utility of each response to the judge of its source."""
    axes = np.eye(DIMENSIONS)
    tastes = [axes[0] + golden * axes[3]]
    for other, bias in enumerate(regime.bias, start=1):
        tastes.append(axes[0] + bias * axes[other])
    units = np.asarray([SHARPNESS * taste / np.linalg.norm(taste) for taste in tastes])
    scores = np.einsum("...d,...d->...", items, units[source])
    scores = scores + regime.curvature * SHARPNESS * items[..., -1] * items[..., 1]
    if regime.minority:
        centre = items[..., 3].mean(axis=-1, keepdims=True)
        scores = scores + SHARPNESS * (source == 0) * (centre > 1.0) * items[..., 2]
    return np.asarray(scores)


def _ranked(items: Floats, scores: Floats, generator: np.random.Generator) -> Floats:
    """Order each list as a Plackett-Luce judge would: the largest score plus Gumbel noise first."""
    order = np.argsort(-(scores + generator.gumbel(size=scores.shape)), axis=1)
    return np.take_along_axis(items, order[..., None], axis=1)


def _log_normal(responses: Floats, style: Floats, spread: float) -> Floats:
    distance = ((responses - style) ** 2).sum(axis=-1)
    return np.asarray(-0.5 * distance / spread**2 - responses.shape[-1] * np.log(spread))
