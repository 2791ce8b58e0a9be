"""Two samples as tables: checked, cut into chunks, drawn from, split into folds, their units measured."""

from __future__ import annotations

import math
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Any

from .. import _xp
from .._types import Array

CHUNK = 8192
"""Rows that are turned into features at once."""
APART = 0.99
"""Area under the ROC curve from which the samples hardly overlap."""
PAIRS = 20_000
"""Most pairs that are left out, each exactly; rows of the smaller sample come up again."""
ROUNDING = 16.0
"""Roundings of its size by which a constant column may vary: sums in another order do as much."""
NIL, NIL_ERROR = 1 + 2 / math.pi, math.sqrt(2 + 4 / math.pi - 4 / math.pi**2)
"""Mean and standard deviation of the larger of two squared standard normals."""

_quiet: ContextVar[bool] = ContextVar("_quiet", default=False)


def samples(target: Array, train: Array) -> tuple[Any, Array, Array]:
    """Check two samples and return them as tables of the widest float that their device has."""
    xp = _xp.namespace(target=target, train=train)
    target, train = table(xp, "target", target), table(xp, "train", train)
    same_width({"target": target, "train": train})
    dtype = xp.result_type(target.dtype, train.dtype)
    return xp, xp.astype(target, dtype), xp.astype(train, dtype)


def warn(sentence: str) -> None:
    """Warn at the line outside of the package that led here, however many fits called one another on the way."""
    if _quiet.get():
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("counterpoise"):
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, UserWarning, stacklevel=level)


@contextmanager
def quiet() -> Iterator[None]:
    """Warn of nothing inside: in this thread alone, where filters of `warnings` would be those of all of them."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def warn_disjoint(xp: Any, target: Array, train: Array) -> None:
    """Warn where the samples lie apart in a column, by more than three times the range of either."""
    most, least = (xp.stack([reduce(x, axis=0) for x in (target, train)]) for reduce in (xp.max, xp.min))
    most, least = most / 8, least / 8  # differences stay finite
    gap = xp.maximum(least[0, :] - most[1, :], least[1, :] - most[0, :])
    size = xp.max(xp.maximum(xp.abs(most), xp.abs(least)), axis=0)
    apart = gap > xp.maximum(3 * xp.max(most - least, axis=0), ROUNDING * float(xp.finfo(size.dtype).eps) * size)
    if bool(xp.any(apart)):
        column = int(xp.argmax(xp.astype(apart, xp.int32)))
        warn(
            f"The samples do not overlap: in column {column} all of target lies far off all of train. No weights turn "
            "one into the other; collect training rows that look like the target, or leave the column out."
        )


def hardly_overlap(area: float) -> str:
    """Say what an area under the ROC curve that is nearly 1 means."""
    return (
        f"The samples hardly overlap: a classifier tells them apart in {area:.1%} of pairs. No weights turn one into "
        "the other; collect training rows that look like the target."
    )


def table(xp: Any, name: str, x: Array, *, finite: bool = True) -> Array:
    """Return samples as rows of floats, or say what is wrong with them."""
    _xp.required(name, x)
    if not xp.isdtype(x.dtype, ("bool", "integral", "real floating")):
        raise TypeError(f"{name} has dtype {x.dtype}; real numbers are needed: floats, integers or booleans")
    if x.ndim not in (1, 2) or 0 in x.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; a table of at least one row and one feature is needed")
    x = _xp.widest(xp, _xp.constant(name, x))
    x = x[:, None] if x.ndim == 1 else x
    if finite:
        good = xp.all(xp.isfinite(x), axis=1)
        if not bool(xp.all(good)):
            first = int(xp.argmax(xp.astype(~good, xp.int32)))
            raise ValueError(f"{name} has a NaN or infinite entry in row {first}; drop or fill such rows first")
    return x


def same_width(named: dict[str, Array]) -> None:
    """Refuse tables with different numbers of features."""
    widths = {name: int(x.shape[1]) for name, x in named.items()}
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{name}: {width}" for name, width in widths.items())
        raise ValueError(f"different numbers of features ({found}); both samples need the same columns")


def location_and_spread(xp: Any, target: Array, train: Array) -> tuple[Array, Array]:
    """Mean of the two samples pooled half and half, and the smaller of their standard deviations.

    They are the same whichever sample is called the target, and however often one is repeated. The smaller deviation
    stretches a column whose spread differs between the samples, and a difference of their means shrinks none; it is
    half that of both samples at least, and a quarter of the pooled one, so that a column that is constant in one sample
    does not outweigh all others. A column that is constant in both has its value, and that or 1 as its spread, so that
    it is 0 in these units, whatever means round to.
    """
    means = [xp.mean(x, axis=0) for x in (target, train)]
    shift = (means[0] + means[1]) / 2
    most = xp.maximum(*(xp.max(xp.abs(x - shift), axis=0) for x in (target, train)))
    unit = xp.where(most > 0, most, xp.ones_like(most))  # squares of 1e200 would leave the range
    between = ((means[0] - means[1]) / unit) ** 2 / 4
    inside = [xp.mean(((x - m) / unit) ** 2, axis=0) for x, m in zip((target, train), means, strict=True)]
    both = (inside[0] + inside[1]) / 2
    square = xp.maximum(xp.maximum(xp.minimum(*inside), both / 4), (both + between) / 16)
    varies = most > ROUNDING * float(xp.finfo(shift.dtype).eps) * xp.abs(shift)
    scale = unit * xp.sqrt(xp.where(varies, square, xp.ones_like(square)))
    value = target[0, :]
    return xp.where(varies, shift, value), xp.where(varies, scale, xp.maximum(xp.abs(value), xp.ones_like(value)))


def varying(xp: Any, target: Array, train: Array) -> Array:
    """Tell which columns of samples in the units of `location_and_spread` are not constant, but for rounding."""
    return xp.maximum(*(xp.max(xp.abs(x), axis=0) for x in (target, train))) > 0.5


def relevance(xp: Any, target: Array, train: Array) -> Array:
    """Return a factor in (0, 1] for every column of scaled samples: least where target and train hardly differ.

    With a the larger of two differences in standard errors, of means and of variances: (a + 1)/(max a − 1), at most 1.
    A column whose difference may be as large as the largest one, by a standard error of each, counts in full; one that
    does not differ gets little of a distance, so that the ratio does not have to be found among columns of noise. Where
    these are many, they get less of it: see `_held_down`.
    """
    found = _differences(xp, target, train)
    most = xp.max(found)
    if not bool(most > 2):
        return xp.ones_like(found)
    return _held_down(xp, xp.minimum((found + 1) / (most - 1), xp.ones_like(found)), found)


def _differences(xp: Any, target: Array, train: Array) -> Array:
    """Larger of two differences of every column, of means and of variances, in standard errors."""
    means, variances, errors = [], [], []
    for x in (target, train):
        n, mean = int(x.shape[0]), xp.mean(x, axis=0)
        square = (x - mean) ** 2
        variance = xp.mean(square, axis=0)
        means.append(mean)
        variances.append(variance)
        errors.append((variance / n, xp.mean((square - variance) ** 2, axis=0) / n))
    found = xp.zeros_like(means[0])
    for (a, b), (of_a, of_b) in zip((means, variances), zip(*errors, strict=True), strict=True):
        square, error = (a - b) ** 2, of_a + of_b
        known = error > 1e-6 * square  # a thousand standard errors are enough, and a constant has none
        ratio = square / xp.where(known, error, xp.ones_like(error))
        ratio = xp.where(known, ratio, xp.where(square > 0, xp.zeros_like(ratio) + 1e6, xp.zeros_like(ratio)))
        found = xp.maximum(found, xp.sqrt(ratio))
    return xp.where(varying(xp, target, train), found, xp.zeros_like(found))


def _held_down(xp: Any, factors: Array, found: Array) -> Array:
    """Return smaller factors for columns in which no difference is seen, neither in one nor in all of them together.

    A difference a is seen above √(2 log 2d), which none of 2d exceeds by chance, or hardly. Where there is no shift, a²
    is 1 + 2/π on average; what the unseen ones sum to above that is seen if it is more than two standard errors. If it
    is not, it, a standard error and the largest of one column are what they may hide. Squared factors add up to squared
    distances: those of the unseen columns are to those of the seen ones at most as what they may hide is to Σ(a − 1)²
    of these.
    """
    largest = 2 * math.log(2 * int(found.shape[0]))
    evidence, zero = found**2, xp.zeros_like(found)
    seen = evidence > largest
    above = xp.sum(xp.where(seen, zero, evidence - NIL))
    error = NIL_ERROR * xp.sqrt(xp.sum(xp.where(seen, zero, zero + 1)))
    if not bool(above <= 2 * error):
        return factors
    hidden, shown = xp.maximum(above, zero[0]) + error + largest, xp.sum(xp.where(seen, (found - 1) ** 2, zero))
    of_seen, of_unseen = (xp.sum(xp.where(seen, of, other)) for of, other in ((factors**2, zero), (zero, factors**2)))
    if not bool(hidden * of_seen < shown * of_unseen):
        return factors
    return xp.where(seen, factors, factors * xp.sqrt(hidden * of_seen / (shown * of_unseen)))


def median_distance(xp: Any, target: Array, train: Array, seed: int, most: int = 250) -> Array:
    """Median distance between different points among up to ``most`` of each sample; 1 if all are the same."""
    pooled = xp.concat(
        [xp.take(z, _xp.indices(xp, draw(int(z.shape[0]), most, seed), z), axis=0) for z in (target, train)], axis=0
    )
    distances = xp.sort(xp.reshape(squares(xp, pooled, pooled), (-1,)))
    zero = int(xp.sum(xp.astype(distances <= 1e-12 * distances[-1], _xp.integer(xp, distances))))
    count = int(distances.shape[0])
    return xp.sqrt(distances[(zero + count) // 2]) if zero < count else xp.ones_like(distances[0])


def squares(xp: Any, z: Array, centres: Array) -> Array:
    """Squared distances from every row to every centre, never negative."""
    cross = xp.matmul(z, xp.matrix_transpose(centres))
    near = xp.sum(z * z, axis=1, keepdims=True) + xp.sum(centres * centres, axis=1)[None, :] - 2 * cross
    return xp.maximum(near, xp.zeros_like(near))


def refuse_probabilities(xp: Any, values: Array) -> None:
    """Raise where rows of log p(k | x) are p(k | x): from 0 up, with sum 1."""
    if bool(xp.all(values >= 0)) and bool(xp.all(xp.abs(xp.sum(values, axis=-1) - 1) < 1e-3)):
        raise ValueError("log_probability holds probabilities, which are >= 0 and sum to 1; pass their logarithms")


def draw(n: int, count: int, seed: int) -> list[int]:
    """Draw indices without replacement, in rising order; all of them where there are no more."""
    return list(range(n)) if n <= count else sorted(random.Random(whole(seed)).sample(range(n), count))


def whole(seed: int) -> int:
    """Return a seed as Python's generator takes it, or say what it is."""
    if not isinstance(seed, Integral):
        raise TypeError(f"seed is {seed!r}; an integer is needed, so that a fit can be repeated")
    return int(seed)


def shuffled(n: int, seed: int) -> list[int]:
    """Return 0..n-1 in random order."""
    order = list(range(n))
    random.Random(whole(seed)).shuffle(order)
    return order


def paired(n_t: int, n_s: int, seed: int) -> tuple[list[int], list[int]]:
    """Pair rows at random until each has been in a pair, those of the smaller sample as often as it takes."""
    pairs = min(max(n_t, n_s), PAIRS)
    orders = (shuffled(n_t, seed), shuffled(n_s, whole(seed) + 1))
    first, second = ([order[i % len(order)] for i in range(pairs)] for order in orders)
    return first, second


def number_of_folds(folds: int | None, *rows: Array) -> int:
    """Return the given number, or 5, or the size of the smallest sample if that is less: `split` refuses one row."""
    return max(2, min(5, *(int(x.shape[0]) for x in rows))) if folds is None else folds


def split(x: Array, folds: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Yield, fold by fold, the indices of the rows that are kept and of those that are held out."""
    n = int(x.shape[0])
    if isinstance(folds, bool) or not isinstance(folds, Integral) or not 2 <= folds <= n:
        if n == 1:
            raise ValueError("a sample of one row cannot be held out; pass one bandwidth and one penalty, or more rows")
        raise ValueError(
            f"folds is {folds!r}, but a sample has {n} rows; between 2 and as many folds as rows are needed"
        )
    xp = _xp.namespace(x=x)
    folds, order = int(folds), shuffled(n, seed)
    for f in range(folds):
        held = sorted(order[f::folds])
        out = set(held)
        yield _xp.indices(xp, [i for i in range(n) if i not in out], x), _xp.indices(xp, held, x)


def split_both(
    target: Array, train: Array, folds: int, seed: int
) -> Iterator[tuple[tuple[Array, Array], tuple[Array, Array]]]:
    """Yield, fold by fold, what `split` does of either sample, each in an order of its own."""
    return zip(split(target, folds, seed), split(train, folds, whole(seed) + 1), strict=True)


def chunks(x: Array, size: int = CHUNK) -> Iterator[Array]:
    """Cut the rows into pieces."""
    n = int(x.shape[0])
    for i in range(0, n, size):
        yield x[i : min(i + size, n), ...]
