"""Dataset columns on their way past TRL's tokenisation and collators, which know a fixed set of names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..pytorch.columns import number

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


def unpack(inputs: Any) -> tuple[Any, Tensor | None]:
    """Split a batch into what TRL knows and the columns, shape (columns, examples), or None where there are none."""
    if not isinstance(inputs, dict) or KEY not in inputs:
        return inputs, None
    return {k: v for k, v in inputs.items() if k != KEY}, inputs[KEY].view(torch.float64).T
