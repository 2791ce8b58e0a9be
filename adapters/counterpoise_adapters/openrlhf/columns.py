"""Dataset columns on their way past OpenRLHF's datasets, which know a fixed set of names."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from ..pytorch.columns import number
from ..pytorch.config import RobustConfig

Base: Any = object  # a dataset comes here; type checkers run without OpenRLHF
KEPT = {"extra": "extras", "prompt_ids_len": "prompt_ids_lens"}  # what process_data returns, and where it ends up
PLAIN = "counterpoise_plain"


class Batch:
    """A batch that unpacks as the stock one does, and holds the rows' columns, shapes (examples,), in float64."""

    def __init__(self, fields: Any, columns: dict[str, Tensor]) -> None:
        self.fields, self.columns = fields, columns

    def __getitem__(self, place: Any) -> Any:
        return self.fields[place]

    def pin_memory(self) -> Batch:
        """Pin what can be; data loaders call it."""
        return Batch([f.pin_memory() if isinstance(f, Tensor) else f for f in self.fields], self.columns)


class Carrying:
    """A dataset of which one ``map`` keeps columns in a field that survives what follows, filters included."""

    def __init__(self, dataset: Any, names: list[str]) -> None:
        self._dataset, self.column_names, self._names = dataset, dataset.column_names, names

    def map(self, process: Any, **kwargs: Any) -> Any:
        """Process rows as OpenRLHF does, in any number of processes."""
        return self._dataset.map(functools.partial(keep, process, self._names), **kwargs)


def keep(process: Any, names: list[str], data: dict[str, Any]) -> dict[str, Any]:
    """Process a row, and pack its columns beside what the field holds."""
    columns, row = {name: data[name] for name in names}, process(data)
    field = next(field for field in KEPT if field in row)
    return {**row, field: {PLAIN: row[field], **columns}}


class ColumnsMixin(Base):  # type: ignore[misc]
    """Before a dataset's class, keep columns with their rows: see `with_columns`."""

    robust_config: RobustConfig

    def __init__(self, dataset: Any, *args: Any, **kwargs: Any) -> None:
        names = [name for name in self.robust_config.carried if name in dataset.column_names]
        super().__init__(Carrying(dataset, names), *args, **kwargs)
        place = next(place for place in KEPT.values() if hasattr(self, place))
        rows = list(getattr(self, place))
        setattr(self, place, [row[PLAIN] for row in rows])
        self.columns = {name: [row[name] for row in rows] for name in names}

    def __getitem__(self, place: int) -> Any:
        return super().__getitem__(place), [number(values[place]) for values in self.columns.values()]

    def collate_fn(self, rows: list[Any]) -> Batch:
        """Collate rows as OpenRLHF does."""
        values = torch.tensor([numbers for _, numbers in rows], dtype=torch.float64).reshape(len(rows), -1)
        return Batch(super().collate_fn([row for row, _ in rows]), dict(zip(self.columns, values.T, strict=True)))


def with_columns(dataset_class: type, config: RobustConfig) -> type:
    """Return RewardDataset or SFTDataset, arguments unchanged, with the columns that a `RobustConfig` names."""
    if not (isinstance(dataset_class, type) and hasattr(dataset_class, "process_data")):
        raise TypeError(f"{dataset_class!r} is no dataset's class of OpenRLHF: it has no process_data")
    return type(f"Robust{dataset_class.__name__}", (ColumnsMixin, dataset_class), {"robust_config": config})
