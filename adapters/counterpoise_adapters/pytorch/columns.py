"""What a dataset's columns may hold, whichever trainer reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor


def number(value: Any) -> float:
    """Return a float, NaN for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def usable(side: Tensor, name: str) -> None:
    """Raise unless a batch's values are finite and ≥ 0."""
    if not bool(((side >= 0) & side.isfinite()).all()):
        raise ValueError(f"column {name!r} is {side.tolist()} in a batch; finite numbers >= 0 are needed")


def check(dataset: Any, name: str, objective: str) -> None:
    """Raise unless a dataset, or a mapping of columns, has the column and, where rows can be counted, numbers ≥ 0."""
    mapping = isinstance(dataset, Mapping)
    names = list(dataset) if mapping else getattr(dataset, "column_names", None) or list(next(iter(dataset), {}))
    if name not in names:
        raise ValueError(
            f"objective {objective!r} needs the column {name!r}; the training dataset has {', '.join(names) or 'none'}"
            ". `counterpoise weigh` writes it; RobustConfig(..._column=) names another"
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
