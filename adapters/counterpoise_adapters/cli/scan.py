"""The first pass over a file: which source each row comes from, and which rows are copies of each other."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise_adapters.corpus.sample import choose, digests_of, priorities, sketch_of
from counterpoise_adapters.corpus.strata import MOST_LABELS

from .errors import InputError
from .features import Featuriser
from .files import Table, unchanged
from .pairs import PairTable
from .progress import watched
from .rows import NumberedRow, TargetFilter, cell, label_of

__all__ = ["Scan", "numbered_rows", "sample_rows", "scan"]

_AT_ONCE = 256  # rows whose content is hashed at once


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
    priority : array of uint64, shape (n,)
        By which rows are drawn, and the order in which they are learnt from; equal for copies.
    """

    labels: tuple[str, ...]
    code: NDArray[np.int32]
    key: NDArray[np.uint64]
    priority: NDArray[np.uint64]


def scan(
    table: Table,
    featuriser: Featuriser,
    *,
    target: TargetFilter | None,
    group: str | None,
    new_columns: Sequence[str],
    seed: int = 0,
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
    seed : int
        Of the priorities.
    """
    labels: dict[str, int] = {}
    code, groups, contents = array("i"), array("Q"), array("Q")
    pending: list[NumberedRow] = []
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
        if len(labels) > MOST_LABELS:
            raise InputError(
                f"the column of --target has more than {MOST_LABELS:,} values; name one of sources",
                path=table.path,
                row=number,
            )
        if group is not None:
            label = label_of(cell(row, group, path=table.path, number=number))
            groups.frombytes(digests_of([label]).tobytes())
        elif isinstance(table, PairTable):
            groups.frombytes(digests_of([str(number)]).tobytes())  # the pairs of one question share it
        pending.append((number, row))
        if len(pending) == _AT_ONCE:
            contents.frombytes(featuriser.keys(pending, path=table.path).tobytes())
            pending.clear()
    if not code:
        raise InputError("the file has no rows", path=table.path)
    if pending:
        contents.frombytes(featuriser.keys(pending, path=table.path).tobytes())
    content = np.asarray(contents, dtype=np.uint64)
    keys = np.asarray(groups, dtype=np.uint64) if groups else content
    return Scan(tuple(labels), np.asarray(code, dtype=np.int32), keys, priorities(content, keys, seed=seed))


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
    rows = watched(table.rows(featuriser.columns), what, total=len(wanted))
    for index, numbered in unchanged(rows, len(wanted), table.path):
        if wanted[index]:
            yield numbered


def sample_rows(code: NDArray[np.int64], priority: NDArray[np.uint64], *, most: int) -> NDArray[np.bool_]:
    """Choose the rows to learn from: all of them, or half target rows (as far as they go) and a fair rest.

    Parameters
    ----------
    code : array of int, shape (n,)
        Source of each row; 0 is the target.
    priority : array of uint64, shape (n,)
        As in `Scan`: those of least priority are chosen.
    most : int
        Number of rows to choose; a quarter more where rare sources need them.

    Returns
    -------
    array of bool, shape (n,)
        True for the rows chosen.

    Examples
    --------
    >>> code = np.repeat([0, 1, 2], [10, 60, 30])
    >>> chosen = sample_rows(code, np.arange(100, dtype=np.uint64), most=40)
    >>> np.bincount(code[chosen])
    array([10, 20, 10])
    """
    places = np.unique(code).tolist()
    draws = choose({k: sketch_of(priority[code == k], most=most) for k in places}, most=most)
    chosen = np.zeros(len(code), dtype=bool)
    for place, draw in draws.items():
        where = np.flatnonzero(code == place)
        where = where[draw.holds(priority[where])]
        if draw.copies:
            ranked = where[np.argsort(priority[where], kind="stable")]
            first = np.searchsorted(priority[ranked], priority[ranked])
            where = ranked[np.arange(len(ranked)) - first < draw.copies]
        chosen[where] = True
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
