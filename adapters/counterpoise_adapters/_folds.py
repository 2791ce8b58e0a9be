"""Folds for cross-fitting: every row in one test set, every class in every training part."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["assign_folds", "deal", "gathered"]


class Few(ValueError):
    """A source that cannot be dealt to folds, whose label stands at ``{}`` in the text.

    Examples
    --------
    >>> few = Few("2 samples of source {} cannot fill 5 folds", 1)
    >>> str(few), few.naming(["human", "gpt"])
    ('2 samples of source 1 cannot fill 5 folds', "2 samples of source 'gpt' cannot fill 5 folds")
    """

    def __init__(self, text: str, label: Any) -> None:
        super().__init__(text, label)

    def __str__(self) -> str:
        text, label = self.args
        return str(text).replace("{}", repr(label))

    def naming(self, names: Sequence[str]) -> str:
        """Return the message with the name of a source whose label is its number."""
        text, label = self.args
        return str(Few(text, names[label]))


def assign_folds(
    cv: Any, labels: NDArray[Any], groups: ArrayLike | None, *, target: Any, seed: int
) -> NDArray[np.int64]:
    """Give each row the fold that holds it out.

    Parameters
    ----------
    cv : int or splitter
        Number of stratified, shuffled folds, or an object with ``split(X, y, groups)``.
    labels : array, shape (n,)
        Class labels.
    groups : array-like, shape (n,), optional
        Rows of one group share a fold.
    target : label
        Named in messages.
    seed : int
        Of the shuffle.

    Returns
    -------
    array of int, shape (n,)
        Fold numbers from 0. Too few samples of a class, test sets that overlap or leave rows out, and
        training parts without a class raise ValueError.

    Examples
    --------
    >>> fold = assign_folds(2, np.array([0, 0, 1, 1]), None, target=1, seed=0)
    >>> [int((fold == k).sum()) for k in (0, 1)]
    [2, 2]
    """
    if groups is not None and np.shape(groups) != labels.shape:
        raise ValueError(f"groups has shape {np.shape(groups)}; one group for each of the {len(labels)} rows is needed")
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        _check_sizes(labels, int(cv), target)
        fold = deal(labels, groups, n_folds=int(cv), seed=seed)
    elif hasattr(cv, "split") and hasattr(cv, "get_n_splits"):
        fold = _test_sets(cv, labels, groups)
    else:
        raise ValueError(f"cv is {cv!r}; a number of folds or a splitter with split(X, y, groups) is needed")
    classes, code = np.unique(labels, return_inverse=True)
    found = np.zeros((len(classes), int(fold.max()) + 1), dtype=bool)
    found[code, fold] = True
    alone = classes[found.sum(axis=1) == 1]
    if len(alone):
        raise Few(
            "all samples of {} fall into one fold, so that its models have none to learn from; use finer groups, or "
            "more samples",
            min(alone.tolist(), key=str),
        )
    return fold


def deal(labels: NDArray[Any], groups: ArrayLike | None, *, n_folds: int, seed: int) -> NDArray[np.int64]:
    """Deal rows to folds like cards: classes evenly, groups whole, large groups first.

    It sorts, where scikit-learn's ``StratifiedGroupKFold`` loops over the groups: 50,000 of them in
    milliseconds.

    Parameters
    ----------
    labels : array, shape (n,)
        Class labels; a group counts as the class of its first row.
    groups : array-like, shape (n,), optional
        Rows of one group share a fold.
    n_folds : int
        At least 2.
    seed : int
        Order among equals.

    Returns
    -------
    array of int, shape (n,)
        Folds from 0 to ``n_folds - 1``; without groups every class differs by at most 1 between folds.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    named = shuffled if groups is None else np.asarray(groups)[shuffled]
    _, first, group, size = np.unique(named, return_index=True, return_inverse=True, return_counts=True)
    _, kind = np.unique(labels[shuffled][first], return_inverse=True)
    order = np.lexsort((first, -size, kind))
    # Back and forth (0 1 2 2 1 0 ...), so that the fold dealt first does not always get the larger group.
    kinds = kind[order]
    turn = (np.arange(len(order)) - np.searchsorted(kinds, kinds)) % (2 * n_folds)
    fold_of_group = np.empty(len(order), dtype=np.int64)
    fold_of_group[order] = np.minimum(turn, 2 * n_folds - 1 - turn)
    fold = np.empty(len(labels), dtype=np.int64)
    fold[shuffled] = fold_of_group[group]
    return fold


def gathered(fold: NDArray[np.int64], parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Put what each fold gave for its rows into the order of all rows.

    Parameters
    ----------
    fold : array of int, shape (n,)
        The fold that holds each row.
    parts : sequence of arrays, shape (rows of the fold, k)
        By fold.
    """
    whole = np.empty((len(fold), parts[0].shape[1]))
    for number, part in enumerate(parts):
        whole[fold == number] = part
    return whole


def _test_sets(splitter: Any, labels: NDArray[Any], groups: ArrayLike | None) -> NDArray[np.int64]:
    """Return the test set that holds each row."""
    fold = np.full(len(labels), -1)
    for number, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        if (fold[test] >= 0).any():
            twice = test[fold[test] >= 0][0]
            raise ValueError(f"cv puts row {twice} into two test sets; each row needs exactly one")
        fold[test] = number
    if (fold < 0).any():
        raise ValueError(f"cv leaves row {np.flatnonzero(fold < 0)[0]} out of every test set; each needs one")
    return fold


def _check_sizes(labels: NDArray[Any], n_folds: int, target: Any) -> None:
    if n_folds < 2:
        raise ValueError(f"cv is {n_folds}; at least 2 folds are needed for out-of-fold ratios")
    names, sizes = np.unique(labels, return_counts=True)
    for label, size in sorted(zip(names.tolist(), sizes.tolist(), strict=True), key=lambda pair: pair[0] != target):
        if size < n_folds:
            what = "target samples" if label == target else "samples of source {}"
            advice = "add samples" if size < 2 else f"lower cv to {size}, or add samples"
            raise Few(f"{size} {what} cannot fill {n_folds} folds; {advice}", label)
