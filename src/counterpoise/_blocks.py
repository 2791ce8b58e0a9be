"""Rows are independent: many on a CPU go through a verb in blocks that stay in cache, lazy ones chunk by chunk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import array_api_compat as aac

from ._divergence import Divergence
from ._lending import lent, returned
from ._types import Array, Solution
from ._xp import aligned, amount, is_traced, namespace
from .divergences import KL

BLOCK = 65536
"""Elements a block: a temporary of 512 KiB in float64 is reused by the allocator instead of being mapped anew."""

P = ParamSpec("P")


def in_blocks(verb: Callable[P, Solution]) -> Callable[P, Solution]:
    """Split eager CPU batches whose arguments are full-shaped, one-dimensional or numbers; lend CPU torch to numpy."""

    @wraps(verb)
    def blockwise(*args: P.args, **kwargs: P.kwargs) -> Solution:
        if not args:
            return verb(*args, **kwargs)  # which says what is missing
        own = [a for a in args if isinstance(a, Divergence)]
        if kwargs.get("all_reduce") is None and all(type(d).__module__ == KL.__module__ for d in own):
            borrowed: Any = lent([*args, *kwargs.values()])
            if borrowed is not None:
                rest: Any = dict(zip(kwargs, borrowed[len(args) :], strict=True))
                return Solution(*map(returned, blockwise(*borrowed[: len(args)], **rest)))
        losses: Any = args[0]
        named: dict[Any, Any] = {**dict(enumerate(args[1:])), "prior": kwargs.get("prior")}
        arrays = {key: a for key, a in named.items() if aac.is_array_api_obj(a)}
        if aac.is_dask_array(losses) and kwargs.get("all_reduce") is None:
            return _by_chunk(verb, losses, named, kwargs)
        if kwargs.get("all_reduce") is not None or not _worth_it(losses, arrays):
            return verb(*args, **kwargs)
        size = max(1, BLOCK // losses.shape[1])
        cut = {key for key, a in arrays.items() if a.ndim == (2 if key == "prior" else 1)}
        parts = []
        for i in range(0, losses.shape[0], size):
            piece = {key: a[i : i + size] if key in cut else a for key, a in named.items()}
            rest = {**kwargs, "prior": piece.pop("prior")}
            block: Any = (losses[i : i + size], *piece.values())
            parts.append(verb(*block, **rest))
        xp = aac.array_namespace(losses)
        return Solution(*(xp.concat(list(column), axis=0) for column in zip(*parts, strict=True)))

    return blockwise


def _by_chunk(verb: Callable[..., Solution], losses: Array, named: dict[Any, Any], kwargs: dict[str, Any]) -> Solution:
    """Run the verb on the chunks of a dask array, lazily: one task a chunk instead of a graph of iterations."""
    prior, (*structure, how_much) = named["prior"], [a for key, a in named.items() if key != "prior"]
    xp = namespace(losses=losses, prior=prior, amount=how_much if aac.is_array_api_obj(how_much) else None)
    aligned(xp, {"losses": losses} if prior is None else {"losses": losses, "prior": prior})
    if aac.is_array_api_obj(how_much):
        amount(xp, "amount", how_much, losses)
    lazy = [
        losses,
        *([] if prior is None else [prior]),
        *([how_much] if aac.is_array_api_obj(how_much) else []),
    ]
    signature = ",".join(["(n)"] * (1 if prior is None else 2) + ["()"] * aac.is_array_api_obj(how_much))

    def on_chunk(*blocks: Array) -> tuple[Array, ...]:
        block_prior = None if prior is None else blocks[1]
        block_amount = blocks[-1] if aac.is_array_api_obj(how_much) else how_much
        return tuple(verb(blocks[0], *structure, block_amount, **{**kwargs, "prior": block_prior}))

    columns = sys.modules["dask.array"].apply_gufunc(
        on_chunk, signature + "->(n),(),(),(),(),()", *lazy, output_dtypes=[losses.dtype] * 5 + ["int32"],
        allow_rechunk=True,
    )  # fmt: skip
    return Solution(*columns)


def _worth_it(losses: Array, arrays: dict[Any, Array]) -> bool:
    """Tell whether the batch is large, its rows small, and other arrays of a shape that is safe to cut or share."""
    if not (aac.is_numpy_array(losses) or (aac.is_torch_array(losses) and losses.device.type == "cpu")):
        return False
    if losses.ndim != 2 or losses.shape[0] * losses.shape[1] < 2 * BLOCK or losses.shape[1] > BLOCK // 2:
        return False
    rows, n = losses.shape
    shapes = {key: tuple(a.shape) for key, a in arrays.items()}
    prior = shapes.pop("prior", (n,))
    return (
        prior in {(rows, n), (n,)}
        and all(shape in {(rows,), ()} for shape in shapes.values())
        and not is_traced(losses)
    )
