"""Dataset columns on their way past TRL's tokenisation and collators, which know a fixed set of names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

KEY = "counterpoise_columns"


class Carrier:
    """A collator that adds columns to the batches of a trainer's own, which does not see them.

    They travel under one key, shape (examples, columns), NaN for what is missing, as the bits of float64 in int64:
    DeepSpeed casts what is floating to the model's precision.
    """

    def __init__(self, collator: Any, names: list[str]) -> None:
        self.collator, self.names = collator, names

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate examples."""
        rows = [[number(example.get(name)) for name in self.names] for example in examples]
        batch = self.collator([{k: v for k, v in example.items() if k not in self.names} for example in examples])
        return {**batch, KEY: torch.tensor(rows, dtype=torch.float64).view(torch.int64)}


def number(value: Any) -> float:
    """Return a float, NaN for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def unpack(inputs: Any) -> tuple[Any, Tensor | None]:
    """Split a batch into what TRL knows and the columns, shape (columns, examples), or None where there are none."""
    if not isinstance(inputs, dict) or KEY not in inputs:
        return inputs, None
    return {k: v for k, v in inputs.items() if k != KEY}, inputs[KEY].view(torch.float64).T


def usable(side: Tensor, name: str) -> None:
    """Raise unless a batch's values are finite and ≥ 0."""
    if not bool(((side >= 0) & side.isfinite()).all()):
        raise ValueError(f"column {name!r} is {side.tolist()} in a batch; finite numbers >= 0 are needed")


def check(dataset: Any, name: str, objective: str) -> None:
    """Raise unless the dataset has the column and, where its rows can be counted, numbers ≥ 0 in it."""
    names = getattr(dataset, "column_names", None) or list(next(iter(dataset), {}))
    if name not in names:
        raise ValueError(
            f"objective {objective!r} needs the column {name!r}; the training dataset has {', '.join(names)}. "
            "`counterpoise weigh` writes it; RobustConfig(..._column=) names another"
        )
    if not hasattr(dataset, "__len__"):
        return  # a stream: its batches are checked as they come
    raw = list(dataset[name])
    values = np.array([number(value) for value in raw])
    bad = np.flatnonzero(~((values >= 0) & np.isfinite(values)))
    if bad.size:
        raise ValueError(
            f"column {name!r} of the training dataset is {raw[bad[0]]!r} in row {bad[0]} ({bad.size} such rows of "
            f"{len(raw)}); finite numbers >= 0 are needed"
        )
    if objective == "group_dro" and (values % 1).any():
        raise ValueError(f"column {name!r} holds {raw[0]!r}; code groups as the integers 0, 1, 2, ...")
    if objective != "group_dro" and not values.any():
        raise ValueError(f"column {name!r} of the training dataset is 0 in every row: nothing would be trained")
