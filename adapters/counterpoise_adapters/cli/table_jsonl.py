"""JSON Lines: one object per line, copied byte for byte, so that no number changes its spelling."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError
from .files import Columns, decode, lines_of, unchanged
from .rows import NumberedRow

__all__ = ["JsonLines"]


class JsonLines:
    """A JSON Lines file, plain or gzip; blank lines are no rows.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: tuple[str, ...] | None = None

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[NumberedRow]:
        """Yield (line number, object); see `files.Table`.

        Parameters
        ----------
        columns : sequence of str, optional
            Of no effect here: a line is parsed whole.
        """
        del columns
        for number, _, row in self._lines():
            yield number, row

    def copy(self, sink: BinaryIO, extra: Columns) -> Iterator[NumberedRow]:
        """Write every object with columns added; see `files.Table`.

        Parameters
        ----------
        sink : binary file
            Where the lines go.
        extra : mapping of str to array
            One value per row; ``NaN`` never occurs in them.
        """
        values = [column.tolist() for column in extra.values()]
        keys = [json.dumps(name) for name in extra]
        for index, (number, line, row) in unchanged(self._lines(), len(values[0]), self.path):
            added = ", ".join(f"{key}: {column[index]!r}" for key, column in zip(keys, values, strict=True))
            body = line.rstrip().removesuffix(b"}").rstrip()
            sink.write(body + (b", " if row else b"") + added.encode() + b"}\n")
            yield number, row

    def _lines(self) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
        with lines_of(self.path) as lines:
            for number, line in enumerate(lines, 1):
                if not line.isspace():
                    yield number, line, self._parse(line, number)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        text = decode(line, path=self.path, number=number)
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"not valid JSON: {error.msg} at character {error.pos + 1}{_hint(text, number)}",
                path=self.path,
                row=number,
            ) from None
        except RecursionError:
            raise InputError("the JSON is nested too deeply", path=self.path, row=number) from None
        if not isinstance(row, dict):
            raise InputError(
                f"a JSON {type(row).__name__}, where each line must be one object {{...}}{_hint(text, number)}",
                path=self.path,
                row=number,
            )
        return row


def _hint(text: str, number: int) -> str:
    """Say how to mend a file that is one JSON array."""
    array = number == 1 and text.lstrip().startswith("[")
    return "; the file looks like one JSON array: jq -c '.[]' FILE puts its objects on lines" if array else ""
