"""The models of a corpus: learnt from the rows drawn, applied to any row, never to one that they saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.features import Matrix, stack

from .sample import Draw

__all__ = ["CorpusModel", "Drawn", "Lesson", "arrays_of", "load_drawn", "merge_drawn", "prepare"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


class Drawn(NamedTuple):
    """Rows that were drawn, each once, with the number of its copies.

    Parameters
    ----------
    priority, key : array of uint64, shape (m,)
        As drawn by, and of the group that must share a fold.
    source, copies : array of int, shape (m,)
        Which source, and how often the row was found.
    matrix : matrix, m rows
        Features; None for no rows.
    """

    priority: Keys
    key: Keys
    source: Ints
    copies: Ints
    matrix: Matrix


class Lesson(NamedTuple):
    """What the models learn from, in an order that depends on the rows alone.

    Parameters
    ----------
    matrix : matrix, m rows
        Features.
    source : array of int, shape (m,)
        The target being 0.
    key : array of uint64, shape (m,)
        Rows of one key share a fold.
    """

    matrix: Matrix
    source: Ints
    key: Keys


@dataclass(frozen=True)
class CorpusModel:
    """Fitted models, and which rows each of them saw.

    Parameters
    ----------
    ratio_model : ClassifierRatio or LinearRatio
        Fitted on the rows drawn.
    key : array of uint64, shape (m,)
        Keys of these rows, rising.
    fold : array of int, shape (m,)
        The fold of each.
    shift : float
        Added to log-odds: from the numbers of rows drawn to those of all rows.
    """

    ratio_model: Any
    key: Keys
    fold: Ints
    shift: float

    def weigh(self, matrix: Matrix, key: Keys) -> tuple[Floats, Floats]:
        """Return ratio and log-odds of rows; a copy of a row learnt from is weighed by the models that did not see it.

        Parameters
        ----------
        matrix : matrix, n rows
            Features.
        key : array of uint64, shape (n,)
            As for the rows learnt from.
        """
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        fold = np.where(self.key[at] == key, self.fold[at], -1)
        log_ratio = self.ratio_model.predict_log_ratio(matrix, fold)
        return self.ratio_model.ratio(log_ratio), self.ratio_model.log_odds(log_ratio) + self.shift


def merge_drawn(parts: Sequence[Drawn]) -> Drawn:
    """Join what was drawn from several shards, copies found in several of them once.

    Parameters
    ----------
    parts : sequence of Drawn
        Without any row, `InputError` is raised.
    """
    parts = [part for part in parts if len(part.priority)]
    if not parts:
        raise InputError("no row was drawn to learn from")
    widths = {int(part.matrix.shape[1]) for part in parts}
    if len(widths) > 1:
        raise InputError(f"the features have {min(widths)} numbers in some shards and {max(widths)} in others")
    priority, key, source, count = (np.concatenate([part[i] for part in parts]) for i in range(4))
    order = np.lexsort((key, source, priority))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(priority[order]) != 0) | (np.diff(source[order]) != 0) | (np.diff(key[order]) != 0)
    first = order[new]
    total = np.add.reduceat(count[order], np.flatnonzero(new))
    matrix = stack([part.matrix for part in parts])[first]
    return Drawn(priority[first], key[first], source[first], total, matrix)


def prepare(drawn: Drawn, draws: dict[int, Draw]) -> Lesson:
    """Repeat copies as often as they count.

    Parameters
    ----------
    drawn : Drawn
        As `merge_drawn` returns it: in order of priority and source, so that no order of shards is left in it.
    draws : dict of int to Draw
        With the most copies of each source.
    """
    limit = np.asarray([draws[place].copies if place in draws else 0 for place in range(max(draws) + 1)])[drawn.source]
    times = np.where(limit > 0, np.minimum(drawn.copies, limit), drawn.copies)
    where = np.repeat(np.arange(len(times)), times)
    return Lesson(drawn.matrix[where], drawn.source[where], drawn.key[where])


def arrays_of(drawn: Drawn) -> dict[str, Any]:
    """Return rows drawn as arrays, for ``numpy.savez``.

    Parameters
    ----------
    drawn : Drawn
        Rows.
    """
    arrays = {"priority": drawn.priority, "key": drawn.key, "source": drawn.source, "copies": drawn.copies}
    if drawn.matrix is not None and not isinstance(drawn.matrix, np.ndarray):
        matrix = drawn.matrix.tocsr()
        return arrays | {
            "data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.asarray(matrix.shape)
        }  # fmt: skip
    return arrays if drawn.matrix is None else arrays | {"matrix": drawn.matrix}


def load_drawn(path: Any) -> Drawn:
    """Read what `arrays_of` returned from an ``.npz`` file; nothing is unpickled.

    Parameters
    ----------
    path : path-like
        The file.
    """
    with np.load(path, allow_pickle=False) as file:
        matrix: Matrix = file.get("matrix")
        if "indptr" in file:
            from scipy import sparse

            matrix = sparse.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))
        return Drawn(file["priority"], file["key"], file["source"], file["copies"], matrix)
