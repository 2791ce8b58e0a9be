"""The forward kernel, prepared for calls whose arguments differ in their values only."""

# mypy: ignore-errors
from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any

import torch

from .._spec import Options, Rows, Spec, Weighed, flat
from . import direct
from .direct import POINTER, Plan, allocator
from .plans import inputs_of, pull_plan, weigh_plan
from .reports import Reports
from .table import Launch

new = tuple.__new__


def _read(
    scores: torch.Tensor, options: Options, amount: float | torch.Tensor, cap: float | torch.Tensor
) -> tuple[tuple[torch.Tensor, ...], float, float]:
    """Return what the kernel reads, and two numbers, any where there is an array in place of one."""
    amounts, number = (amount, 0.0) if isinstance(amount, torch.Tensor) else (None, float(amount))
    caps, ceiling = (cap, 1.0) if isinstance(cap, torch.Tensor) else (None, float(cap))
    return inputs_of(Rows(scores, *options[:3], amounts, caps)), number, ceiling


class Weighing:
    """What solves rows of one kind; nobody holds weights by holding one of these."""

    __slots__ = ("alone", "numbers", "parts", "plan", "pulls", "reports", "run", "status", "value", "weights")

    def __init__(
        self, spec: Spec, rows: Rows, batch: tuple[int, ...], launch: Launch | None = None, rated: bool = True
    ) -> None:
        """Prepare for adjacent rows, results in the batch's shape, and for ``rated`` a gradient that is to come."""
        scores = rows.scores
        n = scores.shape[1]
        self.alone = all(a is None for a in rows[1:])
        self.plan = weigh_plan(spec, rows, launch)
        wide = torch.float32
        self.weights, self.value, self.numbers, self.status = (
            allocator(shape, dtype, scores.device)
            for shape, dtype in (
                ((*batch, n), spec.dtype), (batch, wide), ((4, *batch), wide), (batch, torch.int32),
            )
        )  # fmt: skip
        self.reports, self.pulls = Reports(batch, scores.device, rated), {}
        self.parts = self.reports.parts
        self.run = self.solver(tuple)

    def solver(self, form: type | None) -> Callable[..., Any]:
        """Return what solves scores, options, an amount and a cap again.

        It returns weights and the table for ``tuple``, all that is reported in a named tuple of that type, or weights.
        """
        run, parts = self._run, self.parts

        def solve(*given: Any) -> Any:
            weights, table = run(*given)
            if form is None:
                return weights
            return (weights, table) if form is tuple else new(form, (weights, *parts(table)))

        return self._quick(form, solve) if self.alone else solve

    def _quick(self, form: type | None, solve: Callable[..., Any]) -> Callable[..., Any]:
        """Return what does the same with scores alone in as few steps as Python takes, or where it can't, ``solve``.

        Reports are taken from an allocation for several calls on a device's default stream only: on another one memory
        may be given away that the calls still write, and a CUDA graph, which that one can't capture, needs its own.
        """
        plan, reports, weights_of, table_of = self.plan, self.reports, self.weights, self.reports.table
        kernel, programs, device, launchers = plan.kernel, plan.programs, plan.device, plan.launchers
        before, rest, several = plan.before, plan.rest, form not in (None, tuple)

        def quick(scores: torch.Tensor, options: Options, amount: float, cap: float) -> Any:
            launch = launchers.get(None)
            if launch is None or plan.elsewhere() or direct.watched(kernel):
                return solve(scores, options, amount, cap)
            weights, table = weights_of(), None
            taken = reports.take() if several and not direct.stream(device) else None
            if taken:
                reported, places = taken
            else:
                table = table_of()
                places = reports.places(table)
            read, out = POINTER(scores), POINTER(weights)
            if (read | out | places[1]) & 15:
                return solve(scores, options, amount, cap)
            launch(programs, device, (
                read, read, read, read, read, read, out, *places, *before, float(amount), float(cap), *rest
            ))  # fmt: skip
            if several:
                return new(form, (weights, *(reported if taken else reports.parts(table))))
            return weights if form is None else (weights, table)

        return quick

    def _run(
        self, scores: torch.Tensor, options: Options, amount: float | torch.Tensor, cap: float | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        plan = self.plan
        if plan.elsewhere():
            with torch.cuda.device(plan.device):
                return self._run(scores, options, amount, cap)
        weights, table = self.weights(), self.reports.table()
        arrays, *floats = _read(scores, options, amount, cap)
        pointers = (*map(POINTER, arrays), POINTER(weights), *self.reports.places(table))
        if not plan.launch(pointers, reduce(or_, pointers), *floats):
            value, *_, status = self.parts(table)
            plan.by_triton(arrays, (weights, value, table, status), *floats)
        return weights, table

    def weighed(self, rows: Rows, floats: tuple[float, ...]) -> Weighed:
        """Return all in arrays of their own."""
        if self.plan.elsewhere():
            with torch.cuda.device(self.plan.device):
                return self.weighed(rows, floats)
        inputs = inputs_of(rows)
        outputs = Weighed(self.weights(), self.value(), self.numbers(), self.status())
        pointers = (*map(POINTER, inputs), *map(POINTER, outputs))
        if not self.plan.launch(pointers, reduce(or_, pointers), *floats):
            self.plan.by_triton(inputs, outputs, *floats)
        return outputs

    def pull(
        self, spec: Spec, numbers: torch.Tensor, up: torch.Tensor, scores: torch.Tensor, weights: torch.Tensor,
        prior: torch.Tensor | None, caps: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        """Return the gradient of this kind's scores from that of the weights, which is contiguous."""
        plan, allocate = self.pulls.get(up.dtype) or self._pull(spec, up, scores, weights, prior, caps)
        if plan.elsewhere():
            with torch.cuda.device(plan.device):
                return self.pull(spec, numbers, up, scores, weights, prior, caps)
        inputs = (up, weights, scores, scores if prior is None else prior, scores if caps is None else caps, numbers)
        out = allocate()
        pointers = (*map(POINTER, inputs), POINTER(out))
        if not plan.launch(pointers, reduce(or_, pointers), spec.cap):
            plan.by_triton(inputs, (out,), spec.cap)
        return out

    def _pull(self, spec: Spec, *arrays: torch.Tensor | None) -> tuple[Plan, Callable[[], torch.Tensor]]:
        shape = arrays[1].shape
        rows = tuple([None if a is None else flat(a, shape) for a in arrays])
        up, scores, weights, prior, caps = rows
        plan, _ = pull_plan(spec, (up, weights, scores, prior, caps), False, None)
        return self.pulls.setdefault(up.dtype, (plan, allocator(tuple(shape), scores.dtype, scores.device)))
