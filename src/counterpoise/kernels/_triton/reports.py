"""What is reported beside weights, and how it lies in memory."""

# mypy: ignore-errors
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from .direct import POINTER, allocator

split, int32 = torch.unsafe_split_with_sizes, torch.int32
MANY = 16
"""Calls whose reports are cut from one allocation."""
BYTES = 1 << 14
"""That allocation's most: a report that is held keeps all of it, and so does a kind of calls that ended halfway."""


def _padded(sizes: list[int], each: int) -> list[int]:
    """Add rows of so many floats up to a multiple of 16 bytes, as Triton likes pointers."""
    left = -sum(sizes) % (4 // math.gcd(4, each))
    return [*sizes, left] if left else sizes


class Reports:
    """Value, multiplier, shift, gap and status of rows of one kind.

    Multiplier, shift, gap, rate, value and status lie in one allocation, the table, as an allocation takes longer than
    a view. The value takes the place of the rate, which only a backward pass reads, where none is to come.

    Allocating and cutting it takes as long as all else that a call does, so that `take` does it for several calls.
    """

    __slots__ = (
        "_batch", "_many", "_numbers", "_offsets", "_ready", "_row", "_several", "_sizes", "_status", "_value_in",
        "table",
    )  # fmt: skip

    def __init__(self, batch: tuple[int, ...], device: torch.device, rated: bool) -> None:
        """Prepare for results of the batch's shape, and for ``rated`` a gradient that is to come."""
        first, *others = batch or (1,)
        each = math.prod(others)
        before = 4 if rated or (first * each) % 4 else 3
        self._numbers = _padded([first] * (before + 1), each)
        self._status, self._sizes = _padded([first], each), (*self._numbers, first)
        numbers, status = sum(self._numbers), sum(self._status)
        self._value_in, self._offsets = before, (4 * before * first * each, 0, 4 * each * numbers)
        self.table = allocator((numbers + first, *others), torch.float32, device)
        self._many = min(MANY, BYTES // max(1, 4 * each * (numbers + status)))
        self._several = allocator((self._many * (numbers + status), *others), torch.float32, device)
        self._row, self._ready, self._batch = 4 * each, [], batch

    def _apart(self, rows: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
        """Return pieces of so many rows, or single numbers where there is no batch; to autograd they are no views."""
        return split(rows, sizes) if self._batch else [a.data for a in rows.unbind()]

    def parts(self, table: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return value, multiplier, shift, gap and status out of the table."""
        parts = self._apart(table, self._sizes)
        return parts[self._value_in], parts[0], parts[1], parts[2], parts[-1].view(int32)

    def places(self, table: torch.Tensor) -> tuple[int, int, int]:
        """Return where value, numbers and status begin in the table."""
        at = POINTER(table)
        value, numbers, status = self._offsets
        return at + value, at + numbers, at + status

    def take(self) -> tuple[Any, ...] | None:
        """Return the parts of a table that is nobody's yet, and where its value, numbers and status begin.

        They may have been allocated in an earlier call. None where they would be now and are large, or a dispatch mode
        is active, which they would belong to.
        """
        try:
            return self._ready.pop()
        except IndexError:
            if self._many < 2 or torch._C._len_torch_dispatch_stack():
                return None
            with torch.inference_mode(False):
                ready = self._cut()
            taken = ready.pop()
            self._ready += ready
            return taken

    def _cut(self) -> list[tuple[Any, ...]]:
        """Return as much as `take` returns once, many times."""
        many, table, value_in = self._many, self._several(), self._value_in
        numbers, status = sum(self._numbers), sum(self._status)
        of_numbers, of_status = split(table, (many * numbers, many * status))
        parts = self._apart(of_numbers, many * self._numbers)
        states = self._apart(of_status.view(int32), many * self._status)
        step, stride = len(parts) // many, len(states) // many
        begin, end = POINTER(table), POINTER(table) + self._row * many * numbers
        out = []
        for k in range(many):
            i, at = step * k, begin + self._row * numbers * k
            reported = (parts[i + value_in], parts[i], parts[i + 1], parts[i + 2], states[stride * k])
            out.append((reported, (at + self._offsets[0], at, end + self._row * status * k)))
        return out
