"""CSV and TSV with a header line.  Values are copied as text; only needless quotes may go."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from .errors import InputError
from .files import Columns, decode, lines_of, unchanged
from .rows import NumberedRow

__all__ = ["Csv"]


class Csv:
    """A CSV file, plain or gzip, whose first record names the columns.

    Parameters
    ----------
    path : Path
        The file.
    delimiter : str
        Between the fields.
    """

    def __init__(self, path: Path, *, delimiter: str) -> None:
        self.path = path
        self._delimiter = delimiter
        csv.field_size_limit(sys.maxsize)  # the default refuses texts above 128 KiB
        with lines_of(path) as lines:
            self._ending = "\r\n" if next(lines, b"").endswith(b"\r\n") else "\n"
        header: list[str] = next(self._records(), [])
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise InputError(f"the header names '{repeated[0]}' twice", path=path)
        self.header: tuple[str, ...] | None = tuple(header)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[NumberedRow]:
        """Yield (record number after the header, record); see `files.Table`.

        Parameters
        ----------
        columns : sequence of str, optional
            Of no effect here: a record is parsed whole.
        """
        del columns
        header = self.header or ()
        for number, record in self._body():
            yield number, dict(zip(header, record, strict=True))

    def copy(self, sink: BinaryIO, extra: Columns) -> Iterator[NumberedRow]:
        """Write every record with columns added; see `files.Table`.

        Parameters
        ----------
        sink : binary file
            Where the records go.
        extra : mapping of str to array
            One value per row.
        """
        header = self.header or ()
        values = [column.tolist() for column in extra.values()]
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter=self._delimiter, lineterminator=self._ending)
        writer.writerow([*header, *extra])
        for index, (number, record) in unchanged(self._body(), len(values[0]), self.path):
            writer.writerow([*record, *(repr(column[index]) for column in values)])
            if buffer.tell() > 1 << 16:
                sink.write(_drain(buffer))
            yield number, dict(zip(header, record, strict=True))
        sink.write(_drain(buffer))

    def _body(self) -> Iterator[tuple[int, list[str]]]:
        width = len(self.header or ())
        records = self._records()
        next(records, None)
        for number, record in enumerate(records, 1):
            if len(record) != width:
                raise InputError(
                    f"has {len(record)} fields where the header names {width} columns",
                    path=self.path,
                    row=number,
                )
            yield number, record

    def _records(self) -> Iterator[list[str]]:
        """Yield the records, header first, blank lines left out."""
        number = 0
        with lines_of(self.path) as lines:
            reader = csv.reader(
                (decode(line, path=self.path, number=number) for line in lines),
                delimiter=self._delimiter,
                strict=True,
            )
            try:
                for record in reader:
                    if record:
                        number += 1
                        yield record
            except csv.Error as error:
                raise InputError(f"not valid CSV: {error}", path=self.path, row=number) from None


def _drain(buffer: io.StringIO) -> bytes:
    """Return what was written to the buffer, and empty it."""
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode("utf-8")
