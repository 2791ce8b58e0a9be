"""The ``counterpoise`` command: weigh a file, advise on it, compare ways to train on it, or demonstrate.

The commands live one to a file (``weigh.py``, ``advise.py``, ``compare.py``, ``demo.py``) and are
registered in ``app.py``.  What they share is in ``errors.py`` (wrong input as one line), ``files.py`` (reading and
writing rows as a stream), ``rows.py`` (columns, target filters) and ``features.py`` (rows into a matrix).
"""

import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import NoReturn

from counterpoise._extras import MissingPackage, extra

from .errors import InputError

__all__ = ["InputError", "interruptible", "main"]

_PACKAGES = ("typer", "rich", "pyarrow", "jinja2", "sklearn", "scipy")
_INTERRUPTED = "interrupted; no file is left half written"


def main() -> None:
    """Run the command line: the entry point ``counterpoise``.

    Wrong input ends as one line on the standard error stream and exit status 2, without a traceback.  An
    interrupt ends with status 130 and a termination signal with 143, after files half written are removed.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with extra("cli", "the command line", packages=_PACKAGES):  # commands load what they need as they run
            from .app import app

            app()
    except (InputError, MissingPackage) as error:
        _leave(str(error), 2)
    except KeyboardInterrupt:  # while a command was looked up
        _leave(_INTERRUPTED, 130)


def interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command say that it was interrupted: Typer would leave without a word.

    Parameters
    ----------
    command : callable
        What Typer calls.
    """

    @wraps(command)
    def run(**options: object) -> None:
        try:
            command(**options)
        except KeyboardInterrupt:
            _leave(_INTERRUPTED, 130)

    return run


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Turn a termination signal into an exit that runs every ``finally``."""
    raise SystemExit(143)


def _leave(message: str, status: int) -> NoReturn:
    """Print one line on the standard error stream and exit."""
    one_line = " ".join(message.split())
    print(f"counterpoise: {one_line}", file=sys.stderr)
    raise SystemExit(status)
