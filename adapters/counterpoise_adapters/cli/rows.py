"""What a row says: its columns (nested ones by dots), its text, its numbers, its source."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from .errors import InputError

__all__ = ["NumberedRow", "Row", "TargetFilter", "cell", "label_of", "numbers_of", "shown_texts", "text_of"]

type_names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}

_LETTERS = 480  # shown of a row's texts together

Row = Mapping[str, Any]
NumberedRow = tuple[int, Row]
Place = str | PathLike[str]


def cell(row: Row, column: str, *, path: Place, number: int) -> Any:
    """Return the value of a column, following dots into nested objects.

    Parameters
    ----------
    row : mapping
        One row.
    column : str
        A key of the row, or keys joined by dots (``answers.newbing``).  A key that itself holds the dots
        comes first.
    path, number
        Where the row stands, for the message.

    Returns
    -------
    object
        The value, None included.  A row without the column raises `InputError`, naming the columns that it
        has.

    Examples
    --------
    >>> cell({"answers": {"fid": "Paris"}}, "answers.fid", path="a.jsonl", number=1)
    'Paris'
    """
    if column in row:
        return row[column]
    value: Any = row
    for key in column.split("."):
        if not isinstance(value, Mapping) or key not in value:
            has = ", ".join(map(str, list(row)[:12])) or "none at all"
            raise InputError(f"no column '{column}' (columns here: {has})", path=path, row=number)
        value = value[key]
    return value


def text_of(row: Row, column: str, *, path: Place, number: int, allow_null: bool = False) -> str:
    """Return the text of a column: a string, or the contents of a list of chat messages, one to a line.

    Parameters
    ----------
    row, column, path, number
        As in `cell`.
    allow_null : bool
        Read null as empty text.

    Returns
    -------
    str
        Text that can be encoded as UTF-8 (an unpaired surrogate becomes ``?``).  Null, a number, or any
        other value raises `InputError`.

    Examples
    --------
    >>> text_of({"chosen": [{"role": "user", "content": "Hi"}]}, "chosen", path="a.jsonl", number=1)
    'Hi'
    """
    value = cell(row, column, path=path, number=number)
    if value is None and allow_null:
        return ""
    if isinstance(value, list) and value and all(_is_message(item) for item in value):
        value = "\n".join(item["content"] for item in value)
    if not isinstance(value, str):
        hint = "; drop the row, or read null as empty text with --allow-null" if value is None else ""
        raise InputError(f"column '{column}' is {_describe(value)}, not text{hint}", path=path, row=number)
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def numbers_of(row: Row, column: str, *, path: Place, number: int) -> list[float]:
    """Return the numbers of a feature column: one number, or a list of them (an embedding).

    Parameters
    ----------
    row, column, path, number
        As in `cell`.

    Returns
    -------
    list of float
        Finite numbers.  Text that reads as a number (as in CSV) counts as one; NaN, an infinity, null or
        anything else raises `InputError`.

    Examples
    --------
    >>> numbers_of({"e": [0.5, 2]}, "e", path="a.jsonl", number=1)
    [0.5, 2.0]
    """
    value = cell(row, column, path=path, number=number)
    items = value if isinstance(value, list | tuple) else [value]
    try:
        found = [float(item) for item in items]
    except (TypeError, ValueError, OverflowError):
        wrong = next(item for item in items if not _reads_as_number(item))
        raise InputError(
            f"feature column '{column}' holds {_describe(wrong)}, not a number or a list of numbers",
            path=path,
            row=number,
        ) from None
    if not math.isfinite(math.fsum(found)) and not all(map(math.isfinite, found)):
        where = next(i for i, item in enumerate(found) if not math.isfinite(item))
        inside = f" (entry {where + 1} of {len(found)})" if len(found) > 1 else ""
        raise InputError(
            f"feature column '{column}' is {found[where]}{inside}; it must be finite: drop or impute the row",
            path=path,
            row=number,
        )
    return found


def shown_texts(
    row: Row, text: Sequence[str], features: Sequence[str], *, path: Place, number: int
) -> tuple[tuple[str, str], ...]:
    """Return what a report shows of a row: each text column, or else feature column, cut to a few lines.

    Parameters
    ----------
    row, path, number
        As in `cell`.
    text, features : sequence of str
        Names of the columns.

    Examples
    --------
    >>> shown_texts({"a": "so  it goes"}, ["a"], [], path="a.jsonl", number=1)
    (('a', 'so it goes'),)
    """
    if text:
        texts = [(name, text_of(row, name, path=path, number=number, allow_null=True)) for name in text]
    else:
        texts = [(name, str(cell(row, name, path=path, number=number))) for name in features if name in row]
    most = _LETTERS // max(len(texts), 1)
    plain = [(name, " ".join(whole[: 4 * _LETTERS].split())) for name, whole in texts]
    return tuple((name, whole if len(whole) <= most else whole[:most] + "…") for name, whole in plain)


def label_of(value: Any) -> str:
    """Return a source label as text: strings as they are, everything else as JSON writes it.

    Parameters
    ----------
    value : object
        A cell.

    Examples
    --------
    >>> label_of("human"), label_of(True), label_of(None), label_of(3)
    ('human', 'true', 'null', '3')
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


@dataclass(frozen=True)
class TargetFilter:
    """Which rows are target rows: those whose column equals one of the values.

    Parameters
    ----------
    column : str
        Column, dots allowed.
    values : tuple of str
        Labels (see `label_of`), any of which makes a row a target row.
    """

    column: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, options: Sequence[str]) -> "TargetFilter":
        """Read ``column=value`` options; several must name the same column and mean "any of these values".

        Parameters
        ----------
        options : sequence of str
            At least one.  Anything else than ``column=value`` raises `InputError`.

        Examples
        --------
        >>> TargetFilter.parse(["source=human", "source=expert"])
        TargetFilter(column='source', values=('human', 'expert'))
        """
        pairs = [option.partition("=") for option in options]
        for option, (column, equals, value) in zip(options, pairs, strict=True):
            if not (column and equals and value):
                raise InputError(f"--target takes COLUMN=VALUE, such as source=human; it got '{option}'")
        columns = sorted({column for column, _, _ in pairs})
        if len(columns) != 1:
            raise InputError(f"every --target must name the same column; these name {', '.join(columns)}")
        return cls(columns[0], tuple(value for _, _, value in pairs))

    def label(self, row: Row, *, path: Place, number: int) -> str:
        """Return the row's source label.

        Parameters
        ----------
        row, path, number
            As in `cell`.
        """
        return label_of(cell(row, self.column, path=path, number=number))


def _is_message(item: Any) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("content"), str)


def _reads_as_number(item: Any) -> bool:
    try:
        float(item)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _describe(value: Any) -> str:
    """Say what a value is, in a few words."""
    if isinstance(value, str):
        return f"the text '{value[:40]}'" if value else "empty text"
    return type_names.get(type(value), f"the {type(value).__name__} {str(value)[:40]}")
