"""What the verbs return: named tuples of arrays, and a status whose members carry their message."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

Array: TypeAlias = Any
"""Any array that `array_api_compat` knows: numpy, torch, jax, cupy, dask, array-api-strict."""

AllReduce: TypeAlias = Callable[[Array, Literal["sum", "max", "min"]], Array]
"""Combines one shard's reduction with those of all other shards; every shard receives the same result."""


class Status(IntEnum):
    """How a row ended. Members from ``NOT_CONVERGED`` on are failures.

    Examples
    --------
    >>> from counterpoise import Status
    >>> Status.SATURATED.message
    'the weights are the prior restricted to the largest losses: a larger radius changes nothing'
    """

    message: str

    CONVERGED = 0, "the weights are optimal to working precision"
    SATURATED = (
        1,
        "the weights are the prior restricted to the largest losses: a larger radius changes nothing",
    )
    NOT_CONVERGED = (
        2,
        "the duality gap is above what the dtype allows, or the weights do not sum to 1; pass float64, or report the "
        "problem",
    )
    NAN_LOSS = (
        3,
        "a loss is NaN where the prior is positive, or scaled by a ratio that is not finite and >= 0; mask it with "
        "zero prior, or find out why",
    )
    EMPTY_PRIOR = 4, "no atom has positive prior and a loss above -inf; the row has nothing to weigh"
    INVALID_PRIOR = (
        5,
        "the prior, or the ratio in it, has a negative, NaN or infinite mass; all must be finite and >= 0",
    )
    INVALID_AMOUNT = (
        6,
        "the penalty or radius is negative or NaN, or the level is outside (0, 1]; penalty and radius must be >= 0",
    )
    INVALID_GROUP = 7, "a group index is outside 0..n_groups - 1; check the indices, or raise n_groups"

    def __new__(cls, value: int, message: str = "") -> Status:
        member = int.__new__(cls, value)
        member._value_ = value
        member.message = message
        return member


class Solution(NamedTuple):
    """Robust weights with their certificate; see `penalized`, `constrained`, `cvar`.

    Attributes
    ----------
    weights : array, shape (..., n)
        Non-negative, summing to 1, exactly 0 where the prior is 0.
    value : array, shape (...,)
        The primal objective at ``weights``.
    multiplier : array, shape (...,)
        λ: the given penalty, or the multiplier of the radius (the derivative of the value in the radius).
    shift : array, shape (...,)
        η: the multiplier of the constraint that the weights sum to 1.
    gap : array, shape (...,)
        Dual bound minus ``value``, recomputed from both formulas.
    status : array of int32, shape (...,)
        A `Status` per row.
    """

    weights: Array
    value: Array
    multiplier: Array
    shift: Array
    gap: Array
    status: Array


class Objective(NamedTuple):
    """A training objective and its gradient in the losses.

    Attributes
    ----------
    value : array, shape (...,)
        The objective.
    weights : array, shape (..., n)
        d value / d losses (Danskin), to be held constant: ``sum(weights * losses)`` has the objective's gradient.
    status : array of int32, shape (...,)
        A `Status` per row.
    """

    value: Array
    weights: Array
    status: Array


Result = TypeVar("Result", Solution, Objective)


def raise_on_failure(result: Result, /) -> Result:
    """Return ``result`` unchanged if every row succeeded, else raise.

    Reading the status waits for the device, so this is for eager code; under ``jit`` look at ``result.status``.

    Parameters
    ----------
    result : Solution or Objective
        What a verb returned.

    Returns
    -------
    Solution or Objective
        The same object.

    Raises
    ------
    RuntimeError
        Names the first failed row and says what was wrong with it.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.raise_on_failure(cp.penalized(np.array([0.0, np.nan]), cp.KL(), 1.0))
    Traceback (most recent call last):
        ...
    RuntimeError: row (): a loss is NaN where the prior is positive, ...
    """
    status = result.status
    if int((status >= int(Status.NOT_CONVERGED)).sum()) == 0:
        return result
    shape = tuple(int(size) for size in status.shape)
    for flat in range(math.prod(shape)):
        row, rest = [], flat
        for size in reversed(shape):
            row.append(rest % size)
            rest //= size
        index = tuple(reversed(row))
        code = int(status[index])
        if code >= Status.NOT_CONVERGED:
            raise RuntimeError(f"row {index}: {Status(code).message}")
    raise AssertionError("unreachable: a failure was counted but not found")
