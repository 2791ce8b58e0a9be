"""What the public functions call: the checks and the boundary to torch, or for calls like one before the launch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

import counterpoise as cp

from ._op import apply_eagerly, differentiated, eager, weigh
from ._seen import key_of, remember, seen
from ._spec import Options, make_rows

_new: Callable[..., cp.Solution] = tuple.__new__
"""As a named tuple makes itself, without a call in between."""


def weights_of(
    name: str, scores: Tensor, family: str, options: Options, amount: tuple[str, float | Tensor] = ("penalty", 1.0),
    cap: float | Tensor = 1.0, exponent: float = 2.0,
) -> Tensor:  # fmt: skip
    """Check the arguments and return the weights, in the scores' shape broadcast with the others'."""
    key = key_of(scores, family, options, amount[1], cap, exponent) if eager() else None
    kept = seen(key)
    if kept is not None:
        given = kept.read(scores, options, amount[1], cap)
        if not differentiated(scores):
            return kept.weighing.run(*given)[0]  # type: ignore[no-any-return]
        if kept.whole:
            spec = kept.spec if kept.spec.cap == given[2] else kept.spec._replace(cap=given[2])
            caps = cap if isinstance(cap, Tensor) else None
            return apply_eagerly(scores, (spec, options[0], caps, kept.weighing, given, None))  # type: ignore[no-any-return]
    spec, rows, batch = make_rows(name, scores, family, options, amount, cap, exponent)
    weights = weigh(spec, rows).weights
    if key is not None and kept is None:
        remember(key, (scores, *options[:3], amount[1], cap), spec, rows, batch)
    return weights if len(batch) == 1 else weights.reshape(*batch, rows.scores.shape[1])


def solution_of(
    losses: Tensor, family: str, options: Options, amount: tuple[str, float | Tensor], exponent: float = 2.0
) -> cp.Solution:
    """Check the arguments and return the core's solution."""
    key = key_of(losses, family, options, amount[1], 1.0, exponent) if eager() else None
    kept = seen(key)
    if kept is not None:
        given = kept.read(losses, options, amount[1], 1.0)
        if not differentiated(losses):
            weights, table = kept.weighing.run(*given)
            return _new(cp.Solution, (weights, *kept.weighing.parts(table)))
        if kept.whole:
            constants: list[Tensor] = []
            problem = (kept.spec, options[0], None, kept.weighing, given, constants)
            weights, constants[0] = apply_eagerly(losses, problem)
            return _new(cp.Solution, (weights, *constants))
    spec, rows, batch = make_rows("losses", losses, family, options, amount, 1.0, exponent)
    weights, value, table, status = weigh(spec, rows)
    if key is not None and kept is None:
        remember(key, (losses, *options[:3], amount[1], 1.0), spec, rows, batch)
    multiplier, shift, gap, _ = table.unbind()
    if len(batch) == 1:
        return cp.Solution(weights, value, multiplier, shift, gap, status)
    multiplier, shift, gap = (row.reshape(batch) for row in (multiplier, shift, gap))
    weights = weights.reshape(*batch, rows.scores.shape[1])
    return cp.Solution(weights, value.reshape(batch), multiplier, shift, gap, status.reshape(batch))
