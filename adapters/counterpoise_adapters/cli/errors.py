"""The one exception that the command line turns into a message: what is wrong with what it was given."""

from collections.abc import Sequence
from os import PathLike

__all__ = ["InputError", "OutputError", "said"]


class InputError(Exception):
    """Something in the files or options is wrong; printed as one line, with exit status 2.

    Parameters
    ----------
    problem : str
        What was found, what is allowed, and what to do.
    path : path-like, optional
        The file in which it was found.
    row : int, optional
        Its row, counted from 1 (for JSON Lines the line of the file; for CSV the record after the header).

    Examples
    --------
    >>> print(InputError("no column 'response'", path="a.jsonl", row=3))
    a.jsonl, row 3: no column 'response'
    """

    def __init__(self, problem: str, *, path: str | PathLike[str] | None = None, row: int | None = None) -> None:
        place = "" if path is None else str(path)
        if row is not None:
            place = f"{place}, row {row}" if place else f"row {row}"
        super().__init__(f"{place}: {problem}" if place else problem)


def said(error: ValueError, names: Sequence[str]) -> str:
    """Return a message in which a source has its name; the models know sources by number.

    Parameters
    ----------
    error : ValueError
        Of a model.
    names : sequence of str
        Of the sources, the target's first.
    """
    naming = getattr(error, "naming", None)  # a `Few`; its module loads numpy
    return str(error if naming is None else naming(names))


class OutputError(InputError):
    """A destination cannot be written: no fault of the input, and no reason to set any of it aside."""
