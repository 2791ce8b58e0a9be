"""Files that keep several answers per row, seen as pairs of a right and a wrong answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, BinaryIO

from .errors import InputError
from .files import Columns, Table, unchanged
from .rows import NumberedRow, cell, label_of

__all__ = ["PairTable"]


class PairTable:
    """A table of answers by source, one row per question, seen as one row per pair of answers.

    From ``{"question": ..., "answers": {"fid": ..., "gpt": ...}, "correct": {"fid": true, "gpt": false}}``
    comes, for every two sources of which one is right and the other wrong, a row with the other columns
    kept, ``chosen`` and ``rejected`` (the two answers), ``chosen_source`` and ``rejected_source``,
    ``pair_sources`` ("target" if the target's answer is one of the two, else "other").

    Parameters
    ----------
    table : Table
        One row per question.
    answers : str
        Column with an object of texts by source.
    correct : str
        Column with an object of true or false by source.
    target : str
        The target source.
    sources : sequence of str, optional
        Sources to use besides the target; default all.  The target is used whether named or not.
    """

    source = "pair_sources"
    target = "target"

    def __init__(
        self, table: Table, *, answers: str, correct: str, target: str, sources: Sequence[str] | None = None
    ) -> None:
        self.path = table.path
        self.header: tuple[str, ...] | None = None
        self._table = table
        self._answers = answers
        self._correct = correct
        self._target = target
        self._sources = None if sources is None else {*sources, target}

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[NumberedRow]:
        """Yield (number of the question's row, pair); see `files.Table`.

        Parameters
        ----------
        columns : sequence of str, optional
            Of no effect here: a pair carries all columns.
        """
        del columns
        for number, row in self._table.rows():
            answers = self._object(row, self._answers, number)
            correct = self._object(row, self._correct, number)
            kept = {key: value for key, value in row.items() if key not in (self._answers, self._correct)}
            names = [name for name in answers if self._sources is None or name in self._sources]
            for first, second in combinations(names, 2):
                verdicts = [self._verdict(correct, name, number) for name in (first, second)]
                if verdicts[0] == verdicts[1]:
                    continue
                good, bad = (first, second) if verdicts[0] else (second, first)
                kind = self.target if self._target in (good, bad) else "other"
                yield number, {
                    **kept, "chosen": answers[good], "rejected": answers[bad], "chosen_source": good,
                    "rejected_source": bad, self.source: kind,
                }  # fmt: skip

    def copy(self, sink: BinaryIO, extra: Columns) -> Iterator[NumberedRow]:
        """Write every pair as a line of JSON with columns added; see `files.Table`.

        Parameters
        ----------
        sink : binary file
            Where the lines go.
        extra : mapping of str to array
            One value per pair.
        """
        values = [column.tolist() for column in extra.values()]
        for index, (number, row) in unchanged(self.rows(), len(values[0]), self.path):
            added = {name: column[index] for name, column in zip(extra, values, strict=True)}
            line = json.dumps({**row, **added}, ensure_ascii=False, default=label_of)
            sink.write(line.encode("utf-8", "replace") + b"\n")
            yield number, row

    def _object(self, row: Mapping[str, Any], column: str, number: int) -> Mapping[str, Any]:
        value = cell(row, column, path=self.path, number=number)
        if not isinstance(value, Mapping):
            raise InputError(f"column '{column}' must be an object by source", path=self.path, row=number)
        return value

    def _verdict(self, correct: Mapping[str, Any], name: str, number: int) -> bool:
        value = correct.get(name)
        if not isinstance(value, bool):
            raise InputError(
                f"column '{self._correct}' has {value!r} for '{name}', where true or false is needed",
                path=self.path,
                row=number,
            )
        return value
