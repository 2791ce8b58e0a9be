"""The array libraries that the core is promised for, each by what makes it strict."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Backend:
    """How to make an array there, bring it back, and what must not happen to it."""

    name: str
    make: Any
    back: Any
    dtype: str = "float64"


def _strict(name, device=None, **flags):
    strict = pytest.importorskip("array_api_strict")

    def make(values, dtype):
        strict.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)
        place = None if device is None else strict.Device(device)
        return strict.asarray(np.asarray(values), dtype=getattr(strict, dtype), device=place)

    def back(array):
        return np.asarray(strict.asarray(array, device=strict.Device("CPU_DEVICE")))

    return Backend(name, make, back, **flags)


def _numpy():
    def make(values, dtype):
        array = np.array(values, dtype=dtype)
        array.flags.writeable = False
        return array

    return Backend("numpy, read-only", make, np.asarray)


def _torch(dtype):
    torch = pytest.importorskip("torch")
    return Backend(
        f"torch {dtype}",
        lambda values, dtype: torch.tensor(np.asarray(values), dtype=getattr(torch, dtype)),
        lambda array: array.double().numpy() if array.is_floating_point() else array.numpy(),
        dtype,
    )


def _jax():
    jax = pytest.importorskip("jax")
    return Backend("jax", lambda values, dtype: jax.numpy.asarray(values, dtype=dtype), np.asarray, "float32")


def _dask():
    da = pytest.importorskip("dask.array")

    def make(values, dtype):
        array = np.asarray(values, dtype=dtype)
        return da.from_array(array, chunks=(2, -1) if array.ndim == 2 else 2)

    return Backend("dask", make, np.asarray)


MAKERS = {
    "numpy": _numpy,
    "strict": lambda: _strict("array-api-strict"),
    "strict device2": lambda: _strict("array-api-strict, device2", "device2"),
    "strict no_float64": lambda: _strict("array-api-strict, no_float64", "no_float64", dtype="float32"),
    "strict no_x64": lambda: _strict("array-api-strict, no_x64", "no_x64", dtype="float32"),
    "torch float64": lambda: _torch("float64"),
    "torch float32": lambda: _torch("float32"),
    "torch bfloat16": lambda: _torch("bfloat16"),
    "torch float16": lambda: _torch("float16"),
    "jax": _jax,
    "dask": _dask,
}
EPS = {"float64": 2.2e-16, "float32": 1.2e-7, "float16": 9.8e-4, "bfloat16": 7.8e-3}
EAGER = ["strict", "strict device2", "strict no_float64", "torch float64", "torch float32", "jax"]
"""Those that what looks at values is promised for."""


def gives_numpys_answer(call, kind):
    """Check each array in what a call returns; it is given how to make arrays of floats and of integers."""
    backend = MAKERS[kind]()
    found = _leaves(
        call(lambda values: backend.make(values, backend.dtype), lambda values: backend.make(values, "int32"))
    )
    tolerance = 1e-3 if backend.dtype == "float32" else 1e-9
    for ours, want in zip(found, _leaves(call(np.asarray, np.asarray)), strict=True):
        if want is None:
            assert ours is None
            continue
        assert type(ours) is type(backend.make([1.0], backend.dtype))
        np.testing.assert_allclose(backend.back(ours), want, rtol=tolerance, atol=tolerance)


def _leaves(result):
    return [leaf for part in result for leaf in _leaves(part)] if isinstance(result, tuple) else [result]
