"""The `corpus.engine.Engine` that works on a Ray cluster.

Scanning, drawing and writing are tasks; scoring is a ``map_batches`` of Ray Data, whose actors hold the models; what
the shards found is reduced in a tree of tasks. The driver sees counts and hashes, and the models once.
"""

import io
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import ray
import ray.data

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.options import WeighOptions
from counterpoise_adapters.corpus.engine import FitJob, Outcome, attempt
from counterpoise_adapters.corpus.model import CorpusModel, Lesson
from counterpoise_adapters.corpus.shards import Shard
from counterpoise_adapters.sklearn import ClassifierRatio

__all__ = ["RayEngine", "actors", "fit_remotely", "quiet"]

T = TypeVar("T")
_RETRIES = 4  # a shard that kills every worker that meets it must end the run, not hang it
_FAN_IN = 16
_STORE = 512 * 2**20  # bytes of shared memory for a cluster of our own: models and sketches, never rows


class RayEngine:
    """Works on a cluster that reads and writes the same paths as this process.

    Parameters
    ----------
    workers : int, optional
        How many shards are worked on at once; by default as many as the cluster has room for.
    cpus, gpus : float
        CPUs of a worker, and GPUs of one that embeds.
    address : str, optional
        Of a running cluster; by default the one that this process is connected to, else ``RAY_ADDRESS``, else a new one
        on this machine, which `close` stops.
    """

    def __init__(
        self, *, workers: int | None = None, cpus: float = 1.0, gpus: float = 0.0, address: str | None = None
    ) -> None:
        self._cpus, self._gpus = cpus, gpus
        self._ours = not ray.is_initialized()
        if self._ours:
            # Ray warns of every actor with arguments, once for each of them, from below Python's logging.
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
            address = address or os.environ.get("RAY_ADDRESS")
            new: dict[str, Any] = {} if address else {"num_cpus": os.cpu_count(), "object_store_memory": _STORE}
            paths = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
            try:
                ray.init(
                    address=address or "local", include_dashboard=None if address else False, log_to_driver=False,
                    logging_level=logging.ERROR, runtime_env={"env_vars": {"PYTHONPATH": paths}}, **new,
                )  # fmt: skip
            except Exception as error:  # a bare one is what Ray raises when its daemons do not answer in time
                ray.shutdown()
                raise InputError(f"Ray does not answer or did not start: {error}") from error
        quiet()
        room = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if room.get("CPU", 0.0) < cpus or room.get("GPU", 0.0) < gpus:
            self.close()
            raise InputError(
                f"a worker asks for {cpus:g} CPUs and {gpus:g} GPUs, and the whole cluster has "
                f"{room.get('CPU', 0.0):g} and {room.get('GPU', 0.0):g}; ask for less with --worker-cpus, --worker-gpus"
            )
        most = int(room["CPU"] // cpus) if cpus else _nodes()
        self._workers = most if workers is None else min(workers, most) if cpus else workers

    @classmethod
    def of(cls, options: WeighOptions) -> "RayEngine":
        """Return the engine that options ask for.

        Parameters
        ----------
        options : WeighOptions
            From the command line.
        """
        return cls(
            workers=options.workers, cpus=options.worker_cpus, gpus=options.worker_gpus, address=options.ray_address
        )

    def run(
        self, job: Callable[[Shard], Any], shards: Sequence[Shard], *, featurises: bool = False
    ) -> Iterator[Outcome]:
        """Do a job on every shard; see `corpus.engine.Engine`.

        Parameters
        ----------
        job, shards, featurises
            As in `corpus.engine.Engine`.
        """
        if hasattr(job, "model"):
            return self._by_actors(job, shards)
        return self._by_tasks(job, shards, self._gpus if featurises else 0.0)

    def _by_tasks(self, job: Callable[[Shard], Any], shards: Sequence[Shard], gpus: float) -> Iterator[Outcome]:
        held = ray.put(job)
        task = _attempt.options(num_cpus=self._cpus, num_gpus=gpus)
        left = list(reversed(shards))
        running: dict[Any, Shard] = {}
        try:
            while left or running:
                while left and len(running) < self._workers:
                    shard = left.pop()
                    running[task.remote(held, shard)] = shard
                (done, *_), _ = ray.wait(list(running), num_returns=1)
                shard = running.pop(done)
                try:
                    yield ray.get(done)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                    raise InputError(f"{_RETRIES + 1} workers died at this shard: {error}", path=shard.path) from error
        finally:
            for task_left in running:
                ray.cancel(task_left, force=True)

    def _by_actors(self, job: Any, shards: Sequence[Shard]) -> Iterator[Outcome]:
        if not shards:
            return
        rows = [{"name": shard.name, "path": str(shard.path)} for shard in shards]
        scored = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Attempt, fn_constructor_args=(job,), batch_size=1, num_cpus=self._cpus, num_gpus=self._gpus,
            compute=actors(min(self._workers, len(shards))),
        )  # fmt: skip
        for row in scored.iter_rows():
            yield Outcome(row["name"], row["value"], row["error"], row["fatal"])

    def reduce(self, load: Callable[[Path], T], merge: Callable[[T, T], T], paths: Sequence[Path]) -> T:
        """Merge what files hold, in a tree; see `corpus.engine.Engine`.

        Parameters
        ----------
        load, merge, paths
            As in `corpus.engine.Engine`.
        """
        level = [_loaded.remote(load, merge, paths[i : i + _FAN_IN]) for i in range(0, len(paths), _FAN_IN)]
        while len(level) > 1:
            level = [_merged.remote(merge, *level[i : i + _FAN_IN]) for i in range(0, len(level), _FAN_IN)]
        whole: T = ray.get(level[0])
        return whole

    def fit(self, job: FitJob, paths: Sequence[Path]) -> CorpusModel:
        """Learn the models, fold by fold on the workers; see `corpus.engine.Engine`.

        Parameters
        ----------
        job, paths
            As in `corpus.engine.Engine`.
        """
        return fit_remotely(job, paths, [], cpus=self._cpus)

    def hold(self, model: CorpusModel) -> Any:
        """Put the model into the object store of the driver's node, which a lost worker does not take along.

        Parameters
        ----------
        model : CorpusModel
            The model.
        """
        return ray.put(model)

    def close(self) -> None:
        """Leave the cluster, and stop it if it was started here."""
        if self._ours:
            ray.shutdown()


def fit_remotely(job: FitJob, paths: Sequence[Path], tables: Sequence[Any], *, cpus: float) -> CorpusModel:
    """Learn the models in a task, so that the driver never holds the rows drawn.

    Parameters
    ----------
    job : FitJob
        Says how.
    paths : sequence of Path
        Files of rows drawn.
    tables : sequence of references to pyarrow tables
        With rows drawn, as bytes in the column "part".
    cpus : float
        Of each worker that fits a fold.
    """
    try:
        model: CorpusModel = ray.get(_fit.options(num_cpus=0).remote(job, cpus, paths, *tables))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return model


def _nodes() -> int:
    return len(ray.nodes())  # type: ignore[no-untyped-call]


def actors(workers: int) -> Any:
    """Return a pool of so many actors, for ``map_batches``.

    Parameters
    ----------
    workers : int
        At least 1; fewer do where the cluster lost a node.
    """
    return ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers)


def quiet() -> None:
    """Turn off the bars of Ray Data: progress is shown per stage, in shards."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


class _Attempt:
    """An actor that holds a job with its models."""

    def __init__(self, job: Any) -> None:
        self._job = replace(job, model=ray.get(job.model))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        found = [
            attempt(self._job, Shard(str(name), Path(str(path))))
            for name, path in zip(batch["name"], batch["path"], strict=True)
        ]
        return {field: [getattr(outcome, field) for outcome in found] for field in Outcome._fields}


@ray.remote(max_retries=_RETRIES)
def _attempt(job: Callable[[Shard], Any], shard: Shard) -> Outcome:
    return attempt(job, shard)


@ray.remote(max_retries=_RETRIES)
def _loaded(load: Callable[[Path], Any], merge: Callable[[Any, Any], Any], paths: Sequence[Path]) -> Any:
    whole = load(paths[0])
    for path in paths[1:]:
        whole = merge(whole, load(path))
    return whole


@ray.remote(max_retries=_RETRIES)
def _merged(merge: Callable[[Any, Any], Any], *parts: Any) -> Any:
    whole = parts[0]
    for part in parts[1:]:
        whole = merge(whole, part)
    return whole


@ray.remote(max_retries=_RETRIES)
def _fit(job: FitJob, cpus: float, paths: Sequence[Path], *tables: Any) -> CorpusModel:
    """Learn from the rows drawn; the folds are tasks of their own."""

    def each(model: ClassifierRatio, lesson: Lesson, numbers: Iterable[int]) -> list[Any]:
        held = ray.put((model, lesson))
        task = _fit_fold.options(num_cpus=cpus)
        return list(ray.get([task.remote(held, number) for number in numbers]))

    packed = [io.BytesIO(part) for table in tables for part in table["part"].to_pylist()]
    try:
        return job.fit(job.lesson([*paths, *packed]), each)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


@ray.remote(max_retries=_RETRIES)
def _fit_fold(held: tuple[ClassifierRatio, Lesson], number: int) -> Any:
    model, lesson = held
    return model.fit_fold(lesson.matrix, lesson.source, number, lesson.key)
