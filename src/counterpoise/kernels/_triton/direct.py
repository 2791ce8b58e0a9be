"""Launching a compiled kernel again without Triton's own way there, which takes longer than a small kernel does.

Triton compiles a kernel once for the constants, the dtypes, and for which integers are 1 or multiples of 16 and which
pointers are multiples of 16, and works all of that out of its arguments in every call. A `Plan` does it once a shape.
"""

# mypy: ignore-errors
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import triton
from triton import knobs
from triton.compiler import CompiledKernel
from triton.runtime import JITFunction, driver

KNOWN = {(3, 6), (3, 7)}
"""The versions whose launchers are known here; others launch as Triton does."""
VERSION = tuple(map(int, triton.__version__.split(".")[:2]))

POINTER = torch.Tensor.data_ptr
_RUNTIME, _COMPILATION = knobs.runtime, knobs.compilation
_current_device = getattr(torch._C, "_cuda_getDevice", torch.cuda.current_device)
"""The public function asks first whether CUDA is initialised; an array on a device says that it is."""
stream = getattr(torch._C, "_cuda_getCurrentRawStream", lambda device: torch.cuda.current_stream(device).cuda_stream)
"""A device's current stream, 0 where that is the default one."""
_COMPILED: dict[tuple, dict] = {}
"""By all that Triton specialises on but the pointers: the launchers, by the pointers that 16 does not divide."""


def watched(kernel: JITFunction) -> bool:
    """Whether somebody hooks into launches, debugs or instruments them: then Triton launches."""
    enter, leave = _RUNTIME.launch_enter_hook, _RUNTIME.launch_exit_hook
    return bool(
        getattr(enter, "calls", enter) or getattr(leave, "calls", leave) or _RUNTIME.debug or kernel.pre_run_hooks
        or _RUNTIME.add_stages_inspection_hook or _COMPILATION.instrumentation_mode
    )  # fmt: skip


def launcher(compiled: Any) -> Callable | None:
    """Return (programs, device, arguments) -> None for a kernel that ran, or None where it is not of the known kind."""
    if VERSION not in KNOWN or not isinstance(compiled, CompiledKernel):
        return None
    run, function, packed = compiled.run, compiled.function, compiled.packed_metadata
    wanted = ("launch", "global_scratch_size", "profile_scratch_size", "launch_cooperative_grid", "launch_pdl")
    if compiled.metadata.target.backend != "cuda" or not all(hasattr(run, name) for name in wanted):
        return None
    launch, together, early = run.launch, run.launch_cooperative_grid, run.launch_pdl
    stream = driver.active.get_current_stream
    if run.global_scratch_size or run.profile_scratch_size:
        return None
    if VERSION == (3, 6):
        return lambda programs, device, arguments: launch(
            programs, 1, 1, stream(device), function, together, early, None, None, packed, None, None, None, *arguments
        )
    annotations, signature = run.arg_annotations, run.kernel_signature
    return lambda programs, device, arguments: launch(
        programs, 1, 1, stream(device), function, together, early, packed, None, None, None, None, None, annotations,
        signature, arguments,
    )  # fmt: skip


def kind(number: float) -> tuple:
    """Return what Triton compiles for in a number."""
    if isinstance(number, float):
        return ("float",)
    return number == 1, number % 16 == 0, number.bit_length() < 32


def allocator(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Callable[[], torch.Tensor]:
    """Return what allocates on the device, which is the current one; as compiled graphs do, twice as quick as empty."""
    quick = getattr(getattr(torch._C._dynamo, "guards", None), f"_empty_strided_{device.type}", None)
    if quick is None:
        return partial(torch.empty, shape, dtype=dtype, device=device)
    strides = tuple([math.prod(shape[i + 1 :]) for i in range(len(shape))])
    return partial(quick, tuple(shape), strides, dtype)


class Plan:
    """A kernel at one shape of its arguments, which are arrays in and out, then numbers, then constants."""

    __slots__ = ("after", "before", "device", "dtypes", "kernel", "launchers", "named", "programs", "rest")

    def __init__(
        self, kernel: Any, device: torch.device, programs: int, inputs: tuple, outputs: tuple, before: tuple,
        after: tuple, constants: dict[str, int], options: dict[str, int],
    ) -> None:  # fmt: skip
        """Prepare, for arrays by their dtypes; numbers of the shape stand ``before`` and ``after`` those of a call."""
        self.kernel, self.programs, self.before, self.after = kernel, programs, before, after
        self.dtypes = (*inputs, *outputs)
        self.rest, self.named = (*after, *constants.values()), {**constants, **options}
        self.device = -1 if device.index is None else device.index
        key = (kernel, device, self.dtypes, *map(kind, before + after), *constants.values(), *options.items())
        self.launchers = _COMPILED.setdefault(key, {}) if isinstance(kernel, JITFunction) else {}

    def elsewhere(self) -> bool:
        """Whether the current device is another than the arrays'."""
        return self.device >= 0 and self.device != _current_device()

    def launch(self, pointers: tuple[int, ...], bits: int, *floats: float) -> bool:
        """Launch on the current device, or return False: `by_triton` must. ``bits`` are all that the pointers have."""
        launch = self.launchers.get(_odd(pointers) if bits & 15 else None)
        if not launch or not self.programs or watched(self.kernel):
            return not self.programs
        launch(self.programs, self.device, (*pointers, *self.before, *floats, *self.rest))
        return True

    def by_triton(self, inputs: tuple, outputs: tuple, *floats: float) -> None:
        """Launch as Triton does, on the current device, and keep what it has compiled."""
        arrays = (*inputs, *outputs)
        views = [a if a.dtype == dtype else a.view(dtype) for a, dtype in zip(arrays, self.dtypes, strict=True)]
        compiled = self.kernel[(self.programs,)](*views, *self.before, *floats, *self.after, **self.named)
        known = launcher(compiled)
        if known and not watched(self.kernel):
            self.launchers[_odd(map(POINTER, arrays))] = known


def _odd(pointers: Iterable[int]) -> tuple[bool, ...] | None:
    """Return which pointers are no multiples of 16; None where all are."""
    odd = tuple([pointer % 16 != 0 for pointer in pointers])
    return odd if any(odd) else None
