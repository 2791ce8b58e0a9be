"""Where the work on shards is done: an `Engine`, of which the one here does it all in this process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from counterpoise_adapters.cli.errors import InputError, OutputError
from counterpoise_adapters.sklearn import ClassifierRatio

from .model import CorpusModel, Lesson, learn, load_drawn, merge_drawn, prepare
from .sample import Draw
from .shards import Shard

__all__ = ["Engine", "FitJob", "LocalEngine", "Outcome", "attempt"]

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


class FitJob(NamedTuple):
    """How the models are learnt from files of rows drawn.

    Parameters
    ----------
    draws : dict of int to Draw
        Of each source.
    classifier : scikit-learn classifier
        Unfitted.
    counts : tuple of int
        Rows of each source.
    inside, folds, calibrate, seed
        As in `learn`.
    """

    draws: dict[int, Draw]
    classifier: Any
    counts: tuple[int, ...]
    inside: bool
    folds: int
    calibrate: Any
    seed: int

    def lesson(self, parts: Iterable[Path | BinaryIO]) -> Lesson:
        """Read the rows drawn.

        Parameters
        ----------
        parts : iterable of Path or binary file
            What `save_drawn` wrote.
        """
        return prepare(merge_drawn([load_drawn(part) for part in parts]), self.draws)

    def fit(
        self, lesson: Lesson, each: Callable[[ClassifierRatio, Lesson, Iterable[int]], Iterable[Any]] | None = None
    ) -> CorpusModel:
        """Fit the models.

        Parameters
        ----------
        lesson : Lesson
            The rows drawn.
        each : callable, optional
            As in `learn`.
        """
        return learn(
            lesson, self.classifier, counts=self.counts, inside=self.inside, folds=self.folds,
            calibrate=self.calibrate, seed=self.seed, each=each,
        )  # fmt: skip


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

    def fit(self, job: FitJob, paths: Sequence[Path]) -> CorpusModel:
        """Learn the models; classes that cannot be told apart raise ValueError.

        Parameters
        ----------
        job : FitJob
            Says how.
        paths : sequence of Path
            Files that `DrawJob` left.
        """
        ...

    def hold(self, model: CorpusModel) -> Any:
        """Return what stands for the model in a job.

        Parameters
        ----------
        model : CorpusModel
            The model.
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
        whole = load(paths[0])
        for path in paths[1:]:
            whole = merge(whole, load(path))
        return whole

    def fit(self, job: FitJob, paths: Sequence[Path]) -> CorpusModel:
        """Learn the models; see `Engine`.

        Parameters
        ----------
        job, paths
            As in `Engine`.
        """
        return job.fit(job.lesson(paths))

    def hold(self, model: CorpusModel) -> CorpusModel:
        """Return the model itself.

        Parameters
        ----------
        model : CorpusModel
            The model.
        """
        return model

    def close(self) -> None:
        """Nothing is held."""


def attempt(job: Callable[[Shard], Any], shard: Shard) -> Outcome:
    """Do a job on one shard; what is wrong with the shard becomes the outcome, any other error is raised.

    Parameters
    ----------
    job : callable
        Of `jobs`.
    shard : Shard
        To work on.
    """
    try:
        return Outcome(shard.name, job(shard))
    except OutputError as error:
        return Outcome(shard.name, None, str(error), True)
    except InputError as error:
        return Outcome(shard.name, None, str(error))
