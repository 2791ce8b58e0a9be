"""Which implementation takes a call; triton is imported when the first call goes to it."""

from __future__ import annotations

from torch import Tensor

from ._reference import reference, reference_pull
from ._spec import Rows, Spec, Weighed

LONG = 65536
FEW = 8
"""Rows longer than LONG, and no more than FEW: one program a row would leave the device idle, so torch takes them."""


def weigh_rows(spec: Spec, rows: Rows) -> Weighed:
    """Solve the rows."""
    return reference(spec, rows)


def pull_rows(spec: Spec, rows: Rows, weights: Tensor, numbers: Tensor, up: Tensor, forward: bool) -> Tensor:
    """Return the weights' Jacobian times ``up`` (its transpose for ``forward=False``)."""
    return reference_pull(spec, rows, weights, numbers, up, forward)
