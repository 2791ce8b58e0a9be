"""Weigh a Ray Dataset: the passes of a corpus, by ``map_batches``; actors hold the models."""

import io
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pyarrow as pa
import ray.data

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.rows import TargetFilter
from counterpoise_adapters.corpus.fit import FitJob
from counterpoise_adapters.corpus.sample import choose
from counterpoise_adapters.corpus.spec import Spec, name_sources
from counterpoise_adapters.corpus.strata import Strata
from counterpoise_adapters.corpus.sums import Statistics, SumModel, add_statistics, load_sums, solve

from .blocks import Drawing, Scanning, Scoring, Summing, Totalling, packed_bumps, weighted
from .engine import fit_remotely, once_remotely, warm_up

__all__ = ["weigh"]


def weigh(
    dataset: ray.data.Dataset,
    *,
    target: str | Sequence[str] | None = None,
    target_dataset: ray.data.Dataset | None = None,
    text: Sequence[str] = (),
    features: Sequence[str] = (),
    embedder: str | None = None,
    allow_null: bool = False,
    group: str | None = None,
    method: Literal["classifier", "ulsif"] = "classifier",
    pool: bool = False,
    folds: int = 5,
    calibrate: Literal["platt", "temperature"] | None = "platt",
    cap: float | None = None,
    fit_rows: int = 50_000,
    seed: int = 0,
    prefix: str = "",
    batch_size: int = 2048,
    workers: int = 1,
    worker_cpus: float = 1.0,
    worker_gpus: float = 0.0,
) -> ray.data.Dataset:
    """Estimate dTarget/dTrain of every row of a Ray Dataset, out of fold, and weights proportional to it.

    The weights are those of ``counterpoise weigh`` on files with these rows: they depend on the rows and the seed, not
    on blocks or their order.

    Parameters
    ----------
    dataset : ray.data.Dataset
        The rows. It is read three times; `materialize` it first if making it is dear.
    target : str or sequence of str, optional
        ``"column=value"``: which rows are target rows; several values of one column may be given.
    target_dataset : ray.data.Dataset, optional
        Or: target samples of their own.
    text, features : sequence of str
        Text columns, or columns of numbers or lists of numbers (``emb_*`` matches names).
    embedder : str, optional
        ``"module:function"`` from a list of texts to an array, one line of numbers a text; imported on the workers.
    allow_null : bool
        Read null in a text column as empty text.
    group : str, optional
        Rows equal in this column share a fold.
    method : {"classifier", "ulsif"}
        Logistic regressions on the rows drawn, or least squares from sums over every row, whose log-odds are not
        calibrated; the dataset is then read once more.
    pool : bool
        Tell the target from all other rows at once, not from each source.
    folds : int
        Of the cross-fit, at least 2.
    calibrate : {"platt", "temperature", None}
        Of a classifier's log-odds, on held-out rows.
    cap : float, optional
        Largest ratio that counts, above 0.
    fit_rows : int
        Learn from so many rows, at least 100.
    seed : int
        Of the rows drawn and of the folds.
    prefix : str
        Put before the names of the new columns.
    batch_size : int
        Rows given to the embedder at once.
    workers : int
        Actors that hold the models.
    worker_cpus, worker_gpus : float
        Of each.

    Returns
    -------
    ray.data.Dataset
        The rows with float64 columns ``ratio``, ``weight`` (the capped ratio over its mean) and ``log_odds``. The
        scored rows stay in the object store, which spills to disk; the last step is lazy.

    Raises
    ------
    ValueError
        Options that contradict each other; rows that cannot be read; a target that matches no row or all of them.

    Examples
    --------
    >>> ray.init(num_cpus=1)  # doctest: +SKIP
    >>> rows = ray.data.read_parquet("corpus/")  # doctest: +SKIP
    >>> weighed = weigh(rows, target="source=human", features=["embedding"])  # doctest: +SKIP
    >>> weighed.write_parquet("weighed/")  # doctest: +SKIP
    """
    if (target is None) == (target_dataset is None):
        raise ValueError("say which samples are target samples: target='column=value', or target_dataset")
    if cap is not None and not 0.0 < cap < float("inf"):
        raise ValueError(f"cap is {cap}; it must be positive and finite, such as 5")
    if pool and target is None:
        raise ValueError("pool is for target; with target_dataset the dataset is one pool already")
    if fit_rows < 100 or batch_size < 1 or workers < 1:
        raise ValueError(
            f"fit_rows is {fit_rows}, batch_size {batch_size}, workers {workers}; at least 100, 1 and 1 are needed"
        )
    _quiet()
    try:
        spec = Spec(
            text=tuple(text), features=tuple(features), embedder=embedder, allow_null=allow_null,
            target=None if target is None else TargetFilter.parse([target] if isinstance(target, str) else target),
            group=group, method=method, pool=pool, folds=folds, calibrate=calibrate, cap=cap, fit_rows=fit_rows,
            seed=seed, prefix=prefix,
        )  # fmt: skip
        spec.featuriser()
        pool_of = {"compute": _actors(workers), "num_cpus": worker_cpus, "num_gpus": worker_gpus}
        return _weigh(dataset, target_dataset, spec, batch_size, pool_of, workers)
    except InputError as error:
        raise ValueError(str(error)) from error
    except ray.exceptions.RayError as error:
        raise ValueError(_reason(error)) from error


def _weigh(
    dataset: ray.data.Dataset,
    target_dataset: ray.data.Dataset | None,
    spec: Spec,
    batch_size: int,
    pool_of: dict[str, Any],
    workers: int,
) -> ray.data.Dataset:
    taken = [name for name in spec.new_columns if name in (dataset.columns() or ())]
    if taken:
        raise InputError(f"there is a column '{taken[0]}' already; drop it, or choose other names with prefix")
    hashes = bool(spec.text) and spec.embedder is None
    warm_up(spec.method, hashes, workers=min(workers, spec.folds), cpus=pool_of["num_cpus"])
    strata = _scan(dataset, spec, batch_size)
    if spec.target is not None:
        names, place = name_sources(strata.counts, spec.target, pool=spec.pool)
        counts = [sum(n for label, n in strata.counts.items() if place[label] == i) for i in range(len(names))]
        sketches = strata.by_source(place, most=spec.fit_rows)
        parts = [(dataset, place)]
    else:
        assert target_dataset is not None
        others = _scan(target_dataset, spec, batch_size)
        names, place, counts = ("target", "dataset"), {"": 1}, [sum(s.counts.values()) for s in (others, strata)]
        sketches = {0: others.sketches[""], 1: strata.sketches[""]}
        parts = [(target_dataset, {"": 0}), (dataset, place)]
    draws = choose(sketches, most=spec.fit_rows)
    tables = [
        table
        for rows, source in parts
        for table in _per_block(rows, Drawing(spec, batch_size, source, draws), pool_of).to_arrow_refs()
    ]
    job = FitJob(spec, draws, tuple(counts))
    if spec.method == "ulsif":
        model = ray.put(_from_sums(job, parts, tables, batch_size, pool_of))
    else:
        model = fit_remotely(job, [], tables, workers=workers, cpus=pool_of["num_cpus"]).model
    scored = dataset.map_batches(
        Scoring, fn_constructor_args=(spec, place, len(names), [model]), batch_size=batch_size,
        batch_format="pyarrow", **pool_of,
    ).materialize()  # fmt: skip
    ratio = spec.new_columns[0]
    sums = _per_block(scored, Totalling(ratio, spec.cap), {}).take_all()
    total, rows = (sum(row[name] for row in sums) for name in ("total", "rows"))
    if not 0.0 < total < float("inf"):
        raise InputError(f"the ratios sum to {total}: the samples are too far apart for weights of mean 1")
    weighed: ray.data.Dataset = scored.map_batches(
        weighted, fn_kwargs={"names": spec.new_columns, "cap": spec.cap, "mean": total / rows}, batch_format="pyarrow"
    )
    return weighed


def _from_sums(
    job: FitJob,
    parts: Sequence[tuple[ray.data.Dataset, dict[str, int]]],
    tables: Sequence[Any],
    batch_size: int,
    pool_of: dict[str, Any],
) -> SumModel:
    """Fit by least squares: blocks leave their sums, which are added up as they come."""
    bumps = once_remotely(packed_bumps, job, *tables, cpus=pool_of["num_cpus"])
    total: Statistics | None = None
    for rows, place in parts:
        for row in _per_block(rows, Summing(job.spec, batch_size, place, bumps), pool_of).iter_rows():
            part = load_sums(io.BytesIO(row["part"]))
            total = part if total is None else add_statistics(total, part)
    assert total is not None
    return solve(job, bumps, total)


def _actors(workers: int) -> Any:
    """Return a pool of so many actors; fewer do where the cluster lost a node."""
    return ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers)


def _quiet() -> None:
    """Turn off the bars of Ray Data."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _scan(dataset: ray.data.Dataset, spec: Spec, batch_size: int) -> Strata:
    wanted = spec.target.values if spec.target is not None else ()
    whole = Strata.empty(pooled=spec.pool)
    for row in _per_block(dataset, Scanning(spec, batch_size), {}).iter_rows():
        part = Strata.load(io.BytesIO(row["part"]))
        whole = whole.merged(part, target=wanted, most=spec.fit_rows)
    if not whole.counts:
        raise InputError("the dataset has no rows")
    return whole


def _per_block(
    dataset: ray.data.Dataset, function: Callable[[pa.Table], dict[str, Any]], how: dict[str, Any]
) -> ray.data.Dataset:
    """Turn each block into one row."""
    resources = {name: how[name] for name in ("num_cpus", "num_gpus") if name in how}
    return dataset.map_batches(function, batch_size=None, batch_format="pyarrow", **resources)


def _reason(error: BaseException) -> str:
    """Return what was wrong with the rows, if that is what stopped Ray, else what Ray says."""
    found = re.search(rf"\b{InputError.__name__}: (.*)", str(error))
    return str(error) if found is None else found.group(1)
