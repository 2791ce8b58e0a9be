"""The units of work: what a table's row is computed from, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from .worlds import REGIMES

__all__ = ["KINDS", "NOT_RUN", "Unit", "units"]

KINDS = ("pairs", "lists", "real", "real-neural", "gpt", "smollm2")
NOT_RUN = {"smollm2": "needs a CUDA device, and none was there"}
SHARED = ("arms", "fitting", "training")
SPLITS, MODELS = 6, 2


@dataclass(frozen=True)
class Unit:
    """One row of a table.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    name : str
        Of the world or data set.
    modules : tuple of str
        What it depends on.
    seeds : int
        Worlds, splits or models.
    compute : callable
        Returns its result.
    """

    kind: str
    name: str
    modules: tuple[str, ...]
    seeds: int
    compute: Callable[[], dict[str, Any]]


def units(kinds: tuple[str, ...], seeds: int) -> Iterator[Unit]:
    """Yield all units of the given kinds.

    Parameters
    ----------
    kinds : tuple of str
        Of `KINDS`.
    seeds : int
        Worlds of each regime; splits and models are fewer.
    """
    from . import gpt, neural, real, smollm2, synthetic

    for shape in ("pairs", "lists"):
        many = seeds if shape == "pairs" else max(2, 3 * seeds // 5)  # a list of four holds six pairs
        for name in REGIMES if shape in kinds else ():
            compute = partial(synthetic.run_regime, name, shape, many)
            yield Unit(shape, name, (*SHARED, "synthetic", "worlds"), many, compute)
    for kind, module in (("real", real), ("real-neural", neural)):
        for name in real.DATASETS if kind in kinds else ():
            modules = (*SHARED, "real", *(["neural"] if module is neural else []))
            yield Unit(kind, name, modules, SPLITS, partial(module.run_dataset, name, SPLITS))
    if "gpt" in kinds:
        yield Unit("gpt", gpt.DATASET, (*SHARED, "real", "gpt"), MODELS, partial(gpt.run, MODELS))
    if "smollm2" in kinds and smollm2.available():
        yield Unit("smollm2", gpt.DATASET, (*SHARED, "real", "gpt", "smollm2"), MODELS, partial(smollm2.run, MODELS))
