"""What a stored ratio must look like: its header, its digest, and every array's place, shape and values."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from counterpoise.ratios.features import Features, Kind
from counterpoise.ratios.model import Comparison, Method, Ratio, Scores

from ._containers import Arrays

__all__ = ["DEEPEST", "DTYPES", "FORMAT", "VERSION", "digest_of", "header_of", "ratio_of"]

FORMAT = "counterpoise-ratio"
VERSION = 1
DEEPEST = 16
"""Most averages within one another."""
DTYPES = ("float32", "float64")

Take = Callable[[str, int], Any]
"""Gives the array of a name, which must have so many axes."""


def digest_of(body: dict[str, Any], arrays: Arrays) -> str:
    """Fingerprint everything that a ratio is made of: safetensors files have no checksum of their own."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii"))
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def header_of(text: str) -> dict[str, Any]:
    """Parse a header and see that it is one of ours and of a version that is known."""
    header = json.loads(text)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"its header does not say {FORMAT!r}; it was not written by save_ratio")
    version = header.get("version")
    if type(version) is not int or version < 1:
        raise ValueError(f"its version is {version!r}; a number is needed")
    if version > VERSION:
        raise ValueError(f"it is of version {version}, and this counterpoise reads up to {VERSION}; update it")
    _need_keys("header", header, {"format", "version", "ratio", "digest"})
    return header


def ratio_of(text: str, arrays: Arrays) -> Ratio:
    """Build a ratio from parts that are checked one by one and against each other."""
    header = header_of(text)
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise ValueError(f"{name!r} has dtype {array.dtype}; float32 or float64 is needed")
    if header.pop("digest") != digest_of(header, arrays):
        raise ValueError("its content is not what was saved: the digest differs")
    rest = dict(arrays)

    def take(name: str, ndim: int) -> Any:
        if name not in rest:
            raise ValueError(f"the array {name!r} is missing")
        array = rest.pop(name)
        if array.ndim != ndim:
            raise ValueError(f"{name!r} has shape {array.shape}; {ndim} axes are needed")
        return np.asarray(array, dtype=array.dtype.newbyteorder("="))

    model = _ratio(header["ratio"], take, "", 0)
    if rest:
        raise ValueError(f"there is no place for the arrays {', '.join(map(repr, sorted(rest)[:5]))}")
    return model


def _ratio(part: Any, take: Take, prefix: str, depth: int) -> Ratio:
    keys = {"method", "alpha", "features", "scores", "comparison", "members"}
    optional = {name for name in ("cap", "noise", "tilts", "tails") if isinstance(part, dict) and name in part}
    _need_keys(f"{prefix}ratio", part, keys | optional)
    for name in optional:
        _need(part[name] is True, f"{prefix}{name} is no true; a ratio without has no such entry")
    method, alpha, members = part["method"], part["alpha"], part["members"]
    _need(method in get_args(Method), f"{prefix}method is {method!r}; one of {get_args(Method)} is needed")
    _need(type(alpha) is float and 0.0 <= alpha < 1.0, f"{prefix}alpha is {alpha!r}; a number in [0, 1) is needed")
    _need(isinstance(members, list) and depth <= DEEPEST, f"{prefix}members are no list, or too deep")
    beside = optional & {"tilts", "tails"}
    features = None if part["features"] is None else _features(part["features"], take, f"{prefix}features.", beside)
    averaged = method == "average"
    _need(averaged == (features is None) == bool(members), f"{prefix}features and members do not fit {method!r}")
    theta = take(f"{prefix}coefficients", 1)
    inside = tuple(_ratio(member, take, f"{prefix}members.{i}.", depth + 1) for i, member in enumerate(members))
    count = len(inside) if features is None else 1 + _width(features)
    _need(theta.shape == (count,), f"'{prefix}coefficients' has shape {theta.shape}; {(count,)} is needed")
    _need_finite(f"{prefix}coefficients", theta)
    _need(len({_inputs(member) for member in inside}) <= 1, f"{prefix}members differ in their number of features")
    penalty = take(f"{prefix}penalty", 0)
    _need(bool(penalty >= 0), f"'{prefix}penalty' is {penalty}; a number ≥ 0 is needed")  # ∞ for the ratio 1
    gap = take(f"{prefix}gap", 0)
    _need(type(part["scores"]) is bool, f"{prefix}scores is {part['scores']!r}; true or false is needed")
    scores = _scores(take, f"{prefix}scores.") if part["scores"] else None
    names = part["comparison"]
    comparison = None if names is None else _comparison(names, take, f"{prefix}comparison.")
    cap = take(f"{prefix}cap", 0) if "cap" in optional else None
    fits = cap is None or (averaged and bool(np.isfinite(cap)))
    _need(fits, f"'{prefix}cap' is {cap}; only averages have one, a finite number")
    noise = take(f"{prefix}noise", 2) if "noise" in optional else None
    if noise is not None:
        fits = not averaged and noise.shape[1] == count
        _need(fits, f"'{prefix}noise' has shape {noise.shape}; {count} columns are needed, and no average")
        _need_finite(f"{prefix}noise", noise)
    return Ratio(method, features, theta, alpha, penalty, gap, scores, inside, comparison, cap, noise)


def _features(kind: Any, take: Take, prefix: str, beside: set[str]) -> Features:
    _need(kind in get_args(Kind), f"{prefix}kind is {kind!r}; one of {get_args(Kind)} is needed")
    allowed: dict[str, list[set[str]]] = {"gaussian": [set(), {"tilts"}, {"tails"}], "student": [{"tails"}]}
    fit = beside in allowed.get(kind, [set()])
    _need(fit, f"{prefix[:-1]} have {' and '.join(sorted(beside)) or 'no tails'}, which {kind} ones cannot")
    shared = {"share": 0} if kind == "gaussian" and beside else {}
    axes = {"shift": 1, "scale": 1, "centres": 2, "bandwidth": 0, **dict.fromkeys(beside, 2), **shared}
    arrays = {name: take(prefix + name, ndim) for name, ndim in axes.items()}
    for name, array in arrays.items():
        _need_finite(prefix + name, array)
    features = Features(kind, **arrays)
    tails = features.tails
    d, centres = features.shift.shape[0], features.centres.shape
    _need(d > 0 and features.scale.shape == (d,), f"'{prefix}shift' and '{prefix}scale' differ in shape, or are empty")
    _need(centres[1] == d, f"'{prefix}centres' has shape {centres}, but there are {d} features")
    _need(kind == "gaussian" or centres[0] == 0, f"'{prefix}centres' has {centres[0]} rows; {kind} features have none")
    widths = (1 + d, 1 + d + d * (d + 1) // 2)
    shape = (0, widths[0]) if features.tilts is None else features.tilts.shape
    _need(shape[1] in widths, f"'{prefix}tilts' has shape {shape}; {widths[0]} or {widths[1]} columns are needed")
    fit = tails is None or (tails.shape == (7 + d, d) and bool((tails[[1, 3, 4, 6]] > 0).all()))
    _need(fit, f"'{prefix}tails' are not {7 + d} rows and {d} columns, or have no positive freedom or spread")
    share = 0.5 if features.share is None else float(features.share)
    _need(0.0 < share < 1.0, f"'{prefix}share' is {share}; a number between 0 and 1 is needed")
    positive = bool(np.all(features.scale > 0)) and bool(features.bandwidth > 0)
    _need(positive, f"'{prefix}scale' or '{prefix}bandwidth' is not positive")
    return features


def _scores(take: Take, prefix: str) -> Scores:
    scores = Scores(take(f"{prefix}bandwidth", 1), take(f"{prefix}penalty", 1), take(f"{prefix}score", 2))
    shape = (scores.bandwidth.shape[0], scores.penalty.shape[0])
    _need(scores.score.shape == shape, f"'{prefix}score' has shape {scores.score.shape}; {shape} is needed")
    return scores


def _comparison(names: Any, take: Take, prefix: str) -> Comparison:
    _need(isinstance(names, list) and all(type(n) is str for n in names), f"{prefix}methods are not names")
    arrays = [take(prefix + name, 1) for name in ("score", "difference", "standard_error")]
    _need(all(a.shape == (len(names),) for a in arrays), f"the arrays of {prefix[:-1]} are not one for each method")
    return Comparison(tuple(names), *arrays)


def _width(features: Features) -> int:
    """Count the features but the constant."""
    d = int(features.shift.shape[0])
    tilts = int(features.tails is not None) if features.tilts is None else int(features.tilts.shape[0])
    bumps = int(features.centres.shape[0]) + tilts
    return {"gaussian": bumps, "linear": d, "quadratic": d + d * (d + 1) // 2, "student": 1}[features.kind]


def _inputs(model: Ratio) -> int:
    return _inputs(model.members[0]) if model.features is None else int(model.features.shift.shape[0])


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _need_finite(name: str, array: NDArray[Any]) -> None:
    _need(bool(np.all(np.isfinite(array))), f"{name!r} has NaN or infinite entries")


def _need_keys(name: str, part: Any, keys: set[str]) -> None:
    if not isinstance(part, dict) or set(part) != keys:
        raise ValueError(f"its {name} does not have the entries {', '.join(sorted(keys))}, and no others")
