"""What each pass over a corpus does with a batch of rows: sketch it, draw from it, weigh it."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.features import Featuriser, stack
from counterpoise_adapters.cli.rows import shown_texts

from .batches import Batch
from .model import CorpusModel, Drawn
from .sample import Draw, priorities
from .spec import Spec
from .strata import Strata
from .tally import SHOWN, Extreme, Tally, extremes, tally_of

__all__ = ["draw_batch", "identify", "joined", "no_rows", "scan_batch", "score_batch", "sources_of"]

Keys = NDArray[np.uint64]


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
    priority, _ = identify(batch, spec, featuriser, None)
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
    priority, key = identify(batch, spec, featuriser, cheap)
    labels, code = batch.labels(spec.target)
    source = sources_of(labels, place)[code]
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
    _, key = identify(batch, spec, featuriser, matrix)
    ratio, log_odds = model.weigh(matrix, key)
    inside = spec.target is not None
    labels, code = batch.labels(spec.target)
    source = sources_of(labels, place)[code] if inside else np.ones(len(batch), dtype=np.int64)
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


def identify(batch: Batch, spec: Spec, featuriser: Featuriser, matrix: Any) -> tuple[Keys, Keys]:
    """Return each row's priority, and the key that it shares with rows of its group or its copies.

    Parameters
    ----------
    batch, spec, featuriser
        As in `scan_batch`.
    matrix : matrix, optional
        The rows' features, where they are at hand.
    """
    content = batch.digests(featuriser, matrix)
    key = content if spec.group is None else batch.groups(spec.group)
    return priorities(content, key, seed=spec.seed), key


def sources_of(labels: list[str], place: dict[str, int]) -> NDArray[np.int64]:
    """Return the source of each label.

    Parameters
    ----------
    labels : list of str
        From `Batch.labels`.
    place : dict of str to int
        As in `DrawJob`.
    """
    return np.asarray([place[label] for label in labels], dtype=np.int64)


def _with_text(row: Extreme, batch: Batch, spec: Spec) -> Extreme:
    number, content = batch.row(int(row.texts[0][1]))
    texts = shown_texts(content, spec.text, spec.features, path=batch.path, number=number)
    return row._replace(number=number, texts=texts)


def no_rows(spec: Spec, sources: int) -> Tally:
    """Return the tally of no rows.

    Parameters
    ----------
    spec : Spec
        Of the run.
    sources : int
        How many there are.
    """
    nothing = np.zeros(0)
    return tally_of(
        nothing, nothing, np.zeros(0, dtype=np.int64), sources=sources, cap=spec.cap,
        target_inside=spec.target is not None,
    )  # fmt: skip
