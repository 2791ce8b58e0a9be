"""What the public functions call: the checks and the boundary to torch, or for calls like one before the launch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

import counterpoise as cp

from ._op import apply_eagerly, weigh
from ._seen import Again, remember, seen
from ._spec import Options, Spec, make_rows

_new: Callable[..., cp.Solution] = tuple.__new__
"""As a named tuple makes itself, without a call in between."""


def weights_of(
    name: str, scores: Tensor, family: str, options: Options, amount: tuple[str, float | Tensor] = ("penalty", 1.0),
    cap: float | Tensor = 1.0, exponent: float = 2.0,
) -> Tensor:  # fmt: skip
    """Check the arguments and return the weights, in the scores' shape broadcast with the others'."""
    key, again = seen(scores, family, options, amount[1], cap, exponent)
    if again is not None:
        return again(scores, options, amount[1], cap)  # type: ignore[no-any-return]
    spec, rows, batch = make_rows(name, scores, family, options, amount, cap, exponent)
    weights = weigh(spec, rows).weights
    remember(key, (scores, *options[:3], amount[1], cap), spec, rows, batch, _weights_again)
    return weights if len(batch) == 1 else weights.reshape(*batch, rows.scores.shape[1])


def _weights_again(weighing: Any, spec: Spec, rated: bool) -> Again:
    """Return what solves such a call again; of the first one's numbers a backward pass reads the cap alone."""
    if not rated:
        return weighing.solver(None)  # type: ignore[no-any-return]

    def again(*given: Any) -> Any:
        scores, options, _, cap = given
        if isinstance(cap, Tensor):
            return apply_eagerly(scores, (spec, options[0], cap, weighing, given, None))
        capped = spec if spec.cap == cap else spec._replace(cap=float(cap))
        return apply_eagerly(scores, (capped, options[0], None, weighing, given, None))

    return again


def solution_of(
    losses: Tensor, family: str, options: Options, amount: tuple[str, float | Tensor], exponent: float = 2.0
) -> cp.Solution:
    """Check the arguments and return the core's solution."""
    key, again = seen(losses, family, options, amount[1], 1.0, exponent)
    if again is not None:
        return again(losses, options, amount[1], 1.0)  # type: ignore[no-any-return]
    spec, rows, batch = make_rows("losses", losses, family, options, amount, 1.0, exponent)
    weights, value, table, status = weigh(spec, rows)
    remember(key, (losses, *options[:3], amount[1], 1.0), spec, rows, batch, _solution_again)
    multiplier, shift, gap, _ = table.unbind()
    if len(batch) == 1:
        return cp.Solution(weights, value, multiplier, shift, gap, status)
    multiplier, shift, gap = (row.reshape(batch) for row in (multiplier, shift, gap))
    weights = weights.reshape(*batch, rows.scores.shape[1])
    return cp.Solution(weights, value.reshape(batch), multiplier, shift, gap, status.reshape(batch))


def _solution_again(weighing: Any, spec: Spec, rated: bool) -> Again:
    if not rated:
        return weighing.solver(cp.Solution)  # type: ignore[no-any-return]

    def again(*given: Any) -> cp.Solution:
        losses, options, _, _ = given
        constants: list[Tensor] = []
        weights, constants[0] = apply_eagerly(losses, (spec, options[0], None, weighing, given, constants))
        return _new(cp.Solution, (weights, *constants))

    return again
