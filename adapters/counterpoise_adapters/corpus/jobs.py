"""The work on one shard, stage by stage: small objects that run wherever the shard can be read.

Each leaves a file for what is large, and returns what is small. None holds more than a batch of rows, and what a stage
keeps per source; all of them can be run again.
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.features import ColumnFeatures, Featuriser, make_featuriser, stack
from counterpoise_adapters.cli.files import zipped
from counterpoise_adapters.cli.rows import TargetFilter, shown_texts
from counterpoise_adapters.cli.staging import Staging, writing
from counterpoise_adapters.cli.table_parquet import Parquet

from .batches import Batch, batches_of
from .model import CorpusModel, Drawn, arrays_of
from .sample import Draw, priorities
from .shards import Shard, content_hash, open_shard, stamp
from .strata import Strata
from .tally import SHOWN, Extreme, Tally, add, extremes, tally_of

__all__ = ["DrawJob", "Facts", "ScanJob", "ScoreJob", "Spec", "WriteJob", "draw_batch", "scan_batch", "score_batch"]

Keys = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What decides the weights, besides the rows.

    Parameters
    ----------
    text, features, embedder, allow_null
        As in `make_featuriser`.
    target : TargetFilter, optional
        Which rows are target rows; None where these are files of their own.
    group : str, optional
        Column whose equal values share a fold.
    pool, folds, calibrate, cap, fit_rows, seed, prefix
        As on the command line.
    """

    text: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    embedder: str | None = None
    allow_null: bool = False
    target: TargetFilter | None = None
    group: str | None = None
    pool: bool = False
    folds: int = 5
    calibrate: Any = "platt"
    cap: float | None = None
    fit_rows: int = 50_000
    seed: int = 0
    prefix: str = ""

    def featuriser(self) -> Featuriser:
        """Return what turns rows into features."""
        return make_featuriser(
            text=self.text, features=self.features, embedder=self.embedder, allow_null=self.allow_null
        )

    @property
    def columns(self) -> list[str]:
        """The columns that decide the weights."""
        extra = [self.target.column] if self.target is not None else []
        return [*self.text, *self.features, *extra, *([self.group] if self.group is not None else [])]

    @property
    def new_columns(self) -> list[str]:
        """The columns that are added."""
        return [self.prefix + name for name in ("ratio", "weight", "log_odds")]


class Facts(NamedTuple):
    """What is known of a shard after the first pass.

    Parameters
    ----------
    rows : int
        How many.
    content : str
        Hash of its bytes.
    widths : dict of str to int
        Numbers in each feature column.
    """

    rows: int
    content: str
    widths: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ScanJob:
    """Read all of a shard, and leave its `Strata`.

    Parameters
    ----------
    spec : Spec
        Of the run.
    batch_size : int
        Rows at a time.
    files : dict of str to Path
        Where the strata of each shard go.
    known : dict of str to Facts
        Of shards that were scanned before; one whose content is the same is not read again.
    target : bool
        Whether the shards hold target samples only.
    """

    spec: Spec
    batch_size: int
    files: dict[str, Path]
    known: dict[str, Facts]
    target: bool = False

    def __call__(self, shard: Shard) -> Facts:
        """Scan a shard."""
        file, known = self.files[shard.name], self.known.get(shard.name)
        before, content = stamp(shard.path), content_hash(shard.path)
        if known is not None and known.content == content and file.exists():
            return known
        table, featuriser, rows = open_shard(shard), self.spec.featuriser(), 0
        strata = Strata.empty(pooled=self.spec.pool)
        # All columns are read: a damaged one is to be found before anything is learnt.
        for batch in batches_of(table, None, self.batch_size) if table is not None else ():
            if not self.target:
                self._refuse_taken(batch)
            strata = scan_batch(batch, self.spec, featuriser, strata)
            rows += len(batch)
        if stamp(shard.path) != before:
            raise InputError("the file changed while it was read", path=shard.path)
        _save(file, strata.save())
        return Facts(rows, content, featuriser.widths if isinstance(featuriser, ColumnFeatures) else {})

    def _refuse_taken(self, batch: Batch) -> None:
        taken = [name for name in self.spec.new_columns if name in batch.columns]
        if taken:
            raise InputError(
                f"there is a column '{taken[0]}' already; drop it, or choose other names with --prefix",
                path=batch.path,
            )


@dataclass(frozen=True, kw_only=True)
class DrawJob:
    """Read a shard, and leave the features of the rows drawn.

    Parameters
    ----------
    spec, batch_size, files
        As in `ScanJob`.
    place : dict of str to int
        The source of each label.
    draws : dict of int to Draw
        Of each source.
    """

    spec: Spec
    batch_size: int
    files: dict[str, Path]
    place: dict[str, int]
    draws: dict[int, Draw]

    def __call__(self, shard: Shard) -> int:
        """Draw from a shard; return the number of distinct rows drawn."""
        table, featuriser = open_shard(shard), self.spec.featuriser()
        parts = []
        for batch in batches_of(table, self.spec.columns, self.batch_size) if table is not None else ():
            parts.append(draw_batch(batch, self.spec, featuriser, self.place, self.draws))
        drawn = joined(parts)
        _save(self.files[shard.name], arrays_of(drawn))
        return len(drawn.priority)


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """Weigh the rows of a shard; leave their ratio and log-odds, and the shard's `Tally`.

    Parameters
    ----------
    spec, batch_size
        As in `ScanJob`.
    files : dict of str to Path
        Where the two columns go, as raw float64, row after row; the tally stands beside them.
    place : dict of str to int
        The source of each label.
    sources : int
        How many there are.
    model : CorpusModel, or what an engine resolves to one
        To weigh by.
    """

    spec: Spec
    batch_size: int
    files: dict[str, Path]
    place: dict[str, int]
    sources: int
    model: Any

    def __call__(self, shard: Shard) -> int:
        """Score a shard; return the number of its rows."""
        table, featuriser = open_shard(shard), self.spec.featuriser()
        columns = self.spec.columns
        tally = _no_rows(self.spec, self.sources)
        with writing(self.files[shard.name]):
            self.files[shard.name].parent.mkdir(parents=True, exist_ok=True)
        with Staging() as staging:
            sink = staging.open(self.files[shard.name])
            for batch in batches_of(table, columns, self.batch_size) if table is not None else ():
                ratio, log_odds, part = score_batch(
                    batch, self.spec, featuriser, self.place, self.sources, self.model, name=shard.name
                )
                with writing(self.files[shard.name]):
                    sink.write(np.stack([ratio, log_odds], axis=1).astype("<f8").tobytes())
                tally = add(tally, part)
        _save(self.files[shard.name].with_suffix(".npz"), tally.save())
        return tally.rows


@dataclass(frozen=True, kw_only=True)
class WriteJob:
    """Write the rows of a shard with their weights.

    Parameters
    ----------
    spec : Spec
        Of the run.
    files : dict of str to Path
        Where `ScoreJob` left the columns.
    outputs : dict of str to Path
        Where each shard goes.
    mean : float
        Of the capped ratio, over the corpus.
    known : dict of str to str
        Content hashes of shards written before; one that still has it is not written again.
    """

    spec: Spec
    files: dict[str, Path]
    outputs: dict[str, Path]
    mean: float
    known: dict[str, str]

    def __call__(self, shard: Shard) -> str:
        """Write a shard; return the hash of what was written."""
        out = self.outputs[shard.name]
        if shard.name in self.known and out.exists() and content_hash(out) == self.known[shard.name]:
            return self.known[shard.name]
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        table = open_shard(shard)
        scores = np.fromfile(self.files[shard.name], dtype="<f8").reshape(-1, 2)
        ratio = scores[:, 0]
        weight = (ratio if self.spec.cap is None else np.minimum(ratio, self.spec.cap)) / self.mean
        extra = dict(zip(self.spec.new_columns, (ratio, weight, scores[:, 1]), strict=True))
        with Staging() as staging, writing(out), zipped(staging.open(out), out) as sink:
            if isinstance(table, Parquet):
                for _ in table.write(sink, extra):
                    pass
            elif table is not None:
                for _ in table.copy(sink, extra):
                    pass
        return content_hash(out)


def scan_batch(batch: Batch, spec: Spec, featuriser: Featuriser, strata: Strata) -> Strata:
    """Add a batch to strata.

    Parameters
    ----------
    batch : Batch
        Rows.
    spec, featuriser
        Of the run.
    strata : Strata
        Of earlier batches.
    """
    if not len(batch):
        return strata
    priority, _ = _identify(batch, spec, featuriser, None)
    labels, code = batch.labels(spec.target)
    wanted = spec.target.values if spec.target is not None else ()
    try:
        return strata.with_rows(labels, code, priority, target=wanted, most=spec.fit_rows)
    except InputError as error:
        raise InputError(str(error), path=batch.path) from error


def draw_batch(
    batch: Batch, spec: Spec, featuriser: Featuriser, place: dict[str, int], draws: dict[int, Draw]
) -> Drawn:
    """Return the rows of a batch that are drawn.

    Parameters
    ----------
    batch, spec, featuriser
        As in `scan_batch`.
    place, draws
        As in `DrawJob`.
    """
    cheap = None if spec.text else batch.matrix(featuriser)
    priority, key = _identify(batch, spec, featuriser, cheap)
    labels, code = batch.labels(spec.target)
    source = _sources(labels, place)[code]
    wanted = np.zeros(len(batch), dtype=bool)
    for number, draw in draws.items():
        wanted |= (source == number) & draw.holds(priority)
    where = np.flatnonzero(wanted)
    order = np.lexsort((key[where], source[where], priority[where]))
    where = where[order]
    marks = np.stack([priority[where], source[where].astype(np.uint64), key[where]])
    _, first, count = np.unique(marks, axis=1, return_index=True, return_counts=True)
    where = where[first]
    if not len(where):
        return Drawn(priority[:0], key[:0], source[:0], np.zeros(0, dtype=np.int64), None)
    kept = np.zeros(len(batch), dtype=bool)
    kept[where] = True
    rank = np.argsort(np.argsort(where))  # the rows kept come in the batch's order
    matrix = (batch.take(kept).matrix(featuriser) if cheap is None else cheap[kept])[rank]
    return Drawn(priority[where], key[where], source[where], count.astype(np.int64), matrix)


def score_batch(
    batch: Batch,
    spec: Spec,
    featuriser: Featuriser,
    place: dict[str, int],
    sources: int,
    model: CorpusModel,
    *,
    name: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], Tally]:
    """Weigh a batch; return ratio, log-odds and tally.

    Parameters
    ----------
    batch, spec, featuriser
        As in `scan_batch`.
    place, sources, model
        As in `ScoreJob`.
    name : str
        Of the shard, for the rows shown in the report.
    """
    matrix = batch.matrix(featuriser)
    _, key = _identify(batch, spec, featuriser, matrix)
    ratio, log_odds = model.weigh(matrix, key)
    inside = spec.target is not None
    labels, code = batch.labels(spec.target)
    source = _sources(labels, place)[code] if inside else np.ones(len(batch), dtype=np.int64)
    tally = tally_of(ratio, log_odds, source, sources=sources, cap=spec.cap, target_inside=inside)
    ends = []
    for largest in (True, False):
        order = np.argsort(-ratio if largest else ratio, kind="stable")[: 8 * SHOWN]
        rows = [Extreme(float(ratio[i]), int(key[i]), name, 0, int(source[i]), (("", str(i)),)) for i in order]
        ends.append(tuple(_with_text(row, batch, spec) for row in extremes(rows, largest=largest)))
    return ratio, log_odds, replace(tally, heaviest=ends[0], lightest=ends[1])


def joined(parts: list[Drawn]) -> Drawn:
    """Put the rows drawn from batches on top of each other.

    Parameters
    ----------
    parts : list of Drawn
        Any number.
    """
    filled = [part for part in parts if len(part.priority)]
    if not filled:
        nothing, number = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
        return Drawn(nothing, nothing, number, number, None)
    columns = [np.concatenate([part[i] for part in filled]) for i in range(4)]
    return Drawn(columns[0], columns[1], columns[2], columns[3], stack([part.matrix for part in filled]))


def _identify(batch: Batch, spec: Spec, featuriser: Featuriser, matrix: Any) -> tuple[Keys, Keys]:
    """Return each row's priority, and the key that it shares with rows of its group or its copies."""
    content = batch.digests(featuriser, matrix)
    key = content if spec.group is None else batch.groups(spec.group)
    return priorities(content, key, seed=spec.seed), key


def _sources(labels: list[str], place: dict[str, int]) -> NDArray[np.int64]:
    return np.asarray([place[label] for label in labels], dtype=np.int64)


def _with_text(row: Extreme, batch: Batch, spec: Spec) -> Extreme:
    number, content = batch.row(int(row.texts[0][1]))
    texts = shown_texts(content, spec.text, spec.features, path=batch.path, number=number)
    return row._replace(number=number, texts=texts)


def _no_rows(spec: Spec, sources: int) -> Tally:
    nothing = np.zeros(0)
    return tally_of(
        nothing, nothing, np.zeros(0, dtype=np.int64), sources=sources, cap=spec.cap,
        target_inside=spec.target is not None,
    )  # fmt: skip


def _save(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays so that the file is whole or absent."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        Path(name).replace(path)
