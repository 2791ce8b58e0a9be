"""The first pass over a file: which source each row comes from, and which rows are copies of each other."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .features import Featuriser, digest
from .files import Table
from .pairs import PairTable
from .progress import watched
from .rows import NumberedRow, TargetFilter, cell, label_of

__all__ = ["Scan", "numbered_rows", "sample_rows", "scan"]

_MOST_LABELS = 10_000  # a filter on a column of free text would otherwise keep every text in memory


@dataclass(frozen=True)
class Scan:
    """What the first pass found, in numpy arrays of a few bytes per row.

    Parameters
    ----------
    labels : tuple of str
        Source labels, in order of appearance.
    code : array of int32, shape (n,)
        Index into ``labels`` of each row.
    key : array of uint64, shape (n,)
        Equal for rows that must share a fold: copies of each other, or one group.
    """

    labels: tuple[str, ...]
    code: NDArray[np.int32]
    key: NDArray[np.uint64]


def scan(
    table: Table,
    featuriser: Featuriser,
    *,
    target: TargetFilter | None,
    group: str | None,
    new_columns: Sequence[str],
) -> Scan:
    """Read a table once, checking every row's target column, group column and features' text.

    Parameters
    ----------
    table : Table
        The file; without rows it raises `InputError`.
    featuriser : Featuriser
        Names the columns, and says which rows are copies.
    target : TargetFilter, optional
        Its column's values become the labels; without one every row gets the label "".
    group : str, optional
        Column whose equal values must share a fold; without one, rows of equal content do.
    new_columns : sequence of str
        Columns about to be added, which no row may have yet.
    """
    labels: dict[str, int] = {}
    code, key = array("i"), array("Q")
    taken = [name for name in new_columns if name in (table.header or ())]
    if taken:
        _refuse_taken(taken[0], table, None)
    rows = table.rows(_columns(featuriser, target, group))
    for number, row in watched(rows, "reading"):
        if table.header is None:
            for name in new_columns:
                if name in row:
                    _refuse_taken(name, table, number)
        source = "" if target is None else target.label(row, path=table.path, number=number)
        code.append(labels.setdefault(source, len(labels)))
        if len(labels) > _MOST_LABELS:
            raise InputError(
                f"the column of --target has more than {_MOST_LABELS:,} values; name one of sources",
                path=table.path,
                row=number,
            )
        content = featuriser.key(row, path=table.path, number=number)
        if group is not None:
            label = label_of(cell(row, group, path=table.path, number=number))
            content = digest(label.encode("utf-8", "surrogatepass"))
        elif isinstance(table, PairTable):
            content = digest(str(number).encode())  # the pairs of one question share it
        key.append(int.from_bytes(content, "little"))
    if not code:
        raise InputError("the file has no rows", path=table.path)
    return Scan(tuple(labels), np.asarray(code, dtype=np.int32), np.asarray(key, dtype=np.uint64))


def numbered_rows(table: Table, featuriser: Featuriser, wanted: NDArray[np.bool_], what: str) -> Iterator[NumberedRow]:
    """Yield the wanted rows of a table that was scanned.

    Parameters
    ----------
    table : Table
        The file.
    featuriser : Featuriser
        Names the columns to read.
    wanted : array of bool, shape (n,)
        One per row; another number of rows than in the scan raises `InputError`.
    what : str
        For the progress bar.
    """
    index = -1
    rows = table.rows(featuriser.columns)
    for index, numbered in enumerate(watched(rows, what, total=len(wanted))):
        if index >= len(wanted):
            raise InputError("the file grew while it was read", path=table.path, row=numbered[0])
        if wanted[index]:
            yield numbered
    if index + 1 != len(wanted):
        raise InputError("the file shrank while it was read", path=table.path)


def sample_rows(code: NDArray[np.int64], *, most: int, target: int, seed: int) -> NDArray[np.bool_]:
    """Choose the rows to learn from: all of them, or half target rows (as far as they go) and a fair rest.

    Parameters
    ----------
    code : array of int, shape (n,)
        Source of each row.
    most : int
        Number of rows to choose; a quarter more where rare sources need them.
    target : int
        The target's code.
    seed : int
        Of the choice.

    Returns
    -------
    array of bool, shape (n,)
        True for the rows chosen.

    Examples
    --------
    >>> code = np.repeat([0, 1, 2], [10, 60, 30])
    >>> chosen = sample_rows(code, most=40, target=0, seed=0)
    >>> np.bincount(code[chosen])
    array([10, 20, 10])
    """
    if len(code) <= most:
        return np.ones(len(code), dtype=bool)
    generator = np.random.default_rng(seed)
    counts = np.bincount(code)
    quota = np.zeros(len(counts), dtype=np.int64)
    quota[target] = min(int(counts[target]), most // 2)
    others = np.flatnonzero((np.arange(len(counts)) != target) & (counts > 0))
    share = min(1.0, (most - quota[target]) / counts[others].sum())
    # A rare source has a classifier of its own to train, so it keeps a few rows whatever its share.
    floor = most // (4 * len(others))
    quota[others] = np.minimum(counts[others], np.maximum((counts[others] * share).astype(np.int64), floor))
    chosen = np.zeros(len(code), dtype=bool)
    for source, size in enumerate(quota):
        where = np.flatnonzero(code == source)
        chosen[generator.choice(where, int(size), replace=False)] = True
    return chosen


def _columns(featuriser: Featuriser, target: TargetFilter | None, group: str | None) -> list[str]:
    extra = [target.column] if target is not None else []
    return [*featuriser.columns, *extra, *([group] if group is not None else [])]


def _refuse_taken(name: str, table: Table, number: int | None) -> None:
    raise InputError(
        f"there is a column '{name}' already; drop it, or choose other names with --prefix",
        path=table.path,
        row=number,
    )
