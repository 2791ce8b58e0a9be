"""See how a trainer reduces its per-example losses, without a copy of its code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

REDUCTIONS = frozenset(getattr(home, name) for home in (torch, Tensor) for name in ("mean", "nanmean", "sum", "nansum"))
# an expanded scalar is no vector of examples, nor is what a mask picks out of tokens, however many there are
NOT_EXAMPLES = ("ExpandBackward0", "IndexBackward0", "MaskedSelectBackward0")


class Watch(TorchFunctionMode):
    """Note every tensor of n rows that is reduced to one number, while it is on; change nothing.

    Each is noted as a view, so that a gradient hook on it touches that reduction and nothing else. Inside the models
    the mode is off: a compiled forward does not meet it, and it costs nothing there.

    Parameters
    ----------
    examples : int
        n.
    models : iterable of Module
        Called by the watched code.
    without_gradient : bool
        Run the models without gradient and let the graph begin at their outputs: a cheap first pass.
    """

    def __init__(self, examples: int, models: Iterable[nn.Module], *, without_gradient: bool = False) -> None:
        super().__init__()
        self.examples = examples
        self.models = list(dict.fromkeys(models))
        self.without_gradient = without_gradient
        self.noted: list[Tensor] = []
        self._depth = 0
        self._grad = True
        self._hooks = ExitStack()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in REDUCTIONS or not args or not self._is_of_examples(args[0]):
            return func(*args, **kwargs)
        rows = args[0].view_as(args[0])
        out = func(rows, *args[1:], **kwargs)
        if out.ndim == 0:
            self.noted.append(rows)
        return out

    def _is_of_examples(self, x: Any) -> bool:
        return (
            isinstance(x, Tensor)
            and x.requires_grad
            and torch.is_grad_enabled()
            and x.ndim > 0
            and x.shape[0] == self.examples
            and (x.grad_fn is None or x.grad_fn.name() not in NOT_EXAMPLES)
        )

    def __enter__(self) -> Watch:
        for model in self.models:
            for handle in (
                model.register_forward_pre_hook(self._enter_model),
                model.register_forward_hook(self._leave_model, always_call=True),
            ):
                self._hooks.callback(handle.remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def _enter_model(self, model: nn.Module, args: Any) -> None:
        self._depth += 1
        if self._depth == 1:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._grad = torch.is_grad_enabled()
            torch.set_grad_enabled(self._grad and not self.without_gradient)

    def _leave_model(self, model: nn.Module, args: Any, output: Any) -> Any:
        self._depth -= 1
        if self._depth == 0:
            torch.set_grad_enabled(self._grad)
            super().__enter__()  # type: ignore[no-untyped-call]
            if self._grad and self.without_gradient:
                return as_leaves(output)
        return None


def as_leaves(output: Any) -> Any:
    """Let a graph begin at the floating tensors of a model's output."""
    if isinstance(output, Tensor):
        # a clone, as code may change an output in place and a leaf forbids that
        return output.detach().requires_grad_().clone() if output.is_floating_point() else output
    if isinstance(output, dict):
        for key, value in output.items():
            output[key] = as_leaves(value)
        return output
    return type(output)(map(as_leaves, output)) if type(output) in (list, tuple) else output


def terms(loss: Tensor, watch: Watch, name: str) -> tuple[Tensor, list[Tensor]]:
    """Return each example's part in the loss, shape (n,), and the tensors that carry it.

    The loss is the sum of the parts and a rest that is no example's. Reductions are linear, so a row's part is its
    gradient times itself.

    Raises
    ------
    RuntimeError
        If no tensor of n rows was reduced to the loss.
    """
    found = torch.autograd.grad(loss, watch.noted, retain_graph=True, allow_unused=True) if watch.noted else ()
    parts = [(rows, g) for rows, g in zip(watch.noted, found, strict=True) if g is not None]
    if not parts:
        raise RuntimeError(
            f"{name} reduced no tensor of {watch.examples} examples to its loss, so none can be weighed: a fused or "
            "batch-coupled loss, or a release of the trainer that this adapter does not know"
        )
    # the NaN that a nanmean leaves out has no gradient
    each = [torch.where(g == 0, 0.0, g * rows.detach()).double().reshape(len(g), -1).sum(1) for rows, g in parts]
    return torch.stack(each).sum(0), [rows for rows, _ in parts]
