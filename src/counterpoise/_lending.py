"""Arrays of other libraries in the memory of a CPU, lent to numpy where its operations cost less."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from numbers import Real
from typing import Any, ParamSpec, TypeVar, cast

import array_api_compat as aac

from ._types import Array
from ._xp import device, is_traced

P = ParamSpec("P")
Fitted = TypeVar("Fitted")


def lent(values: Sequence[Any]) -> list[Any] | None:
    """Return the values with eager CPU torch tensors as numpy arrays on the same memory, where all arrays are such.

    An operation on a small tensor costs several times one on a small array, and the solvers make hundreds.
    """
    arrays = [v for v in values if aac.is_array_api_obj(v)]
    if not arrays or not all(_lendable(a) for a in arrays):
        return None
    return [v.detach().numpy() if aac.is_array_api_obj(v) else v for v in values]


def _lendable(array: Array) -> bool:
    if not aac.is_torch_array(array):
        return False
    torch = sys.modules["torch"]
    if type(array) not in {torch.Tensor, torch.nn.Parameter} or array.device.type != "cpu" or is_traced(array):
        return False
    plain = array.layout == torch.strided and not array.is_neg()
    return plain and array.dtype in {torch.float32, torch.float64}


def returned(array: Array) -> Array:
    """Return a numpy array as a torch tensor on the same memory."""
    return sys.modules["torch"].as_tensor(array)


def on_host(fit: Callable[P, Fitted]) -> Callable[P, Fitted]:
    """Let numpy fit jax arrays of a CPU: XLA would compile hundreds of small operations anew for every number of rows.

    Folds have many such numbers: a choice of method took minutes. The fit is in float64 even where jax has none.
    """

    @wraps(fit)
    def hosted_fit(*args: P.args, **kwargs: P.kwargs) -> Fitted:
        arrays = [*_leaves(list(kwargs.values()))]
        if kwargs.get("all_reduce") is not None or not arrays or not all(map(hosted, arrays)):
            return fit(*args, **kwargs)
        given: Any = {name: _changed(from_jax, value) for name, value in kwargs.items()}
        return cast(Fitted, _changed(partial(to_jax, arrays[0]), fit(*args, **given)))

    return hosted_fit


def _leaves(tree: Any) -> Iterator[Array]:
    """Yield the arrays in (named) tuples and lists."""
    for branch in tree if isinstance(tree, tuple | list) else (tree,):
        if isinstance(branch, tuple | list):
            yield from _leaves(branch)
        elif _is_array(branch):
            yield branch


def _changed(change: Callable[[Array], Array], tree: Any) -> Any:
    """Change the arrays in (named) tuples and lists."""
    if isinstance(tree, tuple | list):
        parts = [_changed(change, branch) for branch in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return change(tree) if aac.is_array_api_obj(tree) else tree


def _is_array(value: Any) -> bool:
    return bool(aac.is_array_api_obj(value)) and not isinstance(value, Real)  # numpy's scalars go with every library


def hosted(array: Array) -> bool:
    """Tell whether the array is jax's, eager and in the memory of a CPU: numpy reads it as it is."""
    if not aac.is_jax_array(array) or is_traced(array):
        return False
    return all(place.platform == "cpu" for place in array.devices())


def from_jax(array: Array) -> Array:
    """Return a hosted array as numpy's, half precision as float32, which numpy does not have all of."""
    if not aac.is_jax_array(array):
        return array
    half = array.dtype.itemsize == 2 and array.dtype.kind not in "iu"
    return (array.astype("float32") if half else array).__array__()


def to_jax(like: Array, array: Array) -> Array:
    """Return a numpy array or scalar as jax's, where ``like`` is, in the widest dtype that jax is set to have."""
    return sys.modules["jax"].numpy.asarray(array, device=device(like))
