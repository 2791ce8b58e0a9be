"""Which implementation takes a call; triton is imported when the first call goes to it."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ._reference import reference, reference_pull
from ._spec import Rows, Spec, Weighed

in_batches = torch._C._functorch.is_legacy_batchedtensor
"""Whether an array stands for many, as under ``is_grads_batched`` and vectorised Jacobians: torch alone reads those."""
LONG = 1 << 20
FEW = 8
"""Up to FEW rows of at least LONG atoms go to torch: one program a row would leave the device idle."""


@cache
def _kernels() -> Any:
    try:
        from ._triton import call
    except ImportError as error:
        raise ImportError(f"the Triton kernels need triton, of the version that your torch names: {error}") from error
    return call


def _by_triton(spec: Spec, scores: Tensor) -> bool:
    """Choose, or say why the choice that was made cannot be had."""
    fits = scores.dtype != torch.float64
    if spec.impl == "triton":
        if not fits:
            raise TypeError("scores have dtype torch.float64; the Triton kernels take float32 and half precision")
        if scores.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
            raise ValueError(f"scores are on {scores.device}; impl='triton' needs a CUDA device: leave impl at 'auto'")
        return True
    few = scores.shape[0] <= FEW and scores.shape[1] >= LONG
    return spec.impl == "auto" and scores.device.type == "cuda" and fits and not few


def weigh_rows(spec: Spec, rows: Rows) -> Weighed:
    """Solve the rows."""
    if _by_triton(spec, rows.scores):
        return _kernels().weigh_rows(spec, rows)  # type: ignore[no-any-return]
    return reference(spec, rows)


def weighing_of(spec: Spec, rows: Rows, batch: tuple[int, ...], rated: bool) -> Any:
    """Return what runs the kernel again for arguments that differ in their values only, or None."""
    return _kernels().weighing_of(spec, rows, batch, rated) if _by_triton(spec, rows.scores) else None


def pull_rows(spec: Spec, rows: Rows, weights: Tensor, numbers: Tensor, up: Tensor, forward: bool) -> Tensor:
    """Return the weights' Jacobian times ``up`` (its transpose for ``forward=False``)."""
    if _by_triton(spec, rows.scores) and not in_batches(up):
        return _kernels().pull_rows(spec, rows, weights, numbers, up, forward)  # type: ignore[no-any-return]
    return reference_pull(spec, rows, weights, numbers, up, forward).to(rows.scores.dtype)
