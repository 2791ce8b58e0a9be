"""What advice is asked on: pairs of responses, or samples with labels, as features."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Labelled", "Pairs", "Prepared", "prepare"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of responses, of which one is preferred.

    Parameters
    ----------
    preferred, other : array-like, shape (n, d)
        Features of the two responses, in the same columns.

    Examples
    --------
    >>> Pairs(np.ones((3, 2)), np.zeros((3, 2))).preferred.shape
    (3, 2)
    """

    preferred: ArrayLike
    other: ArrayLike


@dataclass(frozen=True)
class Labelled:
    """Samples with one of two labels.

    Parameters
    ----------
    features : array-like, shape (n, d)
        Numbers.
    label : array-like, shape (n,)
        True or false, or 1 and 0, or 1 and −1.

    Examples
    --------
    >>> Labelled(np.ones((2, 1)), np.array([True, False])).label
    array([ True, False])
    """

    features: ArrayLike
    label: ArrayLike


@dataclass(frozen=True)
class Prepared:
    """Rows as the policy, the ratio and the test of the labels see them.

    Parameters
    ----------
    x : array, shape (n, k)
        A linear policy scores θ and is right where xθ > 0.
    sighted : array, shape (n, p)
        Features and label: what the ratio of labelled data is a function of.
    blind : array, shape (n, q)
        Features alone.
    """

    x: Floats
    sighted: Floats
    blind: Floats


def prepare(data: Pairs | Labelled) -> Prepared:
    """Check the rows, put their features on one scale, and lay them out.

    Parameters
    ----------
    data : Pairs or Labelled
        Wrong shapes, NaN, infinities, and labels that are not two raise ValueError.

    Examples
    --------
    >>> prepare(Labelled(np.array([[1.0], [3.0]]), np.array([0, 1]))).x
    array([[ 1., -1.],
           [ 1.,  1.]])
    """
    if isinstance(data, Pairs):
        sides = [_table("preferred", data.preferred), _table("other", data.other)]
        if sides[0].shape != sides[1].shape:
            raise ValueError(f"preferred has shape {sides[0].shape} and other {sides[1].shape}; they must be the same")
        shift, scale = _scale(np.concatenate(sides))
        first, second = ((side - shift) / scale for side in sides)
        # which of the two was preferred must not show: their sum and distance are the same either way
        return Prepared(first - second, np.hstack([first, second]), np.hstack([first + second, np.abs(first - second)]))
    features = _table("features", data.features)
    sign = _signs(data.label, len(features))
    shift, scale = _scale(features)
    z = (features - shift) / scale
    with_constant = np.hstack([z, np.ones((len(z), 1))])
    return Prepared(with_constant * sign[:, None], np.hstack([z, z * sign[:, None], sign[:, None]]), z)


def _table(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {array.dtype}; numbers are needed")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; rows by at least one feature are needed")
    wide = array.astype(np.float64)
    bad = ~np.isfinite(wide).all(axis=1)
    if bad.any():
        raise ValueError(f"{name} has a NaN or infinite entry in row {int(bad.argmax())}; drop or fill such rows first")
    return wide


def _signs(label: ArrayLike, n: int) -> Floats:
    array = np.asarray(label)
    if array.shape != (n,):
        raise ValueError(f"label has shape {array.shape}; one label for each of the {n} rows is needed")
    if array.dtype.kind not in "fiub" or not (np.isin(array, (0, 1)).all() or np.isin(array, (-1, 1)).all()):
        raise ValueError("label must hold true and false, 0 and 1, or -1 and 1")
    return np.where(array > 0, 1.0, -1.0)


def _scale(rows: Floats) -> tuple[Floats, Floats]:
    shift = rows.mean(axis=0)
    scale = (rows - shift).std(axis=0)
    return shift, np.where(scale > 1e-12 * np.maximum(1.0, np.abs(shift)), scale, 1.0)
