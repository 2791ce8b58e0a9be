"""Fitted ratios in files: everything that was fitted, checked on the way back, nothing unpickled.

A file holds arrays and a header in JSON: the format's name and version, the ratio's structure, and a digest of
them all. Formats are numpy's ``.npz`` and, with the package ``safetensors``, ``.safetensors``.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat as aac
import numpy as np
from numpy.typing import NDArray

from counterpoise import Ratio

from ._containers import Arrays, pack, read, refusing, suffix_of, write
from ._stored import DEEPEST, DTYPES, FORMAT, VERSION, digest_of, header_of, ratio_of

__all__ = ["load_ratio", "save_ratio"]


def save_ratio(model: Ratio, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted ratio to a file, all of it or nothing, so that `load_ratio` gives back the same numbers.

    Parameters
    ----------
    model : Ratio
        From any fit, of numpy, torch, jax or other array-API arrays in float32 or float64. Members of an average,
        scores and comparisons are kept; the library and the device are not.
    path : path-like
        ``.npz`` or ``.safetensors``. The same ratio gives the same bytes.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    TypeError
        No ratio, or arrays of another dtype.
    ValueError
        Another suffix; a ratio that could not be evaluated: with NaN coefficients, or shapes that do not fit.
    ImportError
        ``.safetensors`` without the package.
    FileExistsError
        An existing file, without ``overwrite``.
    OSError
        A full disk, a missing folder: no part of the file stays, and an existing one is untouched.

    Examples
    --------
    >>> import tempfile, numpy as np, counterpoise as cp
    >>> from pathlib import Path
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> model = cp.fit_gaussian(target=x + 1, train=x)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_ratio(model, Path(folder) / "ratio.npz")
    ...     again = load_ratio(Path(folder) / "ratio.npz")
    >>> bool(np.all(cp.ratio(again, x) == cp.ratio(model, x)))
    True
    """
    if not isinstance(model, Ratio):
        raise TypeError(f"model is a {type(model).__name__}; a Ratio, from one of the fits, is needed")
    path = Path(path)
    suffix = suffix_of(path)
    arrays: Arrays = {}
    body = {"format": FORMAT, "version": VERSION, "ratio": _taken_apart(model, arrays, "", 0)}
    text = json.dumps({**body, "digest": digest_of(body, arrays)})
    try:
        ratio_of(text, arrays)  # what could not be loaded is not written
        content = pack(suffix, text, arrays)
    except ValueError as error:
        raise ValueError(f"model cannot be saved: {error}") from None
    write(path, content, overwrite=overwrite)


def load_ratio(path: str | os.PathLike[str], *, like: Any = None) -> Ratio:
    """Read a ratio that `save_ratio` has written, and refuse anything else.

    Safe for files of unknown origin: nothing in them is executed or unpickled, and nothing is allocated that the
    file does not hold. Every array's dtype, shape and, where the ratio needs it, finiteness is checked.

    Parameters
    ----------
    path : path-like
        ``.npz`` or ``.safetensors``.
    like : array, optional
        Whose library and device the arrays are to have, from a fit to torch or jax arrays for instance; default
        numpy. The dtype stays the file's, float32 where the library or device has no float64.

    Returns
    -------
    Ratio
        In numpy, with the same bits.

    Raises
    ------
    ValueError
        A damaged, cut or foreign file, one of a later version, with an array missing, of a wrong shape or dtype, or
        not finite; another suffix. The message names file and reason.
    TypeError
        A ``like`` that is no array.
    ImportError
        ``.safetensors`` without the package.
    FileNotFoundError, OSError
        A file that is missing or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "ratio.npz"
    ...     _ = path.write_bytes(b"something else")
    ...     load_ratio(path)
    Traceback (most recent call last):
    ValueError: ...ratio.npz holds no ratio that can be read: it is damaged (BadZipFile: File is not a zip file)
    """
    if like is not None and not aac.is_array_api_obj(like):
        raise TypeError(f"like is a {type(like).__name__}; an array whose library and device to use is needed")
    path = Path(path)
    text, arrays = read(path, header_of)
    with refusing(path):
        model = ratio_of(text, arrays)
    return model if like is None or aac.is_numpy_array(like) else _moved(model, _mover(like))


def _taken_apart(model: Ratio, arrays: Arrays, prefix: str, depth: int) -> dict[str, Any]:
    """Return a ratio's structure, and put its arrays under names of their own."""
    if depth > DEEPEST:
        raise ValueError(f"model cannot be saved: averages within averages, deeper than {DEEPEST}")
    features = model.features
    beside = [] if features is None else [n for n in ("tilts", "tails") if getattr(features, n) is not None]
    share = [] if features is None or features.share is None else ["share"]
    there = [name for name in ("cap", "noise") if getattr(model, name) is not None]
    parts: dict[str, tuple[Any, tuple[str, ...]]] = {
        "": (model, ("coefficients", "penalty", "gap", *there)),
        "features.": (
            model.features,
            ("shift", "scale", "centres", "bandwidth", *beside, *share),
        ),
        "scores.": (model.scores, ("bandwidth", "penalty", "score")),
        "comparison.": (model.comparison, ("score", "difference", "standard_error")),
    }
    for part, (holder, fields) in parts.items():
        for field in () if holder is None else fields:
            arrays[f"{prefix}{part}{field}"] = _as_numpy(f"{prefix}{part}{field}", getattr(holder, field))
    return {
        **dict.fromkeys([*there, *beside], True),  # files without stay what they were before
        "method": model.method,
        "alpha": float(model.alpha),
        "features": None if model.features is None else model.features.kind,
        "scores": model.scores is not None,
        "comparison": None if model.comparison is None else list(model.comparison.methods),
        "members": [
            _taken_apart(member, arrays, f"{prefix}members.{i}.", depth + 1) for i, member in enumerate(model.members)
        ],
    }


def _as_numpy(name: str, array: Any) -> NDArray[Any]:
    """Copy an array of any library to the host, little-endian and contiguous."""
    try:
        if aac.is_torch_array(array):
            array = array.detach().cpu()
        elif aac.is_cupy_array(array):
            array = array.get()
        host = np.asarray(array) if hasattr(array, "__array__") else np.asarray(np.from_dlpack(array))
    except (AttributeError, RuntimeError, TypeError) as error:
        raise TypeError(f"model's {name} is no array that numpy can read: {error}") from error
    if host.dtype.name not in DTYPES:
        raise TypeError(f"model's {name} has dtype {host.dtype}; float32 or float64 is needed")
    return np.array(host, dtype=host.dtype.newbyteorder("<"), order="C")


def _mover(like: Any) -> Callable[[NDArray[Any]], Any]:
    """Return what turns a numpy array into one beside ``like``."""
    xp, device = aac.array_namespace(like), aac.device(like)
    try:
        known = xp.__array_namespace_info__().dtypes(device=device, kind="real floating")
    except (TypeError, ValueError):  # a device that the library's own listing does not know
        known = {"float32": None}
    return lambda array: xp.asarray(array if array.dtype.name in known else array.astype(np.float32), device=device)


def _moved(part: Any, move: Callable[[NDArray[Any]], Any]) -> Any:
    if isinstance(part, np.ndarray | np.floating):
        return move(np.asarray(part))
    if isinstance(part, tuple):
        entries = [_moved(entry, move) for entry in part]
        return type(part)(*entries) if hasattr(part, "_fields") else tuple(entries)
    return part
