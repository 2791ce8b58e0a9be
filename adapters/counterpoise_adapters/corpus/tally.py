"""What one pass over weighed rows has to remember: sums and counts that add up over shards.

A `Tally` holds the mean and the effective sample size under every cap that may be advised, the distribution of ratios
and of log-odds in fine bins, the shares of the sources, and the rows that weigh most and least. The tally of two shards
is the sum of theirs; its size does not grow with the rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAPS", "SHOWN", "Extreme", "Scores", "Tally", "add", "extremes", "log_odds_of", "ratio_of", "tally_of"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
CAPS = (20.0, 10.0, 5.0, 3.0, 2.0)  # those that advice chooses among
SHOWN = 8  # rows with the largest and with the smallest weights
_PER_OCTAVE, _OCTAVES = 64, 40  # ratios to 1.1 %, from 2^-40 to 2^40
_PER_NAT, _NATS = 128, 32  # log-odds to 1/128 nat, from -32 to 32


class Extreme(NamedTuple):
    """A row with one of the largest or smallest ratios.

    Parameters
    ----------
    ratio : float
        Its ratio, before any cap.
    key : int
        Equal for copies, of which one is shown.
    shard : str
        Where it stands.
    number : int
        Its row in the shard, from 1.
    source : int
        Its source.
    texts : tuple of pairs of str
        Column and what it says.
    """

    ratio: float
    key: int
    shard: str
    number: int
    source: int
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scores:
    """How many target and other samples have their log-odds in each bin.

    Parameters
    ----------
    count : array of int, shape (2, bins)
        Others, then target samples.
    """

    count: Counts

    @classmethod
    def of(cls, log_odds: Floats, is_target: NDArray[np.bool_]) -> "Scores":
        """Count samples.

        Parameters
        ----------
        log_odds : array, shape (n,)
            In nats; those beyond ±32 count as ±32.
        is_target : array of bool, shape (n,)
            Which are target samples.
        """
        place = np.floor((log_odds + _NATS) * _PER_NAT).astype(np.int64)
        return cls(_histogram(np.clip(place, 0, 2 * _NATS * _PER_NAT - 1), is_target, 2 * _NATS * _PER_NAT))


@dataclass(frozen=True)
class Tally:
    """Sums over rows that were weighed.

    Parameters
    ----------
    rows : int
        How many.
    sums, squares : array, shape (2 + caps,)
        Of the ratio: uncapped, under the cap in force, under each of ``CAPS``.
    least, most : float
        The smallest and the largest ratio.
    ratio_count : array of int, shape (2, bins)
        Rows by ratio: others, then target rows.
    ratio_sum : array, shape (bins,)
        Sum of the capped ratio in each bin.
    source_rows : array of int, shape (sources,)
        Rows of each source.
    source_sum : array, shape (sources,)
        Sum of the capped ratio of each source.
    scores : Scores
        The rows' log-odds.
    heaviest, lightest : tuple of Extreme
        Distinct rows, at most ``SHOWN`` of each.
    """

    rows: int
    sums: Floats
    squares: Floats
    least: float
    most: float
    ratio_count: Counts
    ratio_sum: Floats
    source_rows: Counts
    source_sum: Floats
    scores: Scores
    heaviest: tuple[Extreme, ...] = ()
    lightest: tuple[Extreme, ...] = ()

    def save(self) -> dict[str, Any]:
        """Return the tally as arrays, for ``numpy.savez``."""
        extremes = json.dumps([[list(row) for row in rows] for rows in (self.heaviest, self.lightest)])
        return {
            "rows": np.asarray(self.rows), "sums": self.sums, "squares": self.squares,
            "ends": np.asarray([self.least, self.most]), "ratio_count": self.ratio_count, "ratio_sum": self.ratio_sum,
            "source_rows": self.source_rows, "source_sum": self.source_sum, "scores": self.scores.count,
            "extremes": np.frombuffer(extremes.encode("utf-8", "surrogatepass"), dtype=np.uint8),
        }  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "Tally":
        """Read what `save` returned from an ``.npz`` file; nothing is unpickled.

        Parameters
        ----------
        path : Path
            The file.
        """
        with np.load(path, allow_pickle=False) as file:
            rows = json.loads(file["extremes"].tobytes().decode("utf-8", "surrogatepass"))
            heaviest, lightest = (tuple(_extreme(row) for row in part) for part in rows)
            least, most = (float(end) for end in file["ends"])
            return cls(
                int(file["rows"]), file["sums"], file["squares"], least,
                most,
                file["ratio_count"], file["ratio_sum"], file["source_rows"], file["source_sum"],
                Scores(file["scores"]), heaviest, lightest,
            )  # fmt: skip


def tally_of(
    ratio: Floats,
    log_odds: Floats,
    source: Counts,
    *,
    sources: int,
    cap: float | None,
    target_inside: bool,
) -> Tally:
    """Sum up rows; the extreme rows are left to the caller, who has their texts.

    Parameters
    ----------
    ratio, log_odds : array, shape (n,)
        Of the rows.
    source : array of int, shape (n,)
        Their sources, the target being 0.
    sources : int
        Number of sources.
    cap : float, optional
        The cap in force.
    target_inside : bool
        Whether rows of source 0 are target rows of the corpus.

    Examples
    --------
    >>> ratio = np.array([0.5, 1.0, 1.5])
    >>> tally = tally_of(ratio, np.log(ratio), np.array([1, 1, 0]), sources=2, cap=None, target_inside=True)
    >>> add(tally, tally).rows, add(tally, tally).sums[:2]
    (6, array([6., 6.]))
    """
    is_target = (source == 0) & target_inside
    capped = ratio if cap is None else np.minimum(ratio, cap)
    kinds = [ratio, capped, *(np.minimum(ratio, limit) for limit in CAPS)]
    bins = 2 * _OCTAVES * _PER_OCTAVE
    with np.errstate(divide="ignore"):
        place = np.clip(np.floor((np.log2(ratio) + _OCTAVES) * _PER_OCTAVE), 0, bins - 1).astype(np.int64)
    shares = np.bincount(place, weights=capped, minlength=bins), np.bincount(source, capped, minlength=sources)
    ratio_sum, source_sum = (np.asarray(share, dtype=np.float64) for share in shares)
    return Tally(
        len(ratio), np.asarray([kind.sum() for kind in kinds]), np.asarray([kind @ kind for kind in kinds]),
        float(ratio.min(initial=np.inf)), float(ratio.max(initial=0.0)), _histogram(place, is_target, bins),
        ratio_sum, np.bincount(source, minlength=sources), source_sum, Scores.of(log_odds, is_target),
    )  # fmt: skip


def add(first: Tally, second: Tally) -> Tally:
    """Return the tally of the rows of both.

    Parameters
    ----------
    first, second : Tally
        Of the same sources and cap.
    """
    return Tally(
        first.rows + second.rows, first.sums + second.sums, first.squares + second.squares,
        min(first.least, second.least), max(first.most, second.most), first.ratio_count + second.ratio_count,
        first.ratio_sum + second.ratio_sum, first.source_rows + second.source_rows,
        first.source_sum + second.source_sum, Scores(first.scores.count + second.scores.count),
        extremes([*first.heaviest, *second.heaviest], largest=True),
        extremes([*first.lightest, *second.lightest], largest=False),
    )  # fmt: skip


def extremes(rows: Sequence[Extreme], *, largest: bool) -> tuple[Extreme, ...]:
    """Return the rows with the largest or smallest ratios, one of each content; ties go by where they stand.

    Parameters
    ----------
    rows : sequence of Extreme
        Any number.
    largest : bool
        Which end.
    """
    ordered = sorted(rows, key=lambda row: (-row.ratio if largest else row.ratio, row.key, row.shard, row.number))
    distinct: dict[int, Extreme] = {}
    for row in ordered:
        distinct.setdefault(row.key, row)
    return tuple(list(distinct.values())[:SHOWN])


def ratio_of(bins: int) -> Floats:
    """Return the middles of the bins of ratios.

    Parameters
    ----------
    bins : int
        How many there are.
    """
    return np.asarray(2.0 ** ((np.arange(bins) + 0.5) / _PER_OCTAVE - _OCTAVES))


def log_odds_of(bins: int) -> Floats:
    """Return the middles of the bins of log-odds, in nats.

    Parameters
    ----------
    bins : int
        How many there are.
    """
    return np.asarray((np.arange(bins) + 0.5) / _PER_NAT - _NATS)


def _histogram(place: Counts, is_target: NDArray[np.bool_], bins: int) -> Counts:
    return np.stack([np.bincount(place[mask], minlength=bins) for mask in (~is_target, is_target)])


def _extreme(row: Sequence[Any]) -> Extreme:
    texts = tuple((str(name), str(text)) for name, text in row[5])
    return Extreme(float(row[0]), int(row[1]), str(row[2]), int(row[3]), int(row[4]), texts)
