"""Files of rows, read as a stream: JSON Lines, CSV and Parquet, gzip where it is usual.

table = open_table(path)              # looks at the file, reads no row
for number, row in table.rows(): ...  # as often as needed; memory does not grow with the file
with Staging() as staging:            # nothing appears at the destination until all of it is written
table.copy(staging.open(out), {"weight": weight})
"""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .rows import NumberedRow

__all__ = [
    "Columns",
    "Table",
    "batched",
    "check_destination",
    "decode",
    "file_format",
    "lines_of",
    "open_table",
    "reading",
    "unchanged",
    "zipped",
]

Columns = Mapping[str, NDArray[np.float64]]
T = TypeVar("T")
Numbered = TypeVar("Numbered", bound=tuple[Any, ...])

_FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".csv": "csv", ".tsv": "tsv",
    ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class Table(Protocol):
    """A file of rows that can be read many times and copied with columns added."""

    path: Path
    header: tuple[str, ...] | None  # None where every row names its own columns

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[NumberedRow]:
        """Yield (row number from 1, row), reading at least the columns named (all of them for None)."""
        ...

    def copy(self, sink: BinaryIO, extra: Columns) -> Iterator[NumberedRow]:
        """Write every row in order with columns added, one value per row; yield the rows as they are written.

        Nothing is complete until the iterator is exhausted.  A file that changed since ``extra`` was
        computed raises `InputError`.
        """
        ...


def open_table(path: str | os.PathLike[str]) -> Table:
    """Open a file of rows for streaming.

    Parameters
    ----------
    path : path-like
        ``.jsonl``, ``.ndjson``, ``.json`` (one object per line), ``.csv``, ``.tsv``, each possibly with
        ``.gz``, or ``.parquet``.  Gzip is recognised by content.  A file that is missing, empty or of
        another kind raises `InputError`.

    Returns
    -------
    Table
        With a header where the format has one.
    """
    path = Path(path)
    kind = file_format(path)
    with reading(path):
        if not path.exists():
            raise InputError("no such file", path=path)
        if not path.is_file():
            raise InputError("not a regular file; it is read several times, so no pipe will do", path=path)
        if path.stat().st_size == 0:
            raise InputError("the file is empty", path=path)
        if kind == "jsonl":
            from .table_jsonl import JsonLines

            return JsonLines(path)
        if kind == "parquet":
            from .table_parquet import Parquet

            return Parquet(path)
        from .table_csv import Csv

        return Csv(path, delimiter="\t" if kind == "tsv" else ",")


def file_format(path: str | os.PathLike[str]) -> str:
    """Return ``jsonl``, ``csv``, ``tsv`` or ``parquet`` from a file's name.

    Parameters
    ----------
    path : path-like
        Any other ending raises `InputError`.

    Examples
    --------
    >>> file_format("pairs.jsonl.gz")
    'jsonl'
    """
    name = Path(path).name.lower()
    zipped = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix
    kind = _FORMATS.get(suffix)
    if kind is None or (zipped and kind == "parquet"):
        raise InputError("the name must end in .jsonl, .csv or .tsv (.gz may follow), or in .parquet", path=path)
    return kind


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong while a file is read into an `InputError` that names it.

    Parameters
    ----------
    path : path-like
        The file.
    """
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"the gzip stream is damaged or cut short: {error}", path=path) from error
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", path=path) from error


@contextmanager
def lines_of(path: Path) -> Iterator[Iterator[bytes]]:
    """Open a text file, gzip or plain, as an iterator over its lines in bytes, a byte-order mark removed.

    Parameters
    ----------
    path : Path
        The file.
    """
    with reading(path), path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw as stream:
            yield _without_mark(stream)


def _without_mark(lines: Iterable[bytes]) -> Iterator[bytes]:
    for index, line in enumerate(lines):
        yield line.removeprefix(b"\xef\xbb\xbf") if index == 0 else line


def decode(line: bytes, *, path: Path, number: int) -> str:
    """Return a line as text; bytes that are not UTF-8 raise `InputError`.

    Parameters
    ----------
    line : bytes
        One line.
    path, number
        Where it stands, for the message.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1} of the line); "
            "convert the file first, for example with iconv",
            path=path,
            row=number,
        ) from None


@contextmanager
def zipped(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """Compress what is written, if the name asks for it; without a time stamp, so that runs are equal.

    Parameters
    ----------
    file : binary file
        Where the bytes go.
    path : Path
        The name that the file will have.
    """
    if not path.name.lower().endswith(".gz"):
        yield file
        return
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as stream:
        yield cast(BinaryIO, stream)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to ``size`` items.

    Parameters
    ----------
    items : iterable
        Anything.
    size : int
        At least 1.

    Examples
    --------
    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def unchanged(rows: Iterable[Numbered], total: int, path: Path) -> Iterator[tuple[int, Numbered]]:
    """Yield (index, row) of a file that was read before; another number of rows than then raises `InputError`.

    Parameters
    ----------
    rows : iterable of tuple
        The row's number first.
    total : int
        How many there were.
    path : Path
        The file, for the message.

    Examples
    --------
    >>> list(unchanged([(1, "a"), (2, "b")], 2, Path("rows.csv")))
    [(0, (1, 'a')), (1, (2, 'b'))]
    """
    index = -1
    for index, row in enumerate(rows):
        if index >= total:
            raise InputError("the file grew while it was read", path=path, row=row[0])
        yield index, row
    if index + 1 != total:
        raise InputError("the file shrank while it was read", path=path)


def check_destination(path: Path, *, inputs: Sequence[Path], force: bool) -> None:
    """Refuse a destination that cannot or must not be written, before any work is done.

    Parameters
    ----------
    path : Path
        Where a file is to appear.
    inputs : sequence of Path
        Files that must never be touched.
    force : bool
        Whether an existing regular file may be replaced.
    """
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist", path=path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"the folder {folder} cannot be written to", path=path)
    if not (path.exists() or path.is_symlink()):
        return
    if any(path.exists() and source.exists() and path.samefile(source) for source in inputs):
        raise InputError("this is an input file, which is never written to; name another output", path=path)
    if not path.is_file():
        raise InputError("exists and is not a regular file; name another output", path=path)
    if not force:
        raise InputError("exists already; name another output, or replace it with --force", path=path)
