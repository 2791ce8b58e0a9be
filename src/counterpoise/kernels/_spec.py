"""What every kernel is called with: checked arguments brought to rows of atoms, and what is not an array."""

from __future__ import annotations

from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

FAMILIES = (
    "chi_square_penalty", "chi_square_ball", "kl_penalty", "kl_ball", "power_penalty", "cvar", "entmax",
    "project_simplex", "project_ball", "project_capped_simplex",
)  # fmt: skip
IMPLS = ("auto", "reference", "triton")


class Spec(NamedTuple):
    """The family and its numbers; ``amount`` and ``cap`` stand where there is no array of them."""

    family: str
    amount: float
    cap: float
    exponent: float
    dtype: torch.dtype
    impl: str

    @property
    def metric(self) -> bool:
        """Whether the scores are values in the metric of the prior, not losses."""
        return self.family.startswith("project")


Options = tuple[Tensor | None, Tensor | None, Tensor | None, torch.dtype | None, str]
"""What every public function takes beside its scores and its amount: prior, mask, lengths, out_dtype, impl."""


class Rows(NamedTuple):
    """Arrays of shape (rows, n) or (1, n), (rows,), or None."""

    scores: Tensor
    prior: Tensor | None
    mask: Tensor | None
    lengths: Tensor | None
    amounts: Tensor | None
    caps: Tensor | None


class Weighed(NamedTuple):
    """Weights (rows, n), value (rows,), the numbers below (4, rows), and a `counterpoise.Status` per row."""

    weights: Tensor
    value: Tensor
    numbers: Tensor
    """Multiplier, shift, duality gap, and the factor of the weights' Jacobian (0 where they stand still)."""
    status: Tensor


def accumulated(dtype: torch.dtype) -> torch.dtype:
    """Return float32 for half precision, else the dtype itself."""
    return torch.float32 if torch.finfo(dtype).bits < 32 else dtype


def make_rows(
    name: str, scores: Tensor, family: str, options: Options, amount: tuple[str, float | Tensor] = ("penalty", 1.0),
    cap: float | Tensor = 1.0, exponent: float = 2.0,
) -> tuple[Spec, Rows, tuple[int, ...]]:  # fmt: skip
    """Check the arguments; return them as rows, and the batch shape to which results go back."""
    prior, mask, lengths, out_dtype, impl = options
    if impl not in IMPLS:
        raise ValueError(f"impl is {impl!r}; one of {', '.join(map(repr, IMPLS))} is needed")
    optional = {"prior": prior, "mask": mask, "lengths": lengths}
    given = {key: a for key, a in optional.items() if a is not None}
    arrays = {name: scores, **given, amount[0]: amount[1], "cap": cap}
    _check(name, arrays)
    dtype = scores.dtype if out_dtype is None else out_dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"out_dtype is {dtype}; a floating-point dtype is needed")
    others = [a.shape for a in (prior, mask, cap) if isinstance(a, Tensor)]
    try:
        shape = tuple(torch.broadcast_shapes(scores.shape, *others) if others else scores.shape)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        found = ", ".join(f"{key} {tuple(a.shape)}" for key, a in arrays.items() if isinstance(a, Tensor))
        raise ValueError(f"shapes do not broadcast: {found}; the last axis holds the atoms") from error
    batch, n = shape[:-1], shape[-1]
    number, amounts = _per_row(amount[0], amount[1], batch)
    ceiling, caps = (1.0, flat(cap, shape)) if isinstance(cap, Tensor) else (float(cap), None)
    wide = accumulated(scores.dtype)
    rows = Rows(
        scores.expand(shape).reshape(-1, n),
        None if prior is None else flat(prior, shape),
        None if mask is None else flat(mask, shape),
        None if lengths is None else _per_row("lengths", lengths, batch)[1],
        None if amounts is None else amounts.to(wide),
        caps,
    )
    return Spec(family, number, ceiling, exponent, dtype, impl), rows, batch


def _check(name: str, arrays: dict[str, float | Tensor]) -> None:
    scores = arrays[name]
    if not isinstance(scores, Tensor):
        raise TypeError(f"{name} is a {type(scores).__name__}; counterpoise.kernels takes torch tensors")
    if scores.ndim < 1 or scores.shape[-1] < 1:
        raise ValueError(f"{name} has shape {tuple(scores.shape)}; its last axis must hold at least one value")
    for key, a in arrays.items():
        if not isinstance(a, Tensor):
            if isinstance(a, bool) or not isinstance(a, Real) or key in ("prior", "mask", "lengths"):
                allowed = "a tensor" if key in ("prior", "mask", "lengths") else "a float or a tensor"
                raise TypeError(f"{key} is a {type(a).__name__}; {allowed} is needed")
            continue
        if key == "mask":
            wanted = "bool, true where an atom counts" if a.dtype != torch.bool else ""
        elif key == "lengths":
            wanted = "int32 or int64" if a.dtype not in (torch.int32, torch.int64) else ""
        else:
            wanted = "" if a.is_floating_point() else "real floating-point"
        if wanted:
            raise TypeError(f"{key} has dtype {a.dtype}; {wanted} is needed")
        if a.device != scores.device:
            raise ValueError(f"{key} is on {a.device} and {name} on {scores.device}; move them to one device")
        if key != name and a.is_floating_point() and a.requires_grad and torch.is_grad_enabled():
            raise TypeError(
                f"{key} requires grad, but the kernels differentiate in the {name} only: use "
                f"counterpoise_adapters.pytorch for its gradient, or pass {key}.detach()"
            )


def _per_row(key: str, value: float | Tensor, batch: tuple[int, ...]) -> tuple[float, Tensor | None]:
    if not isinstance(value, Tensor):
        return float(value), None
    try:
        return 0.0, value.expand(batch).reshape(-1)
    except RuntimeError as error:
        raise ValueError(f"{key} has shape {tuple(value.shape)}; one that broadcasts to {batch} is needed") from error


def flat(array: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return (rows, n), or (1, n) for an array that all rows share."""
    n = shape[-1]
    if all(size == 1 for size in array.shape[:-1]):
        return array.reshape(1, -1).expand(1, n)
    return array.expand(shape).reshape(-1, n)
