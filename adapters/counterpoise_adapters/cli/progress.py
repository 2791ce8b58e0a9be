"""Progress bars on the standard error stream, where it is a terminal and somebody may watch."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["console", "steps", "watched"]

T = TypeVar("T")

console = Console(stderr=True)


def watched(items: Iterable[T], what: str, *, total: int | None = None) -> Iterator[T]:
    """Yield the items, showing how many have passed.

    Parameters
    ----------
    items : iterable
        Anything.
    what : str
        What is being done.
    total : int, optional
        How many there will be, where it is known.

    Examples
    --------
    >>> list(watched([1, 2], "counting", total=2))
    [1, 2]
    """
    with _bar() as progress:
        task = progress.add_task(what, total=total)
        pending = 0
        for item in items:
            yield item
            pending += 1
            if pending == 512:  # a call per row would cost as much as reading it
                progress.advance(task, pending)
                pending = 0
        progress.advance(task, pending)


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Give a function to call after each of ``total`` steps, and show how many are done.

    Parameters
    ----------
    what : str
        What is being done.
    total : int
        How many steps there will be.

    Examples
    --------
    >>> with steps("fitting", 2) as advance:
    ...     advance()
    """
    with _bar() as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
