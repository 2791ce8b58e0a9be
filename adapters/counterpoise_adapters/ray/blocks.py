"""What is done to a block of a Ray Dataset: the work of `corpus.jobs`, on rows that are in memory."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from counterpoise_adapters.corpus.batches import Batch
from counterpoise_adapters.corpus.fit import FitJob
from counterpoise_adapters.corpus.model import arrays_of
from counterpoise_adapters.corpus.passes import draw_batch, joined, scan_batch, score_batch
from counterpoise_adapters.corpus.sample import Draw
from counterpoise_adapters.corpus.spec import Spec
from counterpoise_adapters.corpus.strata import Strata
from counterpoise_adapters.corpus.sums import Bumps, add_statistics, bumps_of, nothing, sum_batch

from .engine import unpacked

__all__ = ["Drawing", "Scanning", "Scoring", "Summing", "Totalling", "packed_bumps", "weighted"]

_NAME = "dataset"  # where rows of a dataset stand, in messages


class Scanning:
    """Sketches a block.

    Parameters
    ----------
    spec : Spec
        Of the run.
    batch_size : int
        Rows at a time.
    """

    def __init__(self, spec: Spec, batch_size: int) -> None:
        self._spec, self._batch_size = spec, batch_size

    def __call__(self, block: pa.Table) -> dict[str, Any]:
        """Return the strata of a block."""
        strata, featuriser = Strata.empty(pooled=self._spec.pool), self._spec.featuriser()
        for batch in batches_of_block(block, self._batch_size):
            strata = scan_batch(batch, self._spec, featuriser, strata)
        return packed(strata.save())


class Drawing:
    """Draws from a block.

    Parameters
    ----------
    spec, batch_size
        As in `Scanning`.
    place, draws
        As in `DrawJob`.
    """

    def __init__(self, spec: Spec, batch_size: int, place: dict[str, int], draws: dict[int, Draw]) -> None:
        self._spec, self._batch_size, self._place, self._draws = spec, batch_size, place, draws

    def __call__(self, block: pa.Table) -> dict[str, Any]:
        """Return the rows drawn from a block."""
        featuriser = self._spec.featuriser()
        parts = [
            draw_batch(batch, self._spec, featuriser, self._place, self._draws)
            for batch in batches_of_block(block, self._batch_size)
        ]
        return packed(arrays_of(joined(parts)))


class Scoring:
    """An actor that holds the models, and weighs rows by them.

    Parameters
    ----------
    spec : Spec
        Of the run.
    place : dict of str to int
        The source of each label.
    sources : int
        How many there are.
    model : list of one reference
        To the model; hidden in a list, so that Ray passes the reference on.
    """

    def __init__(self, spec: Spec, place: dict[str, int], sources: int, model: Any) -> None:
        self._spec, self._place, self._sources = spec, place, sources
        self._model, self._featuriser = ray.get(model[0]), spec.featuriser()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return rows with ratio and log-odds."""
        names = self._spec.new_columns
        if not table.num_rows:
            ratio = log_odds = np.zeros(0)
        else:
            batch = Batch(table, first=1, path=_NAME)
            ratio, log_odds, _ = score_batch(
                batch, self._spec, self._featuriser, self._place, self._sources, self._model, name=_NAME
            )
        return table.append_column(names[0], pa.array(ratio)).append_column(names[2], pa.array(log_odds))


class Summing:
    """Sums over a block.

    Parameters
    ----------
    spec, batch_size
        As in `Scanning`.
    place, bumps
        As in `SumJob`.
    """

    def __init__(self, spec: Spec, batch_size: int, place: dict[str, int], bumps: Bumps) -> None:
        self._spec, self._batch_size, self._place, self._bumps = spec, batch_size, place, bumps

    def __call__(self, block: pa.Table) -> dict[str, Any]:
        """Return the sums over a block."""
        total, featuriser = nothing(self._bumps), self._spec.featuriser()
        for batch in batches_of_block(block, self._batch_size):
            total = add_statistics(total, sum_batch(batch, self._spec, featuriser, self._place, self._bumps))
        return packed(total._asdict())


class Totalling:
    """Adds up the capped ratios of a block.

    Parameters
    ----------
    column : str
        Of the ratio.
    cap : float, optional
        In force.
    """

    def __init__(self, column: str, cap: float | None) -> None:
        self._column, self._cap = column, cap

    def __call__(self, block: pa.Table) -> dict[str, Any]:
        """Return the sum of the capped ratios of a block, and how many they are."""
        ratio = block[self._column].to_numpy() if block.num_rows else np.zeros(0)
        capped = ratio if self._cap is None else np.minimum(ratio, self._cap)
        return {"total": [float(capped.sum())], "rows": [len(ratio)]}


def weighted(table: pa.Table, *, names: Sequence[str], cap: float | None, mean: float) -> pa.Table:
    """Add the weights to a table.

    Parameters
    ----------
    table : pyarrow Table
        With the ratios.
    names : sequence of str
        Of the columns ratio, weight and log-odds.
    cap : float, optional
        In force.
    mean : float
        Of the capped ratio.
    """
    ratio = table[names[0]].to_numpy()
    weight = (ratio if cap is None else np.minimum(ratio, cap)) / mean
    return table.add_column(table.num_columns - 1, names[1], pa.array(weight))


def batches_of_block(block: pa.Table, size: int) -> Iterator[Batch]:
    """Cut a block into batches.

    Parameters
    ----------
    block : pyarrow Table
        Rows.
    size : int
        Rows in each batch.
    """
    for start in range(0, block.num_rows, size):
        yield Batch(block.slice(start, size), first=start + 1, path=_NAME)


def packed(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays as a row with one cell of bytes.

    Parameters
    ----------
    arrays : dict of str to array
        As ``numpy.savez`` takes them.
    """
    file = io.BytesIO()
    np.savez(file, **arrays)
    return {"part": [file.getvalue()]}


def packed_bumps(job: FitJob, *tables: Any) -> Bumps:
    """Do `bumps_of` on rows drawn from blocks.

    Parameters
    ----------
    job : FitJob
        Says how.
    *tables : pyarrow tables
        With rows drawn, as bytes in the column "part".
    """
    return bumps_of(job, unpacked(tables))
