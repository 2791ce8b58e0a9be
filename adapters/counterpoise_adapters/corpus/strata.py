"""How many rows each source has over the whole corpus, and the sketches that say which of them are drawn."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from counterpoise_adapters.cli.errors import InputError

from .sample import Sketch, merge_sketches, sketch_of

__all__ = ["MOST_LABELS", "MOST_SOURCES", "Strata"]

MOST_LABELS = 10_000  # a filter on a column of free text would otherwise keep every text in memory
MOST_SOURCES = 12  # beyond it each source's own classifier costs more than it tells
_OTHERS = ""  # a target value is never empty, so that no label of a target row is called so


@dataclass(frozen=True)
class Strata:
    """Rows by source, for any number of shards.

    Parameters
    ----------
    counts : dict of str to int
        Rows with each label.
    sketches : dict of str to Sketch
        Of each label; where more than 12 labels besides the target's were seen, or all are pooled, the other labels
        share the sketch of "".
    pooled : bool
        Whether they do.
    """

    counts: dict[str, int]
    sketches: dict[str, Sketch]
    pooled: bool

    @classmethod
    def empty(cls, *, pooled: bool) -> "Strata":
        """Return that of no rows.

        Parameters
        ----------
        pooled : bool
            Whether all sources but the target are one.
        """
        return cls({}, {}, pooled)

    def with_rows(
        self, labels: list[str], code: NDArray[np.int64], priority: NDArray[np.uint64], *, target: Iterable[str],
        most: int,
    ) -> "Strata":  # fmt: skip
        """Return the strata with rows added.

        Parameters
        ----------
        labels : list of str
            Labels that occur.
        code : array of int, shape (n,)
            Each row's place among them.
        priority : array of uint64, shape (n,)
            Of the rows.
        target : iterable of str
            Labels of target rows, which are never pooled.
        most : int
            Distinct priorities to keep of each label.
        """
        parts = {label: sketch_of(priority[code == place], most=most) for place, label in enumerate(labels)}
        counts = {label: part.rows for label, part in parts.items()}
        return self.merged(Strata(counts, parts, False), target=target, most=most)

    def merged(self, other: "Strata", *, target: Iterable[str], most: int) -> "Strata":
        """Return the strata of the rows of both.

        Parameters
        ----------
        other : Strata
            Of other rows.
        target, most
            As in `with_rows`.
        """
        wanted = set(target)
        counts = dict(self.counts)
        for label, count in other.counts.items():
            counts[label] = counts.get(label, 0) + count
        if len(counts) > MOST_LABELS:
            raise InputError(f"the column of --target has more than {MOST_LABELS:,} values; name one of sources")
        pooled = self.pooled or other.pooled or len(set(counts) - wanted) > MOST_SOURCES
        sketches: dict[str, Sketch] = {}
        for part in (self.sketches, other.sketches):
            for label, sketch in part.items():
                name = _OTHERS if pooled and label not in wanted else label
                known = sketches.get(name)
                sketches[name] = sketch if known is None else merge_sketches(known, sketch, most=most)
        return Strata(counts, sketches, pooled)

    def by_source(self, place: dict[str, int], *, most: int) -> dict[int, Sketch]:
        """Return the sketch of each source.

        Parameters
        ----------
        place : dict of str to int
            The source of each label.
        most : int
            As in `with_rows`.
        """
        found: dict[int, Sketch] = {}
        for label, sketch in self.sketches.items():
            source = place.get(label, 1)
            known = found.get(source)
            found[source] = sketch if known is None else merge_sketches(known, sketch, most=most)
        return found

    def save(self) -> dict[str, Any]:
        """Return the strata as arrays, for ``numpy.savez``."""
        about = json.dumps({"counts": self.counts, "names": list(self.sketches), "pooled": self.pooled})
        arrays: dict[str, Any] = {"about": np.frombuffer(about.encode("utf-8"), dtype=np.uint8)}
        for rank, sketch in enumerate(self.sketches.values()):
            arrays |= {f"rows{rank}": np.asarray(sketch.rows), f"priority{rank}": sketch.priority}
            arrays[f"times{rank}"] = sketch.times
        return arrays

    @classmethod
    def load(cls, path: Path | BinaryIO) -> "Strata":
        """Read what `save` returned from an ``.npz`` file; nothing is unpickled.

        Parameters
        ----------
        path : Path or binary file
            The file.
        """
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            sketches = {
                name: Sketch(int(file[f"rows{rank}"]), file[f"priority{rank}"], file[f"times{rank}"])
                for rank, name in enumerate(about["names"])
            }
        return cls(about["counts"], sketches, about["pooled"])
