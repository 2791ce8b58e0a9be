"""The work behind ``counterpoise advise``: a file into features, advice, and what is printed and written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise_adapters.advise import Advice, Labelled, Pairs
from counterpoise_adapters.advise import advise as advise_on
from counterpoise_adapters.advise._advice import STEPS

from .comparing import PairOptions, read_features, read_lists, reduce_sides
from .errors import InputError, said
from .features import make_featuriser
from .files import Table, check_destination
from .options import open_input
from .progress import steps, watched
from .rows import cell, label_of, numbers_of
from .scan import sample_rows, scan
from .weighing import name_sources, target_filter

__all__ = ["AdviseOptions", "Rows", "read_rows", "run"]

_MOST_ROWS = 5_000  # the cross-validation of every arm's amounts takes a minute of them


@dataclass(frozen=True, kw_only=True)
class AdviseOptions(PairOptions):
    """The options of ``counterpoise advise``, under their names on the command line."""

    label: str | None = None
    text: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    ratio: str | None = None
    folds: int = 5
    repeats: int = 2
    seed: int = 0
    report: Path
    json: bool = False
    force: bool = False


@dataclass(frozen=True)
class Rows:
    """A file as `counterpoise_adapters.advise.advise` takes it.

    Parameters
    ----------
    data : Pairs or Labelled
        Features, reduced and standardised.
    source : array of int, shape (n,)
        0 is the target.
    key : array, shape (n,)
        Equal for rows of one group.
    names : tuple of str
        Of the sources.
    ratio : array, shape (n,), or None
        As the file has it.
    total : int
        Number of rows of the file.
    """

    data: Pairs | Labelled
    source: NDArray[np.int64]
    key: NDArray[np.uint64]
    names: tuple[str, ...]
    ratio: NDArray[np.float64] | None
    total: int


def run(options: AdviseOptions) -> None:
    """Advise on a file: print the table and the verdict, write the report.

    Parameters
    ----------
    options : AdviseOptions
        From the command line.
    """
    from .advice_report import write_advice

    check_destination(options.report, inputs=[options.data], force=options.force)
    rows = read_rows(options)
    write_advice(_advised(rows, options), rows, options)


def _advised(rows: Rows, options: AdviseOptions) -> Advice:
    with steps("advising", STEPS) as advance:
        try:
            return advise_on(
                rows.data, target=rows.source == 0, ratio=rows.ratio, source=rows.source, group=rows.key,
                folds=options.folds, repeats=options.repeats, seed=options.seed, advance=advance,
            )  # fmt: skip
        except ValueError as error:
            raise InputError(said(error, rows.names), path=options.data) from error


def read_rows(options: AdviseOptions) -> Rows:
    """Read a file of pairs, or of samples with labels, into features.

    Parameters
    ----------
    options : AdviseOptions
        From the command line.
    """
    if options.label is None:
        if options.text or options.features:
            raise InputError("--text and --features go with --label; pairs are read with --chosen and --rejected")
        return _read_pairs(options)
    if options.answers is not None or options.numbers:
        raise InputError("--label is for samples with labels; --answers and --numbers are for pairs")
    return _read_samples(options, options.label)


def _read_pairs(options: AdviseOptions) -> Rows:
    lists = read_lists(options, most=_MOST_ROWS)
    first, second = reduce_sides([lists.chosen, lists.rejected], len(lists.source), options.seed)
    ratio = None if options.ratio is None else _ratios(open_input(options), options.ratio, lists.kept)
    return Rows(Pairs(first, second), lists.source, lists.key, lists.names, ratio, len(lists.kept))


def _read_samples(options: AdviseOptions, label: str) -> Rows:
    table = open_input(options)
    featuriser = make_featuriser(
        text=options.text, features=options.features, embedder=options.embedder, allow_null=options.allow_null
    )
    wanted = target_filter(options)
    found = scan(table, featuriser, target=wanted, group=options.group, new_columns=())
    names, source = name_sources(found, wanted, options, table)
    kept = sample_rows(source, found.priority, most=_MOST_ROWS)
    (features,) = reduce_sides([read_features(table, featuriser, kept)], int(kept.sum()), options.seed)
    ratio = None if options.ratio is None else _ratios(table, options.ratio, kept)
    data = Labelled(features, _labels(table, label, kept))
    return Rows(data, source[kept], found.key[kept], names, ratio, len(kept))


def _cells(table: Table, column: str, kept: NDArray[np.bool_]) -> list[tuple[int, Any, Any]]:
    rows = watched(table.rows([column]), f"reading {column}", total=len(kept))
    return [
        (number, row, cell(row, column, path=table.path, number=number))
        for use, (number, row) in zip(kept, rows, strict=False)
        if use
    ]


def _ratios(table: Table, column: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    values = []
    for number, row, _ in _cells(table, column, kept):
        found = numbers_of(row, column, path=table.path, number=number)
        if len(found) != 1 or found[0] < 0.0:
            raise InputError(
                f"column '{column}' holds {found}; a ratio is one number >= 0", path=table.path, row=number
            )
        values.append(found[0])
    return np.asarray(values)


def _labels(table: Table, column: str, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    values = [label_of(value) for _, _, value in _cells(table, column, kept)]
    names = sorted(set(values))
    if len(names) != 2:
        some = ", ".join(names[:8])
        raise InputError(f"column '{column}' holds {len(names)} labels ({some}); two are needed", path=table.path)
    return np.asarray([value == names[1] for value in values])
