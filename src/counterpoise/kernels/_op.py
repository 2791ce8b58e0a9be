"""The boundary to torch: a library op a family, and around it an autograd function with every transform.

Eager calls go to the implementation directly; compiled ones to the op, whose iterations a tracer cannot follow.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ._launch import in_batches, pull_rows, weigh_rows
from ._spec import FAMILIES, Rows, Spec, Weighed, accumulated, flat

_level = torch._C._functorch.maybe_current_level
_ARRAYS = "Tensor scores, Tensor? prior, Tensor? mask, Tensor? lengths, Tensor? amounts, Tensor? caps"
_NUMBERS = "float amount, float cap, float exponent, ScalarType dtype, str impl"


class Weigh(torch.autograd.Function):
    """Rows to weights, value, numbers, status; differentiable in the scores."""

    @staticmethod
    def forward(spec: Spec, *arrays: Tensor | None) -> Any:
        return tuple(weigh_rows(spec, Rows(*arrays)))  # type: ignore[arg-type]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        spec, scores, prior, _, _, _, caps = inputs
        weights, _, numbers, status = output
        kept = (scores, prior, caps, weights, numbers)
        ctx.spec = spec
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)
        ctx.mark_non_differentiable(numbers, status)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, up: Tensor | None, up_value: Tensor | None, *_: Any) -> Any:
        return None, _gradient(ctx.spec, ctx.saved_tensors, up, up_value), None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, _: Any, tangent: Tensor | None, *others: Tensor | None) -> Any:
        if any(t is not None for t in others):
            raise NotImplementedError("the kernels differentiate in the scores only; use counterpoise_adapters.pytorch")
        scores, prior, caps, weights, numbers = ctx.saved_tensors
        if tangent is None:
            return None, None, None, None
        pushed = Pull.apply(ctx.spec, True, tangent, scores, prior, caps, weights, numbers)  # type: ignore[no-untyped-call]
        wide = weights.to(numbers.dtype)
        along = (wide * torch.where(wide == 0, 0.0, tangent.to(wide.dtype))).sum(-1)
        return pushed.to(weights.dtype), along, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, spec: Spec, *arrays: Tensor | None) -> Any:
        folded = _folded(info.batch_size, in_dims[1:], arrays)
        out = Weigh.apply(spec, *folded)  # type: ignore[no-untyped-call]
        weights, value, numbers, status = out
        size = info.batch_size
        numbers = numbers.unflatten(1, (size, -1)).movedim(1, 0)
        return (weights.unflatten(0, (size, -1)), value.unflatten(0, (size, -1)), numbers,
                status.unflatten(0, (size, -1))), (0, 0, 0, 0)  # fmt: skip


class First:
    """What `_triton.call.Weighing` is to later calls."""

    pull = None

    def run(self, spec: Spec, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return weights and numbers."""
        self.out = weigh_rows(spec, rows)
        return self.out.weights, self.out.numbers

    def parts(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the value and what has no derivative."""
        return self.out.value, numbers, self.out.status


class EagerWeigh(torch.autograd.Function):
    """The same where no transform is active: torch binds a function with `setup_context` to its signature each call.

    The scores may have any shape in which all axes but the last are the batch. The value is returned where there is a
    list for what has no derivative, as torch wraps every output.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, problem: tuple[Any, ...]) -> Any:
        ctx.spec, prior, caps, weighing, given, constants = problem
        weights, numbers = weighing.run(*given)
        ctx.pull, ctx.numbers = weighing.pull, numbers
        if constants is None:
            ctx.save_for_backward(scores, weights, prior, caps)
            return weights
        constants += weighing.parts(numbers)
        watched = constants[1] if ctx.spec.family.endswith("ball") else None  # the multiplier, which backward reads
        ctx.save_for_backward(scores, weights, prior, caps, watched)
        ctx.set_materialize_grads(False)
        return weights, constants[0]

    @staticmethod
    def backward(ctx: Any, up: Tensor | None, up_value: Tensor | None = None) -> Any:
        scores, weights, prior, caps, *_ = ctx.saved_tensors
        spec, pull, numbers = ctx.spec, ctx.pull, ctx.numbers
        if pull is not None and _plain() and (up is None or _simple(up)):
            total = None if up is None else pull(spec, numbers, up, scores, weights, prior, caps)
            return _sum(total, None if up_value is None else _along(up_value, weights, scores.dtype)), None
        shape = weights.shape
        arrays: tuple[Tensor | None, ...] = (scores, prior, caps, weights, up)
        if len(shape) != 2 or any(a is not None and len(a.shape) != 2 for a in (prior, caps)):
            arrays = tuple([None if a is None else flat(a, shape) for a in arrays])
            up_value = None if up_value is None else up_value.reshape(-1)
        *saved, up = arrays
        gradient = _gradient(spec, (*saved, numbers), up, up_value)
        return None if gradient is None else gradient.reshape(shape), None


apply_eagerly: Any = super(torch.autograd.Function, EagerWeigh).apply
"""As `EagerWeigh.apply`, which looks for transforms once more and for what they have left behind."""


class Pull(torch.autograd.Function):
    """The weights' Jacobian, or its transpose, times a vector; its own derivative raises."""

    @staticmethod
    def forward(spec: Spec, forward: bool, up: Tensor, *kept: Tensor | None) -> Tensor:
        scores, prior, caps, weights, numbers = kept
        assert scores is not None and weights is not None and numbers is not None
        if spec.family == "value":
            return _along(up, weights, scores.dtype)
        rows = Rows(scores, prior, None, None, None, caps)
        return pull_rows(spec, rows, weights, numbers, up, forward)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError("counterpoise's values and weights can be differentiated once, not twice")

    jvp = backward

    @staticmethod
    def vmap(info: Any, in_dims: Any, spec: Spec, forward: bool, up: Tensor, *kept: Tensor | None) -> Any:
        *tensors, numbers = (up, *kept)
        *dims, numbers_dim = in_dims[2:]
        arrays = _folded(info.batch_size, dims, tensors)
        assert numbers is not None
        if numbers_dim is None:
            numbers = numbers.unsqueeze(1).expand(-1, info.batch_size, -1).flatten(1)
        else:
            numbers = numbers.movedim(numbers_dim, 1).flatten(1)
        out = Pull.apply(spec, forward, *arrays, numbers)  # type: ignore[no-untyped-call]
        return out.unflatten(0, (info.batch_size, -1)), 0


def _plain() -> bool:
    """Whether nobody may differentiate or map what a backward pass does."""
    return not torch.is_grad_enabled() and eager()


def _simple(up: Tensor) -> bool:
    """Whether a kernel can read an array as it lies in memory."""
    return up.is_contiguous() and not up.is_neg() and not in_batches(up)


def _along(up_value: Tensor, weights: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the scores' gradient from that of the value."""
    return (up_value.unsqueeze(-1) * weights).to(dtype)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Return the sum of those that are there."""
    return b if a is None else a if b is None else a + b


_VALUE = Spec("value", 0.0, 0.0, 0.0, torch.float32, "auto")


def _gradient(spec: Spec, saved: Any, up: Tensor | None, up_value: Tensor | None) -> Tensor | None:
    """Return the scores' gradient from those of the weights and the value."""
    scores, prior, caps, weights, numbers = saved
    pull: Any = Pull.forward
    plain = _plain()
    if not plain or (up is not None and in_batches(up)):
        numbers = numbers.flatten()[: 4 * len(weights)].view(4, -1)  # of a table
    if not plain:
        pull = Pull.apply
    total = None if up is None else pull(spec, False, up, scores, prior, caps, weights, numbers)
    along = None if up_value is None else pull(_VALUE, False, up_value, scores, None, None, weights, numbers)
    return _sum(total, along)


def _folded(size: int, in_dims: Any, arrays: Any) -> list[Tensor | None]:
    """Fold a mapped axis into the rows of each array; (1, n) arrays that are not mapped stay as they are."""
    mapped = [
        None if a is None else (a if d is None else a.movedim(d, 0)) for a, d in zip(arrays, in_dims, strict=True)
    ]
    rows = max(a.shape[0] if d is None else a.shape[1] for a, d in zip(mapped, in_dims, strict=True) if a is not None)
    out: list[Tensor | None] = []
    for a, d in zip(mapped, in_dims, strict=True):
        if a is None or (d is None and a.ndim == 2 and a.shape[0] == 1 and rows > 1):
            out.append(a)
            continue
        a = a.unsqueeze(0) if d is None else a
        out.append(a.expand(size, rows, *a.shape[2:]).reshape(size * rows, *a.shape[2:]))
    return out


def _op(family: str) -> Any:
    """Define the ops of a family: the weights, and their Jacobian's product."""
    name = f"counterpoise::{family}"
    torch.library.define(name, f"({_ARRAYS}, {_NUMBERS}) -> (Tensor, Tensor, Tensor, Tensor)")
    torch.library.define(
        f"{name}_pull",
        f"(Tensor up, Tensor scores, Tensor? prior, Tensor? caps, Tensor weights, Tensor numbers, {_NUMBERS})"
        " -> Tensor",
    )

    def weigh(scores: Tensor, prior: Any, mask: Any, lengths: Any, amounts: Any, caps: Any, *numbers: Any) -> Any:
        return tuple(weigh_rows(Spec(family, *numbers), Rows(scores, prior, mask, lengths, amounts, caps)))

    def pull(up: Tensor, scores: Tensor, prior: Any, caps: Any, weights: Tensor, numbers: Tensor, *rest: Any) -> Tensor:
        rows = Rows(scores, prior, None, None, None, caps)
        return pull_rows(Spec(family, *rest), rows, weights, numbers, up, False)

    def fake(scores: Tensor, *rest: Any) -> Any:
        rows, n = scores.shape
        wide = accumulated(scores.dtype)
        return (
            scores.new_empty((rows, n), dtype=rest[-2]), scores.new_empty(rows, dtype=wide),
            scores.new_empty((4, rows), dtype=wide), scores.new_empty(rows, dtype=torch.int32),
        )  # fmt: skip

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        scores, prior, _, _, _, caps, *ctx.numbers = inputs
        weights, _, numbers, status = output
        ctx.save_for_backward(scores, prior, caps, weights, numbers)
        ctx.mark_non_differentiable(numbers, status)
        ctx.set_materialize_grads(False)

    def backward(ctx: Any, up: Tensor | None, up_value: Tensor | None, *_: Any) -> Any:
        scores, prior, caps, weights, numbers = ctx.saved_tensors
        total = torch.zeros_like(scores)
        if up is not None:
            total = getattr(torch.ops.counterpoise, f"{family}_pull")(
                up, scores, prior, caps, weights, numbers, *ctx.numbers
            )
        if up_value is not None:
            total = total + (up_value.unsqueeze(-1) * weights).to(scores.dtype)
        return total, *([None] * 10)

    for device in ("CPU", "CUDA"):
        torch.library.impl(name, device, weigh)
        torch.library.impl(f"{name}_pull", device, pull)
    torch.library.register_fake(name, fake)
    torch.library.register_fake(
        f"{name}_pull", lambda up, scores, *_: torch.empty_like(scores, memory_format=torch.contiguous_format)
    )
    torch.library.register_autograd(name, backward, setup_context=setup)
    return getattr(torch.ops.counterpoise, family)


_OPS = {family: _op(family) for family in FAMILIES}


def weigh(spec: Spec, rows: Rows) -> Weighed:
    """Call the op under torch.compile, the autograd function where a derivative or a transform may be asked for."""
    if torch.compiler.is_compiling():
        if forward_ad._current_level >= 0:  # a library op would answer with a tangent of zero
            raise NotImplementedError("forward mode is not available under torch.compile: call torch.func.jvp outside")
        return Weighed(*_OPS[spec.family](*rows, *spec[1:]))
    if not eager():
        return Weighed(*Weigh.apply(spec, *rows))  # type: ignore[no-untyped-call]
    if differentiated(rows.scores):
        constants: list[Tensor] = []
        problem = (spec, rows.prior, rows.caps, First(), (spec, rows), constants)
        weights, constants[0] = EagerWeigh.apply(rows.scores, problem)  # type: ignore[no-untyped-call]
        return Weighed(weights, *constants)
    return weigh_rows(spec, rows)


def differentiated(scores: Tensor) -> bool:
    """Whether a derivative in the scores may be asked for."""
    return scores.requires_grad and torch.is_grad_enabled()


def eager() -> bool:
    """Whether the call is neither compiled nor under a transform."""
    return not (torch.compiler.is_compiling() or _level() is not None or forward_ad._current_level >= 0)
