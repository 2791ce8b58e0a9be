"""A ratio by least squares from sums over every row: one pass, and tasks add up what shards found in a tree.

uLSIF's r = φᵀθ needs no more of the rows than the means of φ over the target and of φφᵀ over the corpus. They are
summed fold by fold, so that the same sums, less those of one fold, give the fit that did not see it; and they tell the
loss of any θ on the fold left out, by which bandwidth and penalty are chosen.
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoise.ratios.features import Features, feature_map, gaussian_features
from counterpoise.ratios.statistics import Statistics, add_statistics
from counterpoise.ratios.ulsif import PENALTIES, ulsif_from_statistics
from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.features import Featuriser, Matrix

from .batches import Batch, batches_of
from .fit import FitJob
from .jobs import save_arrays
from .model import load_drawn, merge_drawn, prepare
from .passes import identify, sources_of
from .sample import priorities
from .shards import Shard, open_shard
from .spec import Spec

__all__ = [
    "Bumps", "Statistics", "SumJob", "SumModel", "add_statistics", "bumps_of", "load_sums", "nothing", "solve",
    "sum_batch",
]  # fmt: skip

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
FACTORS = (0.3, 0.7, 1.6)  # of the median distance: bandwidths to choose from
CENTRES = 100
_AT_ONCE = 2048  # rows whose bumps are evaluated at once: what fits the cache is done in half the time


class Bumps(NamedTuple):
    """What is summed.

    Parameters
    ----------
    features : tuple of Features
        Gaussian bumps, one for each bandwidth.
    folds : int
        Of the cross-fit.
    seed : int
        Of the folds.
    """

    features: tuple[Features, ...]
    folds: int
    seed: int

    def fold_of(self, key: Keys) -> Ints:
        """Return the fold of rows: a hash of their keys, which no other row can change.

        Parameters
        ----------
        key : array of uint64, shape (n,)
            Equal for rows that must share a fold.
        """
        return (priorities(key, key, seed=self.seed + 1) % np.uint64(self.folds)).astype(np.int64)


@dataclass(frozen=True)
class SumModel:
    """Ratios r = φᵀθ, one for each fold, cut at 0 and at their bound.

    Parameters
    ----------
    bumps : Bumps
        With one bandwidth.
    theta : array, shape (folds, 1 + b)
        Of the fit that did not see the fold.
    most : float
        The bound: the inverse of the target's share of the corpus, infinite where its rows are not in it.
    odds : float
        Target samples per row of the corpus.
    """

    bumps: Bumps
    theta: Floats
    most: float
    odds: float

    def weigh(self, matrix: Matrix, key: Keys) -> tuple[Floats, Floats]:
        """Return ratio and log-odds of rows, by the fit that saw no row of their key.

        Parameters
        ----------
        matrix : array, shape (n, d)
            Features.
        key : array of uint64, shape (n,)
            As they were summed by.
        """
        if not len(matrix):
            return np.zeros(0), np.zeros(0)
        values = np.concatenate(
            [feature_map(self.bumps.features[0], part) @ self.theta.T for _, part in _pieces(matrix)]
        )
        ratio = np.clip(values[np.arange(len(key)), self.bumps.fold_of(key)], 0.0, self.most)
        least = float(np.finfo(np.float64).eps)  # beyond the resolution of a chance, log-odds say no more
        if np.isinf(self.most):
            return ratio, np.log(np.maximum(ratio, least)) + np.log(self.odds)
        chance = np.clip(ratio / self.most, least, 1.0 - least)
        return ratio, np.log(chance) - np.log1p(-chance)


@dataclass(frozen=True, kw_only=True)
class SumJob:
    """Sum over the rows of a shard, and leave the `Statistics` of each bandwidth and fold.

    Parameters
    ----------
    spec, batch_size, files, place
        As in `DrawJob`.
    bumps : Bumps
        What is summed.
    """

    spec: Spec
    batch_size: int
    files: dict[str, Path]
    place: dict[str, int]
    bumps: Bumps

    def __call__(self, shard: Shard) -> int:
        """Sum over a shard; return the number of its rows."""
        table, featuriser, rows = open_shard(shard), self.spec.featuriser(), 0
        total = nothing(self.bumps)
        for batch in batches_of(table, self.spec.columns, self.batch_size) if table is not None else ():
            total = add_statistics(total, sum_batch(batch, self.spec, featuriser, self.place, self.bumps))
            rows += len(batch)
        save_arrays(self.files[shard.name], total._asdict())
        return rows


def sum_batch(batch: Batch, spec: Spec, featuriser: Featuriser, place: dict[str, int], bumps: Bumps) -> Statistics:
    """Sum over a batch.

    Parameters
    ----------
    batch, spec, featuriser
        As in `scan_batch`.
    place, bumps
        As in `SumJob`.
    """
    matrix = batch.matrix(featuriser)
    _, key = identify(batch, spec, featuriser, matrix)
    fold = bumps.fold_of(key)
    labels, code = batch.labels(spec.target)
    is_target = sources_of(labels, place)[code] == 0
    total = nothing(bumps)
    for rows, part in _pieces(matrix):
        of_fold = [np.flatnonzero(fold[rows] == k) for k in range(bumps.folds)]
        for s, features in enumerate(bumps.features):
            phi = feature_map(features, part)
            for k, where in enumerate(of_fold):
                mine = phi[where]
                of_target = mine[is_target[rows][where]]
                # Target rows of the corpus are rows of the corpus; those of files of their own are not.
                of_train = mine if spec.target is not None else mine[~is_target[rows][where]]
                total.n_target[s, k] += len(of_target)
                total.n_train[s, k] += len(of_train)
                total.target_sum[s, k] += of_target.sum(axis=0)
                total.train_sum[s, k] += of_train.sum(axis=0)
                total.train_outer[s, k] += of_train.T @ of_train
    return total


def bumps_of(job: FitJob, parts: Iterable[Path | BinaryIO]) -> Bumps:
    """Place bumps at target rows among the rows drawn, and take the units and the distances from all of these.

    Parameters
    ----------
    job : FitJob
        Says how.
    parts : iterable of Path or binary file
        What `DrawJob` wrote.
    """
    spec = job.spec
    lesson = prepare(merge_drawn([load_drawn(part) for part in parts]), job.draws)
    target, train = (lesson.matrix[(lesson.source == 0) == wanted] for wanted in (True, False))
    base = gaussian_features(target=target, train=train, n_centres=CENTRES, seed=spec.seed)
    return Bumps(tuple(base._replace(bandwidth=base.bandwidth * f) for f in FACTORS), spec.folds, spec.seed)


def load_sums(path: Path | BinaryIO) -> Statistics:
    """Read what `SumJob` left; nothing is unpickled.

    Parameters
    ----------
    path : Path or binary file
        The file.
    """
    with np.load(path, allow_pickle=False) as file:
        return Statistics(**{name: file[name] for name in Statistics._fields})


def solve(job: FitJob, bumps: Bumps, sums: Statistics) -> SumModel:
    """Fit θ without each fold, at the bandwidth and the penalty with the least loss on the folds left out.

    Parameters
    ----------
    job : FitJob
        As in `bumps_of`.
    bumps : Bumps
        What was summed.
    sums : Statistics
        Over the corpus, with leading axes (bandwidths, folds).

    Returns
    -------
    SumModel
        A fold without target or without training rows raises `InputError`; samples that share no bump get r = 1.
    """
    for what, number in (("target", sums.n_target), ("training", sums.n_train)):
        if not number.all():
            raise InputError(
                f"{int(number[0].sum())} {what} rows leave one of {bumps.folds} folds without any; lower --folds"
            )
    best: tuple[float, Floats, Features] | None = None
    for s, features in enumerate(bumps.features):
        parts = [Statistics(*(array[s, k] for array in sums)) for k in range(bumps.folds)]
        rest = [Statistics(*(array[s].sum(axis=0) - array[s, k] for array in sums)) for k in range(bumps.folds)]
        for penalty in PENALTIES:
            theta = [_theta(one, features, penalty) for one in rest]
            loss = float(np.mean([_loss(t, held_out) for t, held_out in zip(theta, parts, strict=True)]))
            if best is None or loss < best[0]:
                best = loss, np.stack(theta), features
    assert best is not None
    inside = job.spec.target is not None
    most = sum(job.counts) / job.counts[0] if inside else np.inf
    return SumModel(Bumps((best[2],), bumps.folds, bumps.seed), best[1], most, job.counts[0] / job.counts[1])


def _theta(rest: Statistics, features: Features, penalty: float) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of bumps that no row feels: r = 1, whose loss is compared
        return np.asarray(ulsif_from_statistics(rest, features, penalty=penalty).coefficients)


def _loss(theta: Floats, held_out: Statistics) -> float:
    """Return ½ E_train[r²] − E_target[r] over a fold."""
    square = theta @ held_out.train_outer @ theta / held_out.n_train
    return float(square / 2 - theta @ held_out.target_sum / held_out.n_target)


def _pieces(matrix: Floats) -> Iterator[tuple[slice, Floats]]:
    for start in range(0, len(matrix), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        yield rows, matrix[rows]


def nothing(bumps: Bumps) -> Statistics:
    """Return the sums over no rows, one for each bandwidth and fold.

    Parameters
    ----------
    bumps : Bumps
        What is summed.
    """
    lead, width = (len(bumps.features), bumps.folds), 1 + len(bumps.features[0].centres)
    shapes: dict[str, tuple[int, ...]] = {"n_target": (), "n_train": (), "target_sum": (width,), "train_sum": (width,)}
    shapes |= {"train_outer": (width, width), "target_outer": (1, 1)}  # the last is for relative ratios alone
    arrays: dict[str, Any] = {name: np.zeros(lead + shape) for name, shape in shapes.items()}
    return Statistics(**arrays)
