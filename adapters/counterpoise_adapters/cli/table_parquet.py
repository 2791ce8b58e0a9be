"""Parquet, read and written by row batches, so that types, metadata and compression stay as they were."""

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .errors import InputError
from .files import Columns, reading
from .rows import NumberedRow

__all__ = ["Parquet", "numbers_of"]

_ROWS = 4096  # in memory at a time
_HELD = 64 * 2**20  # bytes to be written as one row group, at most
_FLOATS = {"halffloat": "float16", "float": "float32", "double": "float64"}  # where numpy names a type otherwise
_PLAIN = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}  # bytes of a number as it is


class Parquet:
    """A Parquet file.

    Parameters
    ----------
    path : Path
        The file; anything that is not Parquet raises `InputError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            self.header: tuple[str, ...] | None = tuple(file.schema_arrow.names)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[NumberedRow]:
        """Yield (row number, row); see `files.Table`.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to read, dots allowed; those that the file lacks are left to the reader of the row.
        """
        number = 0
        for batch in self.batches(columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row

    def batches(self, columns: Sequence[str] | None = None, size: int = _ROWS) -> Iterator[Any]:
        """Yield record batches.

        Parameters
        ----------
        columns : sequence of str, optional
            As in `rows`.
        size : int
            Rows in each, at most.
        """
        names = None if columns is None else self._top_level(columns)
        with self._open() as file:
            for groups in _together(file.metadata, size):
                yield from self._read(file, batch_size=size, columns=names, row_groups=groups)

    def copy(self, sink: BinaryIO, extra: Columns) -> Iterator[NumberedRow]:
        """Write every row with columns added; see `files.Table`.

        Parameters
        ----------
        sink : binary file
            Where the file goes.
        extra : mapping of str to array
            One value per row.
        """
        done = 0
        for batch in self.write(sink, extra):
            for row in batch.to_pylist():
                done += 1
                yield done, row

    def write(self, sink: BinaryIO, extra: Columns) -> Iterator[Any]:
        """Do as `copy` does, yielding record batches as they were read.

        Parameters
        ----------
        sink, extra
            As in `copy`.
        """
        with self._open() as file:
            schema, done = _extended(file.schema_arrow, list(extra)), 0
            if file.metadata.num_rows != len(next(iter(extra.values()))):
                raise InputError("the number of rows changed while the file was read", path=self.path)
            writer = pq.ParquetWriter(sink, schema, **_encoding(file.metadata))
            for group in range(file.metadata.num_row_groups):
                waiting: list[Any] = []
                for batch in self._read(file, batch_size=_ROWS, row_groups=[group]):
                    part = slice(done, done + batch.num_rows)
                    added = [_column_of(column[part]) for column in extra.values()]
                    waiting.append(pa.RecordBatch.from_arrays([*batch.columns, *added], schema=schema))
                    done += batch.num_rows
                    if sum(held.nbytes for held in waiting) >= _HELD:
                        _flush(writer, waiting)
                    yield batch
                _flush(writer, waiting)
            writer.close()

    def _top_level(self, columns: Sequence[str]) -> list[str]:
        names = self.header or ()
        wanted: set[str] = set()
        for column in columns:
            top = column if column in names else column.partition(".")[0]
            found = {name for name in names if fnmatchcase(name, top)}
            if not found:
                has = ", ".join(names[:12])
                raise InputError(f"no column '{column}' (columns here: {has})", path=self.path, row=1)
            wanted |= found
        return [name for name in names if name in wanted]

    def _read(self, file: Any, **which: Any) -> Iterator[Any]:
        with reading(self.path):
            try:
                yield from file.iter_batches(**which)
            except pa.ArrowException as error:
                raise InputError(f"damaged Parquet: {error}", path=self.path) from error

    def _open(self) -> Any:
        try:
            return pq.ParquetFile(self.path)
        except pa.ArrowInvalid as error:
            raise InputError(f"not a Parquet file: {error}", path=self.path) from error


def numbers_of(column: Any) -> NDArray[Any]:
    """Return a pyarrow array of integers or floats without nulls as numpy's, on the same memory.

    pyarrow's own ways between the two load pandas, which takes longer than a shard does, and is not always there.

    Parameters
    ----------
    column : pyarrow Array
        Of a type that numpy has.

    Examples
    --------
    >>> numbers_of(pa.array([1.5, 2.5, 3.5])[1:])
    array([2.5, 3.5])
    """
    kind = np.dtype(_FLOATS.get(str(column.type), str(column.type)))
    if not len(column):  # which may have no memory at all
        return np.empty(0, kind)
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)


def _column_of(values: NDArray[np.float64]) -> Any:
    held = pa.py_buffer(np.ascontiguousarray(values, dtype=np.float64))
    return pa.Array.from_buffers(pa.float64(), len(values), [None, held])


def _together(metadata: Any, size: int) -> Iterator[list[int]]:
    """Yield row groups to be read at once: the reader keeps the bytes of all that it is given until the last row."""
    groups, rows = [], 0
    for number in range(metadata.num_row_groups):
        groups.append(number)
        rows += metadata.row_group(number).num_rows
        if rows >= size:
            yield groups
            groups, rows = [], 0
    if groups:
        yield groups


def _flush(writer: Any, batches: list[Any]) -> None:
    """Write batches as one row group."""
    if batches:
        table = pa.Table.from_batches(batches)
        writer.write_table(table, row_group_size=max(1, table.num_rows))
        batches.clear()


def _encoding(metadata: Any) -> dict[str, Any]:
    """Return compression and dictionaries as in a file, but for columns of numbers that a dictionary did not shorten.

    Most embeddings stand in such: looking every number up costs more than all else of writing.
    """
    if not metadata.num_row_groups:
        return {}
    chunks = [metadata.row_group(0).column(place) for place in range(metadata.num_columns)]
    codec = chunks[0].compression if chunks else "SNAPPY"
    shortened = [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.has_dictionary_page
        and chunk.total_uncompressed_size < _PLAIN.get(chunk.physical_type, 2**62) * chunk.num_values
    ]
    return {"compression": "NONE" if codec == "UNCOMPRESSED" else codec, "use_dictionary": shortened or False}


def _extended(schema: Any, names: Sequence[str]) -> Any:
    """Return the schema with float64 columns added, also to what the datasets library keeps in it."""
    for name in names:
        schema = schema.append(pa.field(name, pa.float64()))
    metadata = dict(schema.metadata or {})
    if b"huggingface" in metadata:
        described = json.loads(metadata[b"huggingface"])
        features = described.get("info", {}).get("features", {})
        features.update({name: {"dtype": "float64", "_type": "Value"} for name in names})
        metadata[b"huggingface"] = json.dumps(described).encode()
    return schema.with_metadata(metadata or None)
