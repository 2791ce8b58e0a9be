"""All arms in the thirteen worlds, on pairs and on lists, vectorised over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import counterpoise as cp

from .arms import ARMS, Columns, arm
from .training import FOLDS, Problem, columns_of, evaluate, stacked, train_arm
from .worlds import REGIMES, Draw, draw_lists, draw_pairs

__all__ = ["LIST_ARMS", "PAIR_ARMS", "UPPER", "run_regime"]

Floats = NDArray[np.float64]
UPPER = "upper bound"
PAIR_ARMS = (*(a.name for a in ARMS), UPPER)
PAIRS_OF_LIST = ("reweighting", "DoRA, λ = 1", "DoRA, scaled")
LIST_ARMS = (
    "ERM", "target only", "KL-DRO", "reweighting, list mean", "DoRA, paper", "DoRA, released",
    *(f"{name}, pair product" for name in PAIRS_OF_LIST), UPPER,
)  # fmt: skip


def run_regime(name: str, shape: str, seeds: int) -> dict[str, Any]:
    """Train every arm in one world.

    Parameters
    ----------
    name : str
        Of `REGIMES`.
    shape : {"pairs", "lists"}
        What is drawn.
    seeds : int
        How many worlds.

    Returns
    -------
    dict
        Arms, and accuracy and log-loss of each arm and seed; mean ratio and effective share of the examples.
    """
    return (_run_pairs if shape == "pairs" else _run_lists)(name, seeds)


def _run_pairs(name: str, seeds: int) -> dict[str, Any]:
    regime = REGIMES[name]
    draws = [draw_pairs(regime, seed) for seed in range(seeds)]
    made = []
    for seed, draw in enumerate(draws):
        chosen, rejected = draw.items[:, 0], draw.items[:, 1]
        aware, blind = (cp.pair_features(chosen, rejected, label_aware=aware) for aware in (True, False))
        made.append(
            columns_of(
                aware, blind, draw.items, draw.source, seed=seed, unclipped=regime.unclipped,
                groups=np.arange(len(draw.items)),
            )
        )  # fmt: skip
    columns = stacked(made)
    problem = Problem(np.stack([_differences(d.items) for d in draws]), columns, _folds(columns.target[:, 0]))
    thetas = [train_arm(problem, a)[0] for a in ARMS]
    thetas.append(_upper([draw_pairs(regime, seed, target_only=True) for seed in range(seeds)]))
    return _result(PAIR_ARMS, thetas, draws, columns)


def _run_lists(name: str, seeds: int) -> dict[str, Any]:
    """Train on lists of four whose slots have sources of their own: weighed as a whole, or pair by pair."""
    regime = REGIMES[name]
    draws = [draw_lists(regime, seed) for seed in range(seeds)]
    lists, pairs = zip(*(_list_columns(draw, seed) for seed, draw in enumerate(draws)), strict=True)
    differences = np.stack([_differences(d.items) for d in draws])
    many = differences.shape[1] // draws[0].items.shape[0]
    by_list, by_pair = stacked(lists), stacked(pairs)
    # folds of lists that hold target pairs, so that every fold has some to judge by
    fold = _folds(by_pair.target[:, 0].reshape(seeds, -1, many).max(axis=-1))
    whole = Problem(differences, by_list, fold, per_unit=many)
    parts = Problem(differences, by_pair, np.repeat(fold, many, axis=1))
    thetas: list[Floats] = []
    for label in LIST_ARMS[:-1]:
        base = label.removesuffix(", pair product").removesuffix(", list mean")
        chosen = arm(base)
        if base == "ERM" or label.endswith("pair product") or base == "target only":
            thetas.append(train_arm(parts, chosen)[0])
        else:
            thetas.append(train_arm(whole, chosen)[0])
    thetas.append(_upper([draw_lists(regime, seed, target_only=True) for seed in range(seeds)]))
    return _result(LIST_ARMS, thetas, draws, by_pair)


def _list_columns(draw: Draw, seed: int) -> tuple[Columns, Columns]:
    """Return what is known of whole lists and of their pairs, from classifiers of single responses."""
    lists, slots, d = draw.items.shape
    source = draw.source.reshape(-1)
    flat = draw.items.reshape(-1, 1, d)
    groups = np.repeat(np.arange(lists), slots)
    one = columns_of(flat[:, 0], flat[:, 0], flat, source, seed=seed, groups=groups)
    ratio = one.ratio.reshape(lists, slots)
    first, second = np.triu_indices(slots, k=1)
    is_target = (draw.source == 0).astype(float)
    mine = is_target[:, first] * is_target[:, second]
    paper = one.paper.reshape(lists, slots)
    probability = one.released.reshape(lists, slots)  # with one slot and share 1 the weight is the probability
    released = cp.released_calibration(probability.clip(0.0, 1.0))
    whole = Columns(mine.mean(axis=1), ratio.mean(axis=1), ratio.mean(axis=1), paper, released)
    with np.errstate(divide="ignore"):
        product = cp.ratio_at_level(np.log(ratio), level="pair").reshape(-1)
    pairs = Columns(mine.reshape(-1), product, product, np.ones((len(product), 1)), np.ones((len(product), 1)))
    return whole, pairs


def _differences(items: Floats) -> Floats:
    """Return the differences of all pairs of each list, in the order of `ratio_at_level`."""
    first, second = np.triu_indices(items.shape[1], k=1)
    return (items[:, first] - items[:, second]).reshape(-1, items.shape[-1])


def _folds(target: Floats) -> NDArray[np.int64]:
    """Deal target and other examples to the folds in turn."""
    fold = np.zeros(target.shape, dtype=np.int64)
    for row, mine in zip(fold, target > 0, strict=True):
        row[mine] = np.arange(mine.sum()) % FOLDS
        row[~mine] = np.arange((~mine).sum()) % FOLDS
    return fold


def _upper(draws: list[Draw]) -> Floats:
    """Train plainly on as many pairs of exactly what is judged."""
    differences = np.stack([_differences(draw.items) for draw in draws])
    everything = np.ones((len(draws), 1, differences.shape[1]))
    columns = Columns(everything, everything, everything, everything[..., None], everything[..., None])
    many = differences.shape[1] // len(draws[0].items)
    fold = np.repeat(_folds(everything[:, 0, ::many]), many, axis=1)
    return train_arm(Problem(differences, columns, fold), arm("ERM"))[0]


def _result(arms: tuple[str, ...], thetas: list[Floats], draws: list[Draw], columns: Columns) -> dict[str, Any]:
    test, labelled = np.stack([d.test for d in draws]), np.stack([d.test_labelled for d in draws])
    right, loss = zip(*(evaluate(theta, test, labelled) for theta in thetas), strict=True)
    ratio = columns.ratio[:, 0]
    return {
        "arms": list(arms),
        "accuracy": np.stack(right, axis=1).tolist(),
        "log_loss": np.stack(loss, axis=1).tolist(),
        "mean_ratio": float(ratio.mean()),
        "effective_share": float((cp.effective_sample_size(ratio) / ratio.shape[-1]).mean()),
        "test": int(test.shape[1]),
        "shared": 0.0,
    }
