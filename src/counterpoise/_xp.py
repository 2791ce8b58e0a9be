"""Namespaces, dtypes, devices and shapes: the only file that looks at them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import array_api_compat as aac

from ._types import AllReduce, Array

DOT = 1024
"""Longest row whose products numpy sums without storing them: such a sum is not pairwise, so its rounding grows."""


def namespace(**arrays: Array) -> Any:
    """Return the one namespace of the named arrays; None and numbers do not count, but the first is an array."""
    first = next(iter(arrays))
    required(first, arrays[first])
    given = {name: a for name, a in arrays.items() if a is not None and (name == first or not isinstance(a, Real))}
    for name, a in given.items():
        if type(a).__name__ in ("MaskedArray", "matrix"):
            raise TypeError(
                f"{name} is a numpy {type(a).__name__}, whose mask or product would be lost; pass a plain array "
                "(numpy.asarray makes one), with zero prior where a mask hides entries"
            )
        if not aac.is_array_api_obj(a) or isinstance(a, Real):
            raise TypeError(
                f"{name} is a {type(a).__name__}, not an array; "
                "pass a numpy, torch, jax or other array-API array (numpy.asarray turns lists into one)"
            )
    kinds = {name: aac.array_namespace(a) for name, a in given.items()}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{name}: {type(given[name]).__module__.split('.')[0]}" for name in given)
        raise TypeError(f"arrays of different libraries ({found}); convert them to one of these first")
    devices = {name: place for name, a in given.items() if (place := device(a)) is not None}
    if len({str(place) for place in devices.values()}) > 1:
        found = ", ".join(f"{name}: {place}" for name, place in devices.items())
        raise ValueError(f"arrays on different devices ({found}); move them to one device first")
    return next(iter(kinds.values()))


def required(name: str, array: Array) -> None:
    """Refuse a missing array: None is for those that may be left out."""
    if array is None:
        raise TypeError(f"{name} is None; an array is needed")


def device(array: Array) -> Any:
    """Return the device, or None for an array that is being traced and has none yet."""
    if aac.is_jax_array(array) and is_traced(array):
        return None
    return aac.device(array)


def is_traced(array: Array) -> bool:
    """Tell whether the array's values cannot be looked at: lazy, traced, batched by a transform."""
    if aac.is_dask_array(array):
        return True
    if aac.is_jax_array(array):
        return isinstance(array, sys.modules["jax"].core.Tracer)
    if aac.is_torch_array(array):
        torch = sys.modules["torch"]
        return bool(
            torch.compiler.is_compiling()
            or torch._C._functorch.is_functorch_wrapped_tensor(array)
            or torch._C._functorch.maybe_current_level() is not None
            or array.is_meta
        )
    return False


def anywhere(mask: Array) -> bool:
    """Tell whether any entry may be true: a look at eager arrays saves whole passes; traced ones are not looked at."""
    if aac.is_numpy_array(mask):  # asked a dozen times a block: its own method takes a third of the time
        return bool(mask.any())
    return is_traced(mask) or bool(aac.array_namespace(mask).any(mask))


def sorts_fast(array: Array) -> bool:
    """Tell whether a sort costs no more than a few passes: numpy's is vectorised, and CPU torch is lent to it."""
    return bool(aac.is_numpy_array(array))


def constant(name: str, array: Array) -> Array:
    """Cut the array from autograd; refuse one that a functional transform is differentiating."""
    if aac.is_torch_array(array):
        if sys.modules["torch"]._C._functorch.is_gradtrackingtensor(array):
            _refuse(name)
        return array.detach()
    if aac.is_jax_array(array) and type(array).__name__ in {"JVPTracer", "LinearizeTracer"}:
        _refuse(name)
    return array


def _refuse(name: str) -> None:
    raise TypeError(
        f"{name} is being differentiated, but counterpoise's core returns constants: differentiating through a "
        "root-finder is silently wrong. Use the differentiable forms in counterpoise_adapters.pytorch, or hold "
        "the weights constant and differentiate sum(weights * losses) (Danskin's theorem)"
    )


def floating(xp: Any, name: str, array: Array, *, min_ndim: int = 1) -> Array:
    """Return the array as a constant of the accumulation dtype, or say why it is not usable."""
    required(name, array)
    if isinstance(array, Real):
        raise TypeError(f"{name} is the number {array}; an array is needed")
    if not xp.isdtype(array.dtype, "real floating"):
        raise TypeError(
            f"{name} has dtype {array.dtype}; real floating-point is needed (convert it to float32 or float64)"
        )
    if array.ndim < min_ndim or 0 in array.shape[array.ndim - min_ndim :]:
        raise ValueError(f"{name} has shape {tuple(array.shape)}; its last axis must hold at least one value")
    array = constant(name, array)
    return xp.astype(array, xp.float32) if xp.finfo(array.dtype).bits < 32 else array


def widest(xp: Any, array: Array) -> Array:
    """Convert to the widest real float that the array's device has: sums over samples are worth it."""
    try:
        known = xp.__array_namespace_info__().dtypes(device=device(array), kind="real floating")
    except (TypeError, ValueError):  # a device that the library's own listing does not know
        known = {}
    return xp.astype(array, xp.float64 if "float64" in known else xp.float32)


def indices(xp: Any, numbers: Sequence[int], like: Array) -> Array:
    """Return indices on the device of ``like``."""
    return xp.asarray(list(numbers), dtype=integer(xp, like), device=device(like))


def integer(xp: Any, like: Array) -> Any:
    """Return the library's own dtype of whole numbers: jax without x64 has no int64, and says so at every call."""
    return xp.__array_namespace_info__().default_dtypes(device=device(like))["integral"]


def aligned(xp: Any, named: dict[str, Array]) -> list[Array]:
    """Check and convert the named arrays, promote them to one dtype and broadcast them to one shape."""
    arrays = [floating(xp, name, a) for name, a in named.items()]
    dtype = arrays[0].dtype
    for a in arrays[1:]:
        dtype = xp.result_type(dtype, a.dtype)
    shapes = {tuple(a.shape) for a in arrays}
    if len(shapes) > 1:
        try:
            arrays = list(xp.broadcast_arrays(*arrays))
        except (ValueError, RuntimeError, TypeError) as error:
            found = ", ".join(f"{name} {tuple(a.shape)}" for name, a in named.items())
            raise ValueError(f"shapes do not broadcast: {found}; the last axis holds the atoms") from error
    return [a if a.dtype == dtype else xp.astype(a, dtype) for a in arrays]


def amount(xp: Any, name: str, value: Array, like: Array) -> Array:
    """Return a penalty, radius or level as an array of shape ``(..., 1)`` against ``like`` (..., n)."""
    batch = tuple(like.shape[:-1])
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value}; a float or an array of shape {batch} is needed")
    if isinstance(value, Real):
        return filled(xp, like[..., :1], float(value))
    if not aac.is_array_api_obj(value):
        raise TypeError(f"{name} is a {type(value).__name__}; a float or an array of shape {batch} is needed")
    if not xp.isdtype(value.dtype, "real floating"):
        raise TypeError(f"{name} has dtype {value.dtype}; real floating-point is needed")
    try:
        spread: Array = xp.broadcast_to(constant(name, value), batch)
    except (ValueError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}; a float or an array of shape {batch} is needed"
        ) from error
    return narrowed(xp, spread, like.dtype)[..., None]


def filled(xp: Any, like: Array, number: float) -> Array:
    """Return a number at every place of an array; infinity beyond the dtype, without a warning."""
    if abs(number) > float(xp.finfo(like.dtype).max):
        number = math.copysign(math.inf, number)
    return xp.zeros_like(like) + number


def in_range(xp: Any, values: Array) -> tuple[Array, Array]:
    """Divide rows by their largest entry if squares of it would leave the dtype's range; return that too, or else 1."""
    info = xp.finfo(values.dtype)
    largest = xp.max(xp.where(xp.isfinite(values), xp.abs(values), 0.0), axis=-1, keepdims=True)
    far = (largest > float(info.max) ** 0.45) | ((largest < float(info.smallest_normal) ** 0.45) & (largest > 0))
    unit = xp.where(far, largest, 1.0)
    return values / unit, unit


def narrowed(xp: Any, values: Array, dtype: Any) -> Array:
    """Convert to a dtype; infinity beyond its range, where numpy's own cast would warn."""
    if values.dtype == dtype:
        return values
    largest = float(xp.finfo(dtype).max)
    if float(xp.finfo(values.dtype).max) > largest:
        values = xp.where(values > largest, xp.inf, xp.where(values < -largest, -xp.inf, values))
    return xp.astype(values, dtype)


def count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number, Python's or a scalar of numpy's, or say what it is."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; an integer >= {least} is needed")
    return int(value)


def number(name: str, value: Any, valid: Callable[[float], bool], allowed: str) -> float:
    """Return a number as a float, or say what it is and what is allowed, which NaN never is."""
    try:
        found = math.nan if value is None or isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not valid(found):
        raise ValueError(f"{name} is {value!r}; {allowed} is needed")
    return found


def listed(values: Any) -> list[Any]:
    """Return one value or an iterable of them as a list."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        return [values]
    return list(values)


def exp_or_infinity(xp: Any, values: Array) -> Array:
    """Exponentiate; infinity beyond the dtype, without a warning."""
    info = xp.finfo(values.dtype)
    limit = math.log(float(info.max)) * (1 - float(info.eps))  # which may round up to what overflows
    return xp.where(values > limit, xp.inf, xp.exp(xp.where(values > limit, limit, values)))


def shares(name: str, values: Sequence[float]) -> list[float]:
    """Return mixture shares as floats in [0, 1], or say which is not one."""
    return [
        number(f"{name}[{i}]", v, lambda share: 0.0 <= share <= 1.0, "a share in [0, 1]")
        for i, v in enumerate(listed(values))
    ]


class Reduce:
    """Reductions over the last axis, kept as an axis of length 1, across shards where there are any."""

    def __init__(self, xp: Any, all_reduce: AllReduce | None) -> None:
        self.xp = xp
        self.all_reduce = all_reduce

    def sum(self, *terms: Array | tuple[Array, Array]) -> tuple[Array, ...]:
        """Sum each array, or the products of each pair; shards pay for one exchange, whatever their number."""
        sums = tuple(self._sum(*term) if isinstance(term, tuple) else self._sum(term) for term in terms)
        if self.all_reduce is None:
            return sums
        whole = self.all_reduce(self.xp.concat(sums, axis=-1), "sum")
        return tuple(whole[..., i : i + 1] for i in range(len(sums)))

    def _sum(self, array: Array, other: Array | None = None) -> Array:
        if other is not None:
            if aac.is_numpy_namespace(self.xp) and array.shape[-1] <= DOT:
                return self.xp.vecdot(array, other, axis=-1)[..., None]
            array = array * other
        if aac.is_numpy_array(array):
            return array.sum(axis=-1, keepdims=True)
        return self.xp.sum(array, axis=-1, keepdims=True)

    def max(self, array: Array) -> Array:
        """Largest value."""
        most = self.xp.max(array, axis=-1, keepdims=True)
        return most if self.all_reduce is None else self.all_reduce(most, "max")

    def min(self, array: Array) -> Array:
        """Smallest value."""
        least = self.xp.min(array, axis=-1, keepdims=True)
        return least if self.all_reduce is None else self.all_reduce(least, "min")

    def any(self, mask: Array) -> Array:
        """Tell whether any entry is true."""
        if self.all_reduce is None:
            return self.xp.any(mask, axis=-1, keepdims=True)
        return self.max(self.xp.astype(mask, self.xp.float32)) > 0
