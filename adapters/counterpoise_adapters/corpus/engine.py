"""Where the work on shards is done: an `Engine`, of which the one here does it all in this process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from counterpoise_adapters.cli.errors import InputError, OutputError

from .fit import FitJob, Fitted, begin, finish, fit_fold
from .shards import Shard

__all__ = ["Engine", "LocalEngine", "Outcome", "attempt", "merge_all", "merge_files"]

T = TypeVar("T")


class Outcome(NamedTuple):
    """What became of a shard.

    Parameters
    ----------
    name : str
        The shard's.
    value : object
        What the job returned; None after an error.
    error : str
        What was wrong with the shard, "" if nothing was.
    fatal : bool
        Whether it was no fault of the shard, but of the place to write to.
    """

    name: str
    value: Any
    error: str = ""
    fatal: bool = False


class Engine(Protocol):
    """Does jobs on shards."""

    def run(
        self, job: Callable[[Shard], Any], shards: Sequence[Shard], *, featurises: bool = False
    ) -> Iterator[Outcome]:
        """Do a job on every shard; yield what became of each, in any order.

        Parameters
        ----------
        job : callable
            Of `jobs`; may be done again where a worker was lost.
        shards : sequence of Shard
            To work on.
        featurises : bool
            Whether the job embeds rows, for which workers may be given GPUs.
        """
        ...

    def reduce(self, load: Callable[[Path], T], merge: Callable[[T, T], T], paths: Sequence[Path]) -> T:
        """Merge what files hold, in an order that does not matter.

        Parameters
        ----------
        load : callable
            Reads a file.
        merge : callable
            Of two.
        paths : sequence of Path
            At least one.
        """
        ...

    def fit(self, job: FitJob, paths: Sequence[Path]) -> Fitted:
        """Learn the models; classes that cannot fill the folds raise ValueError.

        Parameters
        ----------
        job : FitJob
            Says how.
        paths : sequence of Path
            Files that `DrawJob` left.
        """
        ...

    def once(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function where the work is done, for what is done once.

        Parameters
        ----------
        function : callable
            Any.
        *arguments
            Its own.
        """
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...


class LocalEngine:
    """Does everything here, one shard after the other."""

    def run(
        self, job: Callable[[Shard], Any], shards: Sequence[Shard], *, featurises: bool = False
    ) -> Iterator[Outcome]:
        """Do a job on every shard; see `Engine`.

        Parameters
        ----------
        job, shards, featurises
            As in `Engine`.
        """
        del featurises
        return (attempt(job, shard) for shard in shards)

    def reduce(self, load: Callable[[Path], T], merge: Callable[[T, T], T], paths: Sequence[Path]) -> T:
        """Merge what files hold; see `Engine`.

        Parameters
        ----------
        load, merge, paths
            As in `Engine`.
        """
        return merge_files(load, merge, paths)

    def fit(self, job: FitJob, paths: Sequence[Path]) -> Fitted:
        """Learn the models; see `Engine`.

        Parameters
        ----------
        job, paths
            As in `Engine`.
        """
        begun = begin(job, paths)
        model, about = finish(job, begun, *(fit_fold(begun, number) for number in range(begun.folds)))
        return Fitted(model, *about)

    def once(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function; see `Engine`.

        Parameters
        ----------
        function, *arguments
            As in `Engine`.
        """
        return function(*arguments)

    def close(self) -> None:
        """Nothing is held."""


def attempt(job: Any, shard: Shard, model: Any = None) -> Outcome:
    """Do a job on one shard; what is wrong with the shard becomes the outcome, any other error is raised.

    Parameters
    ----------
    job : callable
        Of `jobs`.
    shard : Shard
        To work on.
    model : CorpusModel, optional
        Where the job came without its own.
    """
    try:
        return Outcome(shard.name, (job if model is None else replace(job, model=model))(shard))
    except OutputError as error:
        return Outcome(shard.name, None, str(error), True)
    except InputError as error:
        return Outcome(shard.name, None, str(error))


def merge_files(load: Callable[[Path], T], merge: Callable[[T, T], T], paths: Sequence[Path]) -> T:
    """Merge what files hold; see `Engine.reduce`.

    Parameters
    ----------
    load, merge, paths
        As in `Engine`.
    """
    return merge_all(merge, *map(load, paths))


def merge_all(merge: Callable[[T, T], T], *parts: T) -> T:
    """Merge all of several, one after the other.

    Parameters
    ----------
    merge : callable
        Of two.
    *parts
        At least one.
    """
    return reduce(merge, parts)
