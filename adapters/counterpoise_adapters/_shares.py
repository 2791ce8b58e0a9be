"""Labels of sources and their shares of the training data: read, completed and checked."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.ratios.probability import log_mixture_ratio, mixture_ratio

__all__ = ["Joint", "Shares", "labels_of", "settle_labels", "settle_shares"]

Floats = NDArray[np.float64]
Shares = Mapping[Any, float] | Sequence[float]


class Joint(NamedTuple):
    """How log ratios of the target to its sources become one ratio.

    Parameters
    ----------
    odds : float
        Rows of the target per other row.
    target_share : float, optional
        None where the one source is a sample of the whole training data.
    other_shares : list of float, optional
        Of the sources.
    """

    odds: float
    target_share: float | None
    other_shares: list[float] | None

    @classmethod
    def of(
        cls, target_share: float | None, other_shares: Shares | None, *, others: str, sources: list[Any],
        n_target: int, n_other: list[int],
    ) -> Self:  # fmt: skip
        """Settle the shares.

        Parameters
        ----------
        target_share, other_shares, sources, n_target, n_other
            As in `settle_shares`.
        others : {"sources", "mixture"}
            As in `ClassifierRatio`.
        """
        odds = n_target / sum(n_other)
        if others != "mixture":
            shares = settle_shares(target_share, other_shares, sources=sources, n_target=n_target, n_other=n_other)
            return cls(odds, *shares)
        if target_share is not None or other_shares is not None:
            raise ValueError("others='mixture' needs no shares: the other rows are the mixture already")
        return cls(odds, None, None)

    def ratio(self, log_ratio: Floats) -> Floats:
        """Return dQ0/dP.

        Parameters
        ----------
        log_ratio : array, shape (n, sources)
            In nats.
        """
        if self.target_share is None or self.other_shares is None:
            return np.asarray(np.exp(log_ratio[:, 0]))
        return np.asarray(mixture_ratio(log_ratio, target_share=self.target_share, other_shares=self.other_shares))

    def log_odds(self, log_ratio: Floats) -> Floats:
        """Return the log-odds that a row is a target row.

        Parameters
        ----------
        log_ratio : array, shape (n, sources)
            In nats.
        """
        if self.target_share is None or self.other_shares is None:
            return np.asarray(log_ratio[:, 0] + np.log(self.odds))
        rest = sum(self.other_shares)  # 1 − α up to rounding, which must not push a share above 1
        against = log_mixture_ratio(
            log_ratio, target_share=0.0, other_shares=[share / rest for share in self.other_shares]
        )
        return np.asarray(against + np.log(self.target_share / rest))


def labels_of(X: Any, y: ArrayLike) -> NDArray[Any]:
    """Return the labels of the rows of X, one for each.

    Examples
    --------
    >>> labels_of([[0.0], [1.0]], ["human", None])
    Traceback (most recent call last):
        ...
    ValueError: y holds None in row 1; every row needs a label, or drop it
    """
    from sklearn.utils import check_consistent_length  # not for a corpus's workers, which do without

    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"y has shape {labels.shape}; one label per row is needed")
    check_consistent_length(X, labels)
    if labels.dtype.kind in "fO":
        values = labels.tolist()
        missing = [row for row, label in enumerate(values) if label is None or str(label) in ("nan", "<NA>")]
        if missing:
            found = values[missing[0]]
            raise ValueError(f"y holds {found} in row {missing[0]}; every row needs a label, or drop it")
    return labels


def settle_labels(labels: NDArray[Any], target: Any, others: str) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """Return all labels in order, their numbers of rows, and which of them is the target's.

    Examples
    --------
    >>> classes, counts, target = settle_labels(np.array(["b", "a", "b"]), None, "sources")
    >>> classes.tolist(), counts.tolist(), str(target)
    (['a', 'b'], [1, 2], 'b')
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        found = "no rows" if not len(labels) else f"one class only, {classes.tolist()[0]!r}"
        raise ValueError(f"y holds {found}; a ratio needs target samples and others")
    settled = classes[-1] if target is None else target
    if settled not in classes:
        raise ValueError(f"target {target!r} is not in y, which holds {classes.tolist()}")
    if others not in ("sources", "mixture"):
        raise ValueError(f"others is {others!r}; 'sources' or 'mixture' is needed")
    if others == "mixture" and len(classes) > 2:
        raise ValueError(
            f"others='mixture' takes one label besides the target, y holds {classes[classes != settled].tolist()}; "
            "give them one label, or use others='sources'"
        )
    return classes, counts, settled


def settle_shares(
    target_share: float | None, other_shares: Shares | None, *, sources: list[Any], n_target: int, n_other: list[int]
) -> tuple[float, list[float]]:
    """Return the target's share and the sources', which sum to 1; what is not given follows the numbers of rows.

    Parameters
    ----------
    target_share : float or None
        In (0, 1).
    other_shares : mapping of source to float, sequence of float in the order of ``sources``, or None
        Positive.
    sources : list of labels
        All labels but the target's.
    n_target : int
        Rows of the target.
    n_other : list of int
        Rows of each source.

    Returns
    -------
    tuple of float and list of float
        Shares that do not sum to 1, or are out of range, raise ValueError.

    Examples
    --------
    >>> settle_shares(0.2, None, sources=["a", "b"], n_target=10, n_other=[30, 10])
    (0.2, [0.6, 0.2])
    """
    given = other_shares
    if isinstance(given, Mapping):
        if set(given) != set(sources):
            raise ValueError(f"other_shares names {sorted(map(str, given))}; the sources are {sources}")
        given = [given[source] for source in sources]
    if target_share is not None:
        share = float(target_share)
    else:
        share = n_target / (n_target + sum(n_other)) if given is None else 1.0 - sum(given)
    shares = [(1.0 - share) * n / sum(n_other) for n in n_other] if given is None else list(given)
    if not 0.0 < share < 1.0:
        raise ValueError(
            f"the target's share is {share}; it must lie between 0 and 1 (training data without "
            "target samples: others='mixture')"
        )
    mixture_ratio(np.zeros((1, len(sources))), target_share=share, other_shares=shares)  # checks
    return share, [float(part) for part in shares]
