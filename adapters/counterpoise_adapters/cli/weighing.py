"""The work behind ``counterpoise weigh``: four passes over the file, memory for the sample learnt from.

1. Read every row: check it, note its source and which rows are copies.  2. Featurise the rows to learn
from, and fit the ratio out of fold.  3. Weigh every other row batch by batch, copies of learnt rows by the
models that did not see them.  4. Write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise._extras import MissingPackage, extra
from counterpoise_adapters.corpus import spec
from counterpoise_adapters.corpus.shards import is_corpus

from .errors import InputError, said
from .features import Featuriser, Matrix, make_featuriser, stack
from .files import Table, batched, open_table
from .options import InputOptions, WeighOptions, check_choices, check_options, open_input
from .pairs import PairTable
from .rows import TargetFilter
from .scan import Scan, numbered_rows, sample_rows, scan

__all__ = ["Weighed", "name_sources", "run", "target_filter", "weigh_table"]

Floats = NDArray[np.float64]
_BATCH = 2048  # rows featurised at once


@dataclass(frozen=True)
class Weighed:
    """What weighing found.

    Parameters
    ----------
    ratio, weight, log_odds : array, shape (n,)
        One per row of the file.
    scores : array, shape (m,)
        Out-of-fold log-odds of target and other samples, for AUC and calibration.
    is_target : array of bool, shape (m,)
        Which of these are target samples.
    source : array of int, shape (n,)
        Index into ``names`` of each row.
    names : tuple of str
        Sources, the target's first ("" for one that has no name).
    n_target : int
        Number of target samples, wherever they are.
    target_inside : bool
        Whether the target rows are rows of the file.
    key : array of uint64, shape (n,)
        Equal for rows of equal content or of one group.
    learnt : int
        Number of rows that the models were fitted on.
    features : str
        What the features are.
    """

    ratio: Floats
    weight: Floats
    log_odds: Floats
    scores: Floats
    is_target: NDArray[np.bool_]
    source: NDArray[np.int64]
    names: tuple[str, ...]
    n_target: int
    target_inside: bool
    key: NDArray[np.uint64]
    learnt: int
    features: str


def run(options: WeighOptions) -> None:
    """Weigh a file, write it and its report, and print a summary.

    Parameters
    ----------
    options : WeighOptions
        From the command line.
    """
    if options.engine == "ray" or options.method == "ulsif" or is_corpus(options.data):
        _run_corpus(options)
        return
    from .report import write_results

    check_options(options)
    table = open_input(options)
    weighed = weigh_table(table, options)
    write_results(table, weighed, options)


def _run_corpus(options: WeighOptions) -> None:
    """Weigh files shard by shard, here or on Ray."""
    check_choices(options)
    if options.engine == "local":
        from counterpoise_adapters.corpus.run import run_corpus

        run_corpus(options)
        return
    try:
        with extra("ray", "--engine ray"):
            from counterpoise_adapters.ray.engine import RayEngine
    except MissingPackage as error:
        raise InputError(str(error)) from error
    engine = RayEngine.of(options)
    try:
        # Only now: this process loads while the workers do.
        from counterpoise_adapters.corpus.run import run_corpus

        run_corpus(options, engine)
    finally:
        engine.close()


def weigh_table(table: Table, options: WeighOptions) -> Weighed:
    """Weigh every row of a table by models that did not see it.

    Parameters
    ----------
    table : Table
        Read three times.
    options : WeighOptions
        From the command line.
    """
    featuriser = make_featuriser(
        text=options.text, features=options.features, embedder=options.embedder, allow_null=options.allow_null
    )
    added = [options.prefix + name for name in ("ratio", "weight", "log_odds")]
    wanted = target_filter(options) if options.target else None
    found = scan(table, featuriser, target=wanted, group=options.group, new_columns=added, seed=options.seed)
    parts = [(table, found)]
    if wanted is not None:
        names, source = name_sources(found, wanted, options, table)
    else:
        assert options.target_file is not None  # one of the two is given: check_options
        extra = open_table(options.target_file)
        parts.append(
            (extra, scan(extra, featuriser, target=None, group=options.group, new_columns=(), seed=options.seed))
        )
        names = ("target", "file")
        source = np.concatenate(
            [np.full(len(part.code), place) for place, (_, part) in zip((1, 0), parts, strict=True)]
        )
    return _weigh(parts, source, names, featuriser, options)


def target_filter(options: InputOptions) -> TargetFilter:
    """Return which rows are target rows: by the column named, or the pairs with an answer of the target.

    Parameters
    ----------
    options : InputOptions
        With ``target``.
    """
    if options.answers is not None:
        return TargetFilter(PairTable.source, (PairTable.target,))
    return TargetFilter.parse(options.target)


def name_sources(
    found: Scan, wanted: TargetFilter, options: InputOptions, table: Table
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of the sources, the target's first, and each row's index among them.

    Parameters
    ----------
    found : Scan
        Of the table; a filter that matches none or all of its rows raises `InputError`.
    wanted : TargetFilter
        Which rows are target rows.
    options : InputOptions
        From the command line.
    table : Table
        For messages.
    """
    counts = dict(zip(found.labels, np.bincount(found.code).tolist(), strict=True))
    try:
        names, place = spec.name_sources(counts, wanted, pool=options.pool)
    except InputError as error:
        raise InputError(str(error), path=table.path) from error
    if options.answers is not None:
        names = (options.target[0], *names[1:])
    return names, np.asarray([place[label] for label in found.labels])[found.code]


def _weigh(
    parts: Sequence[tuple[Table, Scan]],
    source: NDArray[np.int64],
    names: tuple[str, ...],
    featuriser: Featuriser,
    options: WeighOptions,
) -> Weighed:
    """Fit on a sample of the rows of all parts, and weigh the first part."""
    table, found = parts[0]
    n_rows = len(found.code)
    inside = len(parts) == 1
    key = np.concatenate([part.key for _, part in parts])
    priority = np.concatenate([part.priority for _, part in parts])
    learnt = sample_rows(source, priority, most=options.fit_rows)
    # Learnt from in an order that depends on the rows alone, as where they are spread over many files.
    order = np.lexsort((key[learnt], source[learnt], priority[learnt]))
    ordered = np.flatnonzero(learnt)[order]
    matrix = _featurise(parts, learnt, featuriser)[order]
    model = _fit(matrix, source[ordered], key[ordered], np.bincount(source), inside, featuriser, options, table, names)
    log_ratio: Floats = np.empty((len(source), len(names) - 1))
    log_ratio[ordered] = model.log_ratio_
    del matrix
    if not learnt[:n_rows].all():
        _weigh_unseen(table, featuriser, model, key[:n_rows], key[ordered], learnt[:n_rows], log_ratio)
    known = learnt | (np.arange(len(source)) < n_rows)
    ratio, log_odds = model.ratio(log_ratio[:n_rows]), model.log_odds(log_ratio[known])
    scored = np.ones(len(log_odds), dtype=bool) if inside else learnt[known]
    if not inside:
        counts = np.bincount(source)
        # The model knows the sample's sizes; the log-odds in the file are those of all the samples.
        sizes = np.bincount(source[learnt])
        log_odds = log_odds + np.log(counts[0] / counts[1]) - np.log(sizes[0] / sizes[1])
    return Weighed(
        ratio=ratio, weight=_weights(ratio, options.cap, table), log_odds=log_odds[: n_rows],
        scores=log_odds[scored], is_target=(source[known] == 0)[scored], source=source[:n_rows], names=names,
        n_target=int((source == 0).sum()), target_inside=inside, key=key[:n_rows], learnt=int(learnt.sum()),
        features=featuriser.describe(),
    )  # fmt: skip


def _featurise(parts: Sequence[tuple[Table, Scan]], learnt: NDArray[np.bool_], featuriser: Featuriser) -> Matrix:
    blocks, start = [], 0
    for table, found in parts:
        wanted = learnt[start : start + len(found.code)]
        start += len(found.code)
        rows = numbered_rows(table, featuriser, wanted, "learning from")
        blocks += [featuriser.matrix(batch, path=table.path) for batch in batched(rows, _BATCH)]
    return stack(blocks)


def _fit(
    matrix: Matrix,
    source: NDArray[np.int64],
    key: NDArray[np.uint64],
    counts: NDArray[np.int64],
    inside: bool,
    featuriser: Featuriser,
    options: WeighOptions,
    table: Table,
    names: Sequence[str],
) -> Any:
    from .progress import console

    shares = (counts / counts.sum()).tolist() if inside else None
    model = featuriser.model(folds=options.folds, calibrate=options.calibrate, seed=options.seed, shares=shares)
    try:
        with console.status("fitting the classifiers, fold by fold"):
            return model.fit(matrix, source, groups=key)
    except ValueError as error:
        raise InputError(
            f"{said(error, names)} (cv is --folds here; --pool joins the sources)", path=table.path
        ) from error


def _weigh_unseen(
    table: Table,
    featuriser: Featuriser,
    model: Any,
    key: NDArray[np.uint64],
    learnt_key: NDArray[np.uint64],
    learnt: NDArray[np.bool_],
    log_ratio: Floats,
) -> None:
    """Fill in the log ratios of rows not learnt from; a copy of a learnt row goes by that one's fold."""
    order = np.argsort(learnt_key)
    ranked, fold_of = learnt_key[order], model.fold_[order]
    where = np.flatnonzero(~learnt)
    rows = numbered_rows(table, featuriser, ~learnt, "weighing")
    for start, batch in zip(range(0, len(where), _BATCH), batched(rows, _BATCH), strict=True):
        part = where[start : start + len(batch)]
        at = np.minimum(np.searchsorted(ranked, key[part]), len(ranked) - 1)
        fold = np.where(ranked[at] == key[part], fold_of[at], -1)
        log_ratio[part] = model.predict_log_ratio(featuriser.matrix(batch, path=table.path), fold)


def _weights(ratio: Floats, cap: float | None, table: Table) -> Floats:
    """Return the ratio, capped, divided by its mean."""
    weight = ratio if cap is None else np.minimum(ratio, cap)
    mean = float(weight.mean())
    if not 0.0 < mean < float("inf"):
        raise InputError(
            f"the mean of the ratio is {mean}, so weights cannot have mean 1: the samples are too far apart",
            path=table.path,
        )
    return np.asarray(weight / mean)
