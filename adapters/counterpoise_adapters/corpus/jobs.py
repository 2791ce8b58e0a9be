"""The work on one shard, stage by stage: small objects that run wherever the shard can be read.

Each leaves a file for what is large, and returns what is small. None holds more than a batch of rows, and what a stage
keeps per source; all of them can be run again.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.features import ColumnFeatures
from counterpoise_adapters.cli.files import zipped
from counterpoise_adapters.cli.staging import Staging, writing
from counterpoise_adapters.cli.table_parquet import Parquet

from .batches import Batch, batches_of
from .model import arrays_of
from .passes import draw_batch, joined, no_rows, scan_batch, score_batch
from .sample import Draw
from .shards import Shard, content_hash, open_shard, stamp
from .spec import Spec
from .strata import Strata
from .tally import add

__all__ = ["DrawJob", "Facts", "ScanJob", "ScoreJob", "WriteJob", "save_arrays"]


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
        save_arrays(file, strata.save())
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
        save_arrays(self.files[shard.name], arrays_of(drawn))
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
    model : CorpusModel or SumModel, or what an engine resolves to one
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
        tally = no_rows(self.spec, self.sources)
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
        save_arrays(self.files[shard.name].with_suffix(".npz"), tally.save())
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


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays so that the file is whole or absent.

    Parameters
    ----------
    path : Path
        The file, ``.npz``.
    arrays : dict of str to array
        What goes in.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        Path(name).replace(path)
