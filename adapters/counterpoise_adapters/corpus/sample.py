"""The rows to learn from, drawn by a rule that neither the number nor the order of the shards can change.

Every row gets a priority, a 64-bit hash of the seed and of what the models see of it; from each source the rows of
least priority are drawn. What a shard has to report for that, the least priorities and how many rows have each, is a
`Sketch`: of bounded size, and the sketch of two shards is that of their union.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draw", "Sketch", "choose", "digests", "digests_of", "merge_sketches", "priorities", "quotas", "sketch_of"]

Keys = NDArray[np.uint64]
_LARGEST = np.uint64(2**64 - 1)
_BLOCK = 2**14  # numbers hashed at once: what fits the cache is done in a third of the time
_COPIES = 100  # no text that is repeated without end may be more than a hundredth of a source's rows drawn


class Sketch(NamedTuple):
    """The rows of one source, by their priorities.

    Parameters
    ----------
    rows : int
        How many rows there are.
    priority : array of uint64, shape (k,)
        The least distinct priorities, rising.
    times : array of int64, shape (k,)
        How many rows have each.
    """

    rows: int
    priority: Keys
    times: NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """Which rows of one source are drawn.

    Parameters
    ----------
    threshold : int
        The largest priority drawn; -1 for none.
    copies : int
        At most so many rows of one priority; 0 for no limit.
    """

    threshold: int
    copies: int

    def holds(self, priority: Keys) -> NDArray[np.bool_]:
        """Return which of the rows are drawn.

        Parameters
        ----------
        priority : array of uint64, shape (n,)
            Of rows of this source.
        """
        if self.threshold < 0:
            return np.zeros(len(priority), dtype=bool)
        return np.asarray(priority <= np.uint64(self.threshold))


def digests(matrix: NDArray[np.float64]) -> Keys:
    """Hash each row of a matrix.

    Parameters
    ----------
    matrix : array of float64, shape (n, k)
        Any rows; 0.0 and -0.0 are two numbers.

    Returns
    -------
    array of uint64, shape (n,)
        Equal for equal rows; two others share one by an accident of odds 2^-64. It is no defence against rows that
        were made to collide.

    Examples
    --------
    >>> one, two, three = digests(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]))
    >>> bool(one == two), bool(one == three)
    (True, False)
    """
    bits = np.ascontiguousarray(matrix, dtype=np.float64).view(np.uint64)
    places = _mixed(np.arange(1, bits.shape[1] + 1, dtype=np.uint64))  # so that it matters which number stands where
    total = np.empty(len(bits), dtype=np.uint64)
    step = max(1, _BLOCK // max(1, bits.shape[1]))
    for start in range(0, len(bits), step):
        total[start : start + step] = _mixed(bits[start : start + step] ^ places).sum(axis=1, dtype=np.uint64)
    return _mixed(total)


def digests_of(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Hash texts.

    Parameters
    ----------
    texts : iterable of str
        Any.

    Returns
    -------
    array of uint64
        Two texts share a number only by an accident of odds 2^-64.
    """
    found = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(found, dtype="<u8").astype(np.uint64)


def priorities(content: Keys, key: Keys, *, seed: int) -> Keys:
    """Hash the seed, what the models see of a row, and the group that it is in.

    Parameters
    ----------
    content, key : array of uint64, shape (n,)
        Digests of a row's content and of its group.
    seed : int
        Of the draw.

    Returns
    -------
    array of uint64, shape (n,)
        Uniform over the 64-bit numbers; equal for copies, which nothing that is learnt can tell apart.

    Examples
    --------
    >>> content = np.arange(3, dtype=np.uint64)
    >>> np.argsort(priorities(content, content, seed=0)), np.argsort(priorities(content, content, seed=1))
    (array([0, 1, 2]), array([1, 0, 2]))
    """
    start = np.full(1, seed % 2**64, dtype=np.uint64)
    return _mixed(content ^ _mixed(key ^ _mixed(start)))


def sketch_of(priority: Keys, *, most: int) -> Sketch:
    """Return the sketch of rows.

    Parameters
    ----------
    priority : array of uint64, shape (n,)
        Of the rows.
    most : int
        How many distinct priorities are kept.

    Examples
    --------
    >>> sketch_of(np.array([7, 3, 7, 9], dtype=np.uint64), most=2)
    Sketch(rows=4, priority=array([3, 7], dtype=uint64), times=array([1, 2]))
    """
    if len(priority) > most:
        # All that can be among the least: cheaper than sorting what cannot.
        bound = np.partition(priority, most - 1)[most - 1]
        kept, count = np.unique(priority[priority <= bound], return_counts=True)
        if len(kept) < most:
            kept, count = np.unique(priority, return_counts=True)
    else:
        kept, count = np.unique(priority, return_counts=True)
    return Sketch(len(priority), kept[:most], count[:most].astype(np.int64))


def merge_sketches(first: Sketch, second: Sketch, *, most: int) -> Sketch:
    """Return the sketch of the rows of two sketches.

    Parameters
    ----------
    first, second : Sketch
        Made with ``most``.
    most : int
        How many distinct priorities are kept.

    Examples
    --------
    >>> one, two = (sketch_of(np.array(rows, dtype=np.uint64), most=2) for rows in ([3, 7], [7, 9]))
    >>> merge_sketches(one, two, most=2)
    Sketch(rows=4, priority=array([3, 7], dtype=uint64), times=array([1, 2]))
    """
    both = np.concatenate([first.priority, second.priority])
    order = np.argsort(both, kind="stable")  # which finds two runs that rise, and has only to merge them
    both, times = both[order], np.concatenate([first.times, second.times])[order]
    new = np.ones(len(both), dtype=bool)
    new[1:] = both[1:] != both[:-1]
    start = np.flatnonzero(new)
    count = np.add.reduceat(times, start) if len(start) else times
    return Sketch(first.rows + second.rows, both[start[:most]], count[:most])


def quotas(counts: Sequence[int], *, most: int) -> list[int]:
    """Return how many rows of each source to draw: all, or half target rows as far as they go and a fair rest.

    Parameters
    ----------
    counts : sequence of int
        Rows of each source, the target's first.
    most : int
        Rows to draw; a quarter more where rare sources need them.

    Examples
    --------
    >>> quotas([10, 60, 30], most=40)
    [10, 20, 10]
    """
    if sum(counts) <= most:
        return list(counts)
    of_target, others = min(counts[0], most // 2), counts[1:]
    share = min(1.0, (most - of_target) / sum(others))
    # A rare source has a classifier of its own to train, so it keeps a few rows whatever its share.
    floor = most // (4 * sum(count > 0 for count in others))
    return [of_target, *(min(count, max(int(count * share), floor)) for count in others)]


def choose(sketches: Mapping[int, Sketch], *, most: int) -> dict[int, Draw]:
    """Say which rows of each source are drawn.

    Parameters
    ----------
    sketches : mapping of int to Sketch
        Of each source, made with ``most``; 0 is the target.
    most : int
        As in `quotas`.

    Returns
    -------
    dict of int to Draw
        Rows of one priority are drawn together, so that the draw may fall short of the quota by as many as there are
        copies.

    Examples
    --------
    >>> rows = np.arange(100, dtype=np.uint64)
    >>> sketches = {place: sketch_of(rows, most=40) for place in (0, 1)}
    >>> choose(sketches, most=40)
    {0: Draw(threshold=19, copies=1), 1: Draw(threshold=19, copies=1)}
    """
    places = sorted(sketches)
    quota = quotas([sketches[place].rows for place in places], most=most)
    chosen = {}
    for place, size in zip(places, quota, strict=True):
        sketch = sketches[place]
        if size >= sketch.rows:
            chosen[place] = Draw(int(_LARGEST) if size else -1, 0)
            continue
        copies = max(1, size // _COPIES)
        total = np.cumsum(np.minimum(sketch.times, copies))
        taken = max(1, int(np.searchsorted(total, size, side="right")))
        chosen[place] = Draw(int(sketch.priority[taken - 1]), copies)
    return chosen


def _mixed(x: Keys) -> Keys:
    """Return SplitMix64's output function: every input bit moves every output bit (Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
