"""The work behind ``counterpoise compare``: a file into lists of features, splits, outcomes, a table and a figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .arms import ARMS
from .errors import InputError, said
from .experiment import FOLDS, Outcome, Split, choose_split, run_split
from .features import Featuriser, Matrix, make_featuriser, stack
from .files import Table, batched, check_destination
from .options import InputOptions, open_input
from .progress import steps
from .scan import numbered_rows, sample_rows, scan
from .weighing import name_sources, target_filter

__all__ = [
    "CompareOptions", "Lists", "PairOptions", "read_features", "read_lists", "reduce_sides", "run", "split_outcomes",
]  # fmt: skip

Floats = NDArray[np.float64]
_BATCH = 2048
_MOST_ROWS = 20_000  # a small policy learns no more from more, and its features stay in memory
_DIMENSIONS = 100
_LARGEST = 1e100  # beyond it squares, which scaling needs, leave the range of float64


@dataclass(frozen=True, kw_only=True)
class PairOptions(InputOptions):
    """Which columns hold the two responses: common to ``compare`` and ``advise``."""

    chosen: str
    rejected: str
    numbers: bool = False


@dataclass(frozen=True, kw_only=True)
class CompareOptions(PairOptions):
    """The options of ``counterpoise compare``, under their names on the command line."""

    target_rows: int | None = None
    other_rows: int | None = None
    test_share: float = 0.3
    seeds: int = 10
    out: Path
    force: bool = False


@dataclass(frozen=True)
class Lists:
    """Pairs of responses as raw features.

    Parameters
    ----------
    chosen, rejected : matrix, shape (n, p)
        Counts of words, or numbers.
    source : array of int, shape (n,)
        0 is the target.
    key : array, shape (n,)
        Equal for pairs of one prompt.
    names : tuple of str
        Of the sources.
    kept : array of bool
        Which rows of the file these are.
    """

    chosen: Matrix
    rejected: Matrix
    source: NDArray[np.int64]
    key: NDArray[np.uint64]
    names: tuple[str, ...]
    kept: NDArray[np.bool_]


def run(options: CompareOptions) -> None:
    """Compare the ways to train on a file; write the outcomes and the figure, and print the table.

    Parameters
    ----------
    options : CompareOptions
        From the command line.
    """
    from .figure import require_matplotlib
    from .outcome_report import write_comparison
    from .verdict import compare_outcomes

    require_matplotlib()
    for suffix in (".png", ".csv"):
        check_destination(options.out.with_suffix(suffix), inputs=[options.data], force=options.force)
    lists = read_lists(options)
    outcomes = split_outcomes(lists, options)
    found = compare_outcomes(outcomes, shared=options.test_share)
    write_comparison({options.data.name: (outcomes, found)}, options.out)


def read_lists(options: PairOptions, *, most: int = _MOST_ROWS) -> Lists:
    """Read the pairs of a file into features.

    Parameters
    ----------
    options : PairOptions
        From the command line.
    most : int
        Number of rows that are drawn from a larger file.
    """
    table = open_input(options)
    made = [_featuriser(options, column) for column in (options.chosen, options.rejected)]
    wanted = target_filter(options)
    found = scan(table, made[0], target=wanted, group=options.group, new_columns=())
    names, source = name_sources(found, wanted, options, table)
    kept = sample_rows(source, found.priority, most=most)
    chosen, rejected = (read_features(table, featuriser, kept) for featuriser in made)
    if chosen.shape[1] != rejected.shape[1]:
        raise InputError(
            f"'{options.chosen}' has {chosen.shape[1]} numbers and '{options.rejected}' {rejected.shape[1]}; "
            "they must have the same",
            path=table.path,
        )
    return Lists(chosen, rejected, source[kept], found.key[kept], names, kept)


def _featuriser(options: PairOptions, column: str) -> Featuriser:
    if options.numbers:
        return make_featuriser(features=[column], embedder=options.embedder)
    return make_featuriser(text=[column], embedder=options.embedder, allow_null=options.allow_null)


def read_features(table: Table, featuriser: Featuriser, kept: NDArray[np.bool_]) -> Matrix:
    """Read the features of the rows that are kept; numbers too large to scale raise `InputError`.

    Parameters
    ----------
    table : Table
        The file.
    featuriser : Featuriser
        Names the columns.
    kept : array of bool, shape (n,)
        One per row of the file.
    """
    rows = numbered_rows(table, featuriser, kept, f"reading {featuriser.columns[0]}")
    made = []
    for batch in batched(rows, _BATCH):
        part = featuriser.matrix(batch, path=table.path)
        _refuse_huge(part, [number for number, _ in batch], featuriser, table)
        made.append(part)
    return stack(made)


def _refuse_huge(part: Matrix, numbers: list[int], featuriser: Featuriser, table: Table) -> None:
    if sparse.issparse(part):
        return  # counts of words
    largest = np.abs(part).max(axis=1)
    row = int(largest.argmax())
    if largest[row] > _LARGEST:
        raise InputError(
            f"feature column '{featuriser.columns[0]}' holds ±{largest[row]:.3g}, too large to scale: "
            f"bring it below {_LARGEST:.0e}",
            path=table.path,
            row=numbers[row],
        )


def split_outcomes(lists: Lists, options: CompareOptions) -> list[Outcome]:
    """Run one split a seed.

    Parameters
    ----------
    lists : Lists
        The data.
    options : CompareOptions
        Sizes and number of splits.
    """
    outcomes = []
    with steps("comparing", options.seeds * len(ARMS)) as advance:
        for seed, (train, test) in enumerate(_splits(lists, options)):
            items = _reduce(lists, train, test, seed)
            split = Split(items[: len(train)], lists.source[train], lists.key[train], items[len(train) :])
            try:
                outcomes.append(run_split(split, seed=seed, advance=advance))
            except ValueError as error:
                raise InputError(said(error, lists.names), path=options.data) from error
    return outcomes


def _splits(lists: Lists, options: CompareOptions) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for seed in range(options.seeds):
        train, test = choose_split(
            lists.source, lists.key, target_rows=options.target_rows, other_rows=options.other_rows,
            test_share=options.test_share, seed=seed,
        )  # fmt: skip
        keys = len(np.unique(lists.key[train][lists.source[train] == 0]))
        if keys < FOLDS or not (lists.source[train] != 0).any():
            raise InputError(
                f"after holding out {options.test_share:.0%} of the target's prompts, {keys} of them and "
                f"{int((lists.source[train] != 0).sum())} other rows are left to train on; at least {FOLDS} and 1 are "
                "needed: lower --test-share or bring more rows",
                path=options.data,
            )
        yield train, test


def _reduce(lists: Lists, train: NDArray[np.int64], test: NDArray[np.int64], seed: int) -> Floats:
    rows = np.concatenate([train, test])
    return np.stack(reduce_sides([side[rows] for side in (lists.chosen, lists.rejected)], len(train), seed), axis=1)


def reduce_sides(sides: list[Matrix], n: int, seed: int) -> list[Floats]:
    """Return standardised features of each side, shape (rows, d), by a reduction learnt on the first n rows only.

    Parameters
    ----------
    sides : list of matrices
        The same rows' chosen and rejected responses, or the one text of each: counts of words, or numbers.
    n : int
        Number of training rows.
    seed : int
        Of the reduction.
    """
    if sparse.issparse(sides[0]):
        both = sparse.vstack([side[:n] for side in sides], format="csr")
        words = make_pipeline(TfidfTransformer(sublinear_tf=True), TruncatedSVD(min(_DIMENSIONS, n), random_state=seed))
        words.fit(both)
        length = [np.log1p(np.asarray(side.sum(axis=1))) for side in sides]
        sides = [np.hstack([words.transform(side), size]) for side, size in zip(sides, length, strict=True)]
    scale = StandardScaler().fit(np.concatenate([side[:n] for side in sides]))
    return [scale.transform(side) for side in sides]
