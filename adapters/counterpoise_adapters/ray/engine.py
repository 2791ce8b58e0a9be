"""The `corpus.engine.Engine` that works on a Ray cluster.

A task works on a shard, or fits a fold; what the shards found is reduced in a tree of tasks. Worker processes are used
again, so that each loads the libraries and the embedder once. Rows pass from files to workers and back; the driver sees
counts and hashes. What it runs on the workers is in modules of `corpus` that load nothing but what the work needs.
"""

import io
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.job_config import JobConfig

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.options import WeighOptions
from counterpoise_adapters.corpus.engine import Outcome, attempt, merge_all, merge_files
from counterpoise_adapters.corpus.fit import FitJob, Fitted, begin, finish, fit_fold, warm
from counterpoise_adapters.corpus.shards import Shard

__all__ = ["RayEngine", "fit_remotely", "once_remotely", "unpacked", "warm_up"]

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
    method : {"classifier", "ulsif"}
        What the workers load at once.
    hashes : bool
        Whether they load scikit-learn at once too, for words that are hashed.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        address: str | None = None,
        method: str = "classifier",
        hashes: bool = False,
    ) -> None:
        self._cpus, self._gpus = cpus, gpus
        self._ours = not ray.is_initialized()
        if self._ours:
            # Ray warns of every actor with arguments, once for each of them, from below Python's logging.
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
            address = address or os.environ.get("RAY_ADDRESS")
            new: dict[str, Any] = {} if address else {"num_cpus": os.cpu_count(), "object_store_memory": _STORE}
            # Not a runtime environment, for which Ray would start other processes than those it keeps ready.
            paths = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
            try:
                ray.init(
                    address=address or "local", include_dashboard=None if address else False, log_to_driver=False,
                    logging_level=logging.ERROR, job_config=JobConfig(_py_driver_sys_path=paths[::-1]), **new,
                )  # fmt: skip
            except Exception as error:  # a bare one is what Ray raises when its daemons do not answer in time
                ray.shutdown()
                raise InputError(f"Ray does not answer or did not start: {error}") from error
        room = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if room.get("CPU", 0.0) < cpus or room.get("GPU", 0.0) < gpus:
            self.close()
            raise InputError(
                f"a worker asks for {cpus:g} CPUs and {gpus:g} GPUs, and the whole cluster has "
                f"{room.get('CPU', 0.0):g} and {room.get('GPU', 0.0):g}; ask for less with --worker-cpus, --worker-gpus"
            )
        most = int(room["CPU"] // cpus) if cpus else _nodes()
        self._workers = most if workers is None else min(workers, most) if cpus else workers
        self._warming = warm_up(method, hashes, workers=self._workers, cpus=cpus)

    @classmethod
    def of(cls, options: WeighOptions) -> "RayEngine":
        """Return the engine that options ask for.

        Parameters
        ----------
        options : WeighOptions
            From the command line.
        """
        return cls(
            workers=options.workers, cpus=options.worker_cpus, gpus=options.worker_gpus, address=options.ray_address,
            method=options.method, hashes=bool(options.text) and options.embedder is None,
        )  # fmt: skip

    def run(self, job: Any, shards: Sequence[Shard], *, featurises: bool = False) -> Iterator[Outcome]:
        """Do a job on every shard; see `corpus.engine.Engine`.

        Parameters
        ----------
        job, shards, featurises
            As in `corpus.engine.Engine`.
        """
        model = getattr(job, "model", None)  # a reference, which is not to be hidden inside the job
        model = model if model is None or isinstance(model, ray.ObjectRef) else ray.put(model)
        held = ray.put(job if model is None else replace(job, model=None))
        task = partial(_start, attempt, held, cpus=self._cpus, gpus=self._gpus if featurises else 0.0)
        left = iter(shards)
        running: dict[Any, Shard | None] = dict.fromkeys(self._warming)  # a worker that loads is one of the workers
        self._warming = []
        for first in islice(left, self._workers - len(running)):
            running[task(first, model)] = first
        try:
            while running:
                (done, *_), _ = ray.wait(list(running), num_returns=1)
                shard = running.pop(done)
                for following in islice(left, 1):  # before this one is noted: the worker is not to wait
                    running[task(following, model)] = following
                if shard is None:
                    continue
                try:
                    yield ray.get(done)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
                    raise InputError(f"{_RETRIES + 1} workers died at this shard: {error}", path=shard.path) from error
        finally:
            for task_left in running:
                ray.cancel(task_left, force=True)

    def reduce(self, load: Callable[[Path], T], merge: Callable[[T, T], T], paths: Sequence[Path]) -> T:
        """Merge what files hold, in a tree; see `corpus.engine.Engine`.

        Parameters
        ----------
        load, merge, paths
            As in `corpus.engine.Engine`.
        """
        at_once = partial(_at_most, self._workers, cpus=self._cpus)
        level = at_once(merge_files, [(load, merge, part) for part in _parts(paths, self._workers)])
        while len(level) > 1:
            level = at_once(merge_all, [(merge, *part) for part in _parts(level, self._workers)])
        whole: T = ray.get(level[0])
        return whole

    def fit(self, job: FitJob, paths: Sequence[Path]) -> Fitted:
        """Learn the models, fold by fold on the workers; see `corpus.engine.Engine`.

        Parameters
        ----------
        job, paths
            As in `corpus.engine.Engine`.
        """
        return fit_remotely(job, list(paths), [], workers=self._workers, cpus=self._cpus)

    def once(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function on a worker; see `corpus.engine.Engine`.

        Parameters
        ----------
        function, *arguments
            As in `corpus.engine.Engine`.
        """
        return once_remotely(function, *arguments, cpus=self._cpus)

    def close(self) -> None:
        """Leave the cluster, and stop it if it was started here."""
        if self._ours:
            ray.shutdown()


def warm_up(method: str, hashes: bool, *, workers: int, cpus: float) -> list[Any]:
    """Let workers load the libraries, which takes seconds, as soon as they are there; return references to keep.

    Parameters
    ----------
    method, hashes
        As in `RayEngine`.
    workers : int
        How many there are.
    cpus : float
        Of each.
    """
    return [_start(warm, method, hashes, cpus=cpus) for _ in range(workers)]


def fit_remotely(job: FitJob, paths: Sequence[Path], tables: Sequence[Any], *, workers: int, cpus: float) -> Fitted:
    """Learn the models in tasks, so that the driver holds neither the rows drawn nor the models.

    Parameters
    ----------
    job : FitJob
        Says how.
    paths : sequence of Path
        Files of rows drawn.
    tables : sequence of references to pyarrow tables
        With rows drawn, as bytes in the column "part".
    workers : int
        How many folds are fitted at once, at most.
    cpus : float
        Of each worker that fits a fold.
    """
    try:
        begun, count = _start(_begun, job, paths, *tables, cpus=cpus, returns=2)
        folds = _at_most(workers, fit_fold, [(begun, number) for number in range(ray.get(count))], cpus=cpus)
        model, about = _start(finish, job, begun, *folds, cpus=cpus, returns=2)
        return Fitted(model, *ray.get(about))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def once_remotely(function: Callable[..., T], *arguments: Any, cpus: float) -> T:
    """Call a function in a task.

    Parameters
    ----------
    function, *arguments
        As in `corpus.engine.Engine`.
    cpus : float
        Of the worker.
    """
    try:
        found: T = ray.get(_start(function, *arguments, cpus=cpus))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    return found


def unpacked(tables: Sequence[Any]) -> list[io.BytesIO]:
    """Return the files of arrays that blocks were turned into.

    Parameters
    ----------
    tables : sequence of pyarrow tables
        With bytes in the column "part".
    """
    return [io.BytesIO(part) for table in tables for part in table["part"].to_pylist()]


def _at_most(workers: int, function: Any, calls: Sequence[Sequence[Any]], *, cpus: float) -> list[Any]:
    """Start a task for each of several arguments, so many at once; return references, the last of them not yet done."""
    begun: list[Any] = []
    for arguments in calls:
        if len(begun) >= workers:
            ray.wait(begun, num_returns=len(begun) - workers + 1)
        begun.append(_start(function, *arguments, cpus=cpus))
    return begun


def _parts(whole: Sequence[Any], workers: int) -> list[Sequence[Any]]:
    """Cut a sequence into parts: one for every worker, unless these were very long or short."""
    size = min(_FAN_IN, max(4, -(-len(whole) // workers)))
    return [whole[i : i + size] for i in range(0, len(whole), size)]


def _nodes() -> int:
    return len(ray.nodes())  # type: ignore[no-untyped-call]


def _begun(job: FitJob, paths: Sequence[Path], *tables: Any) -> tuple[Any, int]:
    begun = begin(job, [*paths, *unpacked(tables)])
    return begun, begun.folds


def _called(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


# One for all that is done: a worker fetches and unpickles it once, as it starts. By default Ray ends a process that had
# a GPU after one task (max_calls), and the embedder would be loaded for every shard.
_task: Any = ray.remote(max_retries=_RETRIES, max_calls=0)(_called)


def _start(function: Any, *arguments: Any, cpus: float, gpus: float = 0.0, returns: int = 1) -> Any:
    """Start a task that calls a function, and is shown under its name; return a reference, or several."""
    task = _task.options(name=getattr(function, "__name__", None), num_cpus=cpus, num_gpus=gpus, num_returns=returns)
    return task.remote(function, *arguments)
