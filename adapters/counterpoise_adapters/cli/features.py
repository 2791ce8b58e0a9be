"""Rows into a feature matrix: hashed words, ready-made embedding columns, or an embedder of the user's.

featuriser = make_featuriser(text=["prompt", "chosen"])
matrix = featuriser.matrix(rows, path=path)      # batch after batch: nothing is learnt from the rows
model = featuriser.classifier(seed=0).fit(matrix, y)   # what is learnt (idf, scale) is inside the
pipeline

scikit-learn and scipy take two seconds to load: whoever only reads ready-made features does without.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from counterpoise_adapters.corpus.sample import digests, digests_of

from .errors import InputError
from .models import dense_model, hashed_model
from .rows import NumberedRow, Place, Row, numbers_of, text_of

__all__ = ["Featuriser", "Matrix", "make_featuriser", "stack"]

Matrix = Any  # scipy.sparse.csr_matrix or NDArray[np.float64]; scikit-learn takes either
Embedder = Callable[[list[str]], Any]


class Featuriser(Protocol):
    """Turns rows into numbers, the same numbers whichever batch a row comes in."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, dots allowed."""
        ...

    def describe(self) -> str:
        """Say in a few words what the features are."""
        ...

    def matrix(self, rows: Sequence[NumberedRow], *, path: Place) -> Matrix:
        """Return one line of features per row; a row without the column, or with NaN, raises `InputError`."""
        ...

    def keys(self, rows: Sequence[NumberedRow], *, path: Place) -> NDArray[np.uint64]:
        """Return a number per row, equal for rows with equal content."""
        ...

    def model(self, **how: Any) -> Any:
        """Return an unfitted cross-fit that suits these features.

        Parameters
        ----------
        **how
            As `models.dense_model` takes it.
        """
        ...


def make_featuriser(
    *,
    text: Sequence[str] = (),
    features: Sequence[str] = (),
    embedder: str | None = None,
    allow_null: bool = False,
) -> Featuriser:
    """Choose the featuriser from the command's options.

    Parameters
    ----------
    text : sequence of str
        Text columns, dots allowed.  Without an embedder their words and pairs of words are hashed.
    features : sequence of str
        Columns of numbers or of lists of numbers; ``*`` and ``?`` match names (``emb_*``).
    embedder : str, optional
        ``module:function``; the function takes a list of texts and returns one line of numbers per text.
    allow_null : bool
        Read null in a text column as empty text.

    Returns
    -------
    Featuriser
        No columns, both kinds of columns, or an embedder without text columns raise `InputError`.
    """
    if text and features:
        raise InputError("give either --text or --features, not both: their scales do not mix")
    if features:
        if embedder is not None:
            raise InputError("--embedder turns text into features; it needs --text, not --features")
        return ColumnFeatures(features)
    if not text:
        raise InputError("name a text column (--text prompt) or a feature column (--features embedding)")
    if embedder is None:
        return HashedText(text, allow_null=allow_null)
    return EmbeddedText(text, _load(embedder), embedder, allow_null=allow_null)


def stack(parts: Sequence[Matrix]) -> Matrix:
    """Put batches of one featuriser on top of each other.

    Parameters
    ----------
    parts : sequence of matrices
        At least one.
    """
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=0)
    from scipy import sparse

    return sparse.vstack(parts, format="csr")


class _Text:
    """What the two text featurisers share."""

    def __init__(self, columns: Sequence[str], *, allow_null: bool) -> None:
        self.columns = tuple(columns)
        self._allow_null = allow_null

    def texts(self, column: str, rows: Sequence[NumberedRow], path: Place) -> list[str]:
        """Return one column's text of every row."""
        null = self._allow_null
        return [text_of(row, column, path=path, number=number, allow_null=null) for number, row in rows]

    def keys(self, rows: Sequence[NumberedRow], *, path: Place) -> NDArray[np.uint64]:
        texts = [self.texts(column, rows, path) for column in self.columns]
        return digests_of("\x1e".join(parts) for parts in zip(*texts, strict=True))


class HashedText(_Text):
    """Counts of words and of pairs of words, hashed into 2^18 buckets per column.

    Parameters
    ----------
    columns : sequence of str
        Text columns; each has buckets of its own, so that "chosen" and "rejected" are told apart.
    allow_null : bool
        Read null as empty text.
    """

    def __init__(self, columns: Sequence[str], *, allow_null: bool = False) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        super().__init__(columns, allow_null=allow_null)
        self._hasher = HashingVectorizer(
            n_features=2**18, ngram_range=(1, 2), norm=None, alternate_sign=False,
            token_pattern=r"(?u)\b\w+\b|[^\w\s]",
        )  # fmt: skip

    def describe(self) -> str:
        return "TF-IDF of words and word pairs in " + ", ".join(self.columns)

    def matrix(self, rows: Sequence[NumberedRow], *, path: Place) -> Matrix:
        blocks = [self._hasher.transform(self.texts(column, rows, path)) for column in self.columns]
        if len(blocks) == 1:
            return blocks[0]
        from scipy import sparse

        return sparse.hstack(blocks, format="csr")

    def model(self, **how: Any) -> Any:
        return hashed_model(**how)


class EmbeddedText(_Text):
    """Text through a function of the user's.

    Parameters
    ----------
    columns : sequence of str
        Text columns, embedded one by one and put side by side.
    embedder : callable
        List of texts to an array of shape (texts, dimensions).
    name : str
        How it was named, for messages.
    allow_null : bool
        Read null as empty text.
    """

    def __init__(self, columns: Sequence[str], embedder: Embedder, name: str, *, allow_null: bool = False) -> None:
        super().__init__(columns, allow_null=allow_null)
        self._embedder = embedder
        self._name = name
        self._width: int | None = None

    def describe(self) -> str:
        return f"embeddings by {self._name} of " + ", ".join(self.columns)

    def matrix(self, rows: Sequence[NumberedRow], *, path: Place) -> Matrix:
        blocks = []
        for column in self.columns:
            texts = self.texts(column, rows, path)
            block = np.asarray(self._embedder(texts), dtype=np.float64)
            wanted = (len(texts), self._width or block.shape[-1])
            if block.shape != wanted:
                raise InputError(
                    f"--embedder {self._name} returned shape {block.shape} for {len(texts)} texts, where "
                    f"{wanted} is needed: one line of numbers per text, always of one length"
                )
            self._width = block.shape[1]
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if bad.size:
                raise InputError(
                    f"--embedder {self._name} returned NaN or an infinity for column '{column}'",
                    path=path, row=rows[int(bad[0])][0],
                )  # fmt: skip
            blocks.append(block)
        return np.concatenate(blocks, axis=1)

    def model(self, **how: Any) -> Any:
        return dense_model(**how)


class ColumnFeatures:
    """Columns that already hold the features.

    Parameters
    ----------
    columns : sequence of str
        Names, or patterns with ``*`` and ``?``, of columns that hold a number or a list of numbers.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._patterns = tuple(columns)
        self._names: list[str] = []
        self._widths: dict[str, int] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        return self._patterns

    @property
    def widths(self) -> dict[str, int]:
        """Numbers in each feature column, in order; empty before the first row was seen."""
        return {name: self._widths[name] for name in self._names}

    def describe(self) -> str:
        return "the feature columns " + ", ".join(self._patterns)

    def matrix(self, rows: Sequence[NumberedRow], *, path: Place) -> Matrix:
        return np.asarray([self._line(row, path, number) for number, row in rows], dtype=np.float64)

    def keys(self, rows: Sequence[NumberedRow], *, path: Place) -> NDArray[np.uint64]:
        return digests(self.matrix(rows, path=path))

    def model(self, **how: Any) -> Any:
        return dense_model(**how)

    def _line(self, row: Row, path: Place, number: int) -> list[float]:
        if not self._names:
            self._names = self._expand(row)
        line: list[float] = []
        for name in self._names:
            found = numbers_of(row, name, path=path, number=number)
            width = self._widths.setdefault(name, len(found))
            if len(found) != width:
                raise InputError(
                    f"feature column '{name}' has {len(found)} numbers where earlier rows have {width}",
                    path=path, row=number,
                )  # fmt: skip
            line += found
        return line

    def _expand(self, row: Row) -> list[str]:
        """Return the names that the patterns match in the first row."""
        names: list[str] = []
        for pattern in self._patterns:
            matches = [name for name in row if fnmatchcase(str(name), pattern)] or [pattern]
            names += [name for name in matches if name not in names]
        return names


def _load(name: str) -> Embedder:
    """Import ``module:function``, looking in the working folder first."""
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise InputError(f"--embedder takes MODULE:FUNCTION; it got '{name}'")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"--embedder {name}: cannot import '{module_name}': {error} (looked for in this folder, in those of "
            "PYTHONPATH and among installed packages)"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"--embedder {name}: '{module_name}' has no function '{function_name}'")
    return cast(Embedder, function)
