"""A few thousand rows at a time: their sources, digests and features, by columns where the file has columns."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counterpoise_adapters.cli.features import ColumnFeatures, Featuriser, Matrix
from counterpoise_adapters.cli.files import Table, batched
from counterpoise_adapters.cli.rows import NumberedRow, Place, TargetFilter, cell, label_of
from counterpoise_adapters.cli.table_parquet import Parquet, numbers_of

from .sample import digests, digests_of

__all__ = ["Batch", "batches_of"]

Keys = NDArray[np.uint64]


class Batch:
    """Rows of one shard.

    Parameters
    ----------
    rows : sequence of numbered rows, or pyarrow RecordBatch or Table
        The rows, or their columns.
    first : int
        Number of the first row, for columns.
    path : path-like
        Where they stand, for messages.
    """

    def __init__(self, rows: Any, *, first: int, path: Place) -> None:
        self._table: Any = None if isinstance(rows, list) else rows
        self._rows: list[NumberedRow] | None = rows if isinstance(rows, list) else None
        self._first = first
        self.path = path

    def __len__(self) -> int:
        return len(self._rows) if self._table is None and self._rows is not None else int(self._table.num_rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, of any row."""
        if self._table is not None:
            return tuple(self._table.schema.names)
        return tuple(dict.fromkeys(str(name) for _, row in self._rows or () for name in row))

    def rows(self) -> list[NumberedRow]:
        """Return the rows, one by one."""
        if self._rows is None:
            self._rows = list(enumerate(self._table.to_pylist(), self._first))
        return self._rows

    def row(self, index: int) -> NumberedRow:
        """Return one row.

        Parameters
        ----------
        index : int
            From 0.
        """
        if self._rows is None:
            return self._first + index, self._table.slice(index, 1).to_pylist()[0]
        return self._rows[index]

    def take(self, wanted: NDArray[np.bool_]) -> "Batch":
        """Return some of the rows.

        Parameters
        ----------
        wanted : array of bool, shape (n,)
            Which.
        """
        if self._table is not None:
            return Batch(self._table.filter(pa.array(wanted)), first=self._first, path=self.path)
        kept = [row for row, keep in zip(self._rows or (), wanted.tolist(), strict=True) if keep]
        return Batch(kept, first=self._first, path=self.path)

    def labels(self, target: TargetFilter | None) -> tuple[list[str], NDArray[np.int64]]:
        """Return the source labels that occur, and each row's place among them.

        Parameters
        ----------
        target : TargetFilter, optional
            Names the column; without one every row has the label "".
        """
        if target is None:
            return [""], np.zeros(len(self), dtype=np.int64)
        if self._table is not None and target.column in self._table.schema.names:
            coded = pc.dictionary_encode(self._table[target.column], null_encoding="encode")
            coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
            coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
            values = [label_of(value) for value in coded.dictionary.to_pylist()]
            place = numbers_of(coded.indices).astype(np.int64)
            known = {value: rank for rank, value in enumerate(dict.fromkeys(values))}
            return list(known), np.asarray([known[value] for value in values], dtype=np.int64)[place]
        seen: dict[str, int] = {}
        code = [seen.setdefault(target.label(row, path=self.path, number=n), len(seen)) for n, row in self.rows()]
        return list(seen), np.asarray(code, dtype=np.int64)

    def digests(self, featuriser: Featuriser, matrix: Matrix | None = None) -> Keys:
        """Return a digest of each row's content, as `Featuriser.keys` makes it.

        Parameters
        ----------
        featuriser : Featuriser
            Says what the content is.
        matrix : matrix, optional
            The rows' features, where they are at hand.
        """
        if isinstance(featuriser, ColumnFeatures):
            return digests(self.matrix(featuriser) if matrix is None else matrix)
        return featuriser.keys(self.rows(), path=self.path)

    def groups(self, column: str) -> Keys:
        """Return a digest of each row's group.

        Parameters
        ----------
        column : str
            The group column.
        """
        labels = (label_of(cell(row, column, path=self.path, number=number)) for number, row in self.rows())
        return digests_of(labels)

    def matrix(self, featuriser: Featuriser) -> Matrix:
        """Return the rows' features.

        Parameters
        ----------
        featuriser : Featuriser
            Makes them; rows that it cannot use raise `InputError`.
        """
        if isinstance(featuriser, ColumnFeatures) and self._table is not None and len(self):
            featuriser.matrix([self.row(0)], path=self.path)  # settles the names and widths
            found = [_dense(self._table, name, width) for name, width in featuriser.widths.items()]
            usable = [part for part in found if part is not None]
            if len(usable) == len(found):
                return np.concatenate(usable, axis=1) if len(usable) > 1 else usable[0]
        return featuriser.matrix(self.rows(), path=self.path)


def batches_of(table: Table, columns: Sequence[str] | None, size: int) -> Iterator[Batch]:
    """Read a file a few rows at a time.

    Parameters
    ----------
    table : Table
        The file.
    columns : sequence of str, optional
        Columns to read, dots and patterns allowed; None for all.
    size : int
        Rows at a time.
    """
    if not isinstance(table, Parquet):
        for rows in batched(table.rows(columns), size):
            yield Batch(rows, first=rows[0][0], path=table.path)
        return
    first = 1
    for part in table.batches(columns, size):
        if part.num_rows:
            yield Batch(part, first=first, path=table.path)
        first += part.num_rows


def _dense(table: Any, name: str, width: int) -> NDArray[np.float64] | None:
    """Return a column of finite numbers, or of lists of ``width`` of them, as a matrix; None for any other column."""
    if name not in table.schema.names:
        return None
    column = table[name]
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(column, pa.ChunkedArray) or column.null_count:
        return None
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.list_value_length(column)
        if pc.min(lengths).as_py() != width or pc.max(lengths).as_py() != width:
            return None
        column = column.flatten()
        kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)) or column.null_count:
        return None
    flat = numbers_of(column).astype(np.float64).reshape(len(table), width)
    return flat if bool(np.isfinite(flat).all()) else None
