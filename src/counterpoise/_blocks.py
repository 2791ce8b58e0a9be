"""Many rows on a CPU go through a verb in blocks that stay in cache; rows are independent, so nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import array_api_compat as aac

from ._types import Array, Solution
from ._xp import is_traced

BLOCK = 32768
"""Elements a block: a temporary of 256 KiB in float64 is reused by the allocator instead of being mapped anew."""

P = ParamSpec("P")


def in_blocks(verb: Callable[P, Solution]) -> Callable[P, Solution]:
    """Split eager numpy and CPU torch batches whose arguments are full-shaped, one-dimensional or numbers."""

    @wraps(verb)
    def blockwise(*args: P.args, **kwargs: P.kwargs) -> Solution:
        losses: Any = args[0]
        named: dict[Any, Any] = {**dict(enumerate(args[1:])), "prior": kwargs.get("prior")}
        arrays = {key: a for key, a in named.items() if aac.is_array_api_obj(a)}
        if kwargs.get("all_reduce") is not None or not _worth_it(losses, arrays):
            return verb(*args, **kwargs)
        size = max(1, BLOCK // losses.shape[1])
        cut = {key for key, a in arrays.items() if a.ndim == (2 if key == "prior" else 1)}
        parts = []
        for i in range(0, losses.shape[0], size):
            piece = {key: a[i : i + size] if key in cut else a for key, a in named.items()}
            rest: Any = {**kwargs, "prior": piece.pop("prior")}
            block: Any = (losses[i : i + size], *piece.values())
            parts.append(verb(*block, **rest))
        xp = aac.array_namespace(losses)
        return Solution(*(xp.concat(list(column), axis=0) for column in zip(*parts, strict=True)))

    return blockwise


def _worth_it(losses: Array, arrays: dict[Any, Array]) -> bool:
    """Tell whether the batch is large, its rows small, and every other array of a shape that is safe to cut or share."""
    if not (aac.is_numpy_array(losses) or (aac.is_torch_array(losses) and losses.device.type == "cpu")):
        return False
    if losses.ndim != 2 or losses.shape[0] * losses.shape[1] < 2 * BLOCK or losses.shape[1] > BLOCK // 2:
        return False
    rows, n = losses.shape
    shapes = {key: tuple(a.shape) for key, a in arrays.items()}
    prior = shapes.pop("prior", (n,))
    return prior in {(rows, n), (n,)} and all(shape in {(rows,), ()} for shape in shapes.values()) and not is_traced(losses)
