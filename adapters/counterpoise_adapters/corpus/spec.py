"""What decides the weights of a corpus besides its rows, and what its sources are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.features import Featuriser, make_featuriser
from counterpoise_adapters.cli.rows import TargetFilter

from .strata import MOST_SOURCES

__all__ = ["Spec", "name_sources"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What decides the weights, besides the rows.

    Parameters
    ----------
    text, features, embedder, allow_null
        As in `make_featuriser`.
    target : TargetFilter, optional
        Which rows are target rows; None where these are files of their own.
    group : str, optional
        Column whose equal values share a fold.
    method, pool, folds, calibrate, cap, fit_rows, seed, prefix
        As on the command line. Least squares on hashed words, of which there are too many, raise `InputError`.
    """

    text: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    embedder: str | None = None
    allow_null: bool = False
    target: TargetFilter | None = None
    group: str | None = None
    method: Any = "classifier"
    pool: bool = False
    folds: int = 5
    calibrate: Any = "platt"
    cap: float | None = None
    fit_rows: int = 50_000
    seed: int = 0
    prefix: str = ""

    def __post_init__(self) -> None:
        if self.method == "ulsif" and self.text and self.embedder is None:
            raise InputError("--method ulsif needs few numbers a row: --features, or --text with --embedder")

    def featuriser(self) -> Featuriser:
        """Return what turns rows into features."""
        return make_featuriser(
            text=self.text, features=self.features, embedder=self.embedder, allow_null=self.allow_null
        )

    @property
    def columns(self) -> list[str]:
        """The columns that decide the weights."""
        extra = [self.target.column] if self.target is not None else []
        return [*self.text, *self.features, *extra, *([self.group] if self.group is not None else [])]

    @property
    def new_columns(self) -> list[str]:
        """The columns that are added."""
        return [self.prefix + name for name in ("ratio", "weight", "log_odds")]


def name_sources(
    counts: Mapping[str, int], target: TargetFilter, *, pool: bool
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the names of the sources, the target's first, and the source of each label.

    Parameters
    ----------
    counts : mapping of str to int
        Rows with each label; none or all of them target rows raises `InputError`.
    target : TargetFilter
        Which labels are the target's.
    pool : bool
        Whether all other labels are one source, as they are where there are more than 12.
    """
    chosen = " or ".join(f"{target.column}={value}" for value in target.values)
    seen = ", ".join(sorted(counts)[:8]) + (", ..." if len(counts) > 8 else "")
    total, others = sum(counts.values()), sorted(set(counts) - set(target.values))
    if not any(value in counts for value in target.values):
        raise InputError(f"--target {chosen} matches none of the {total:,} rows (values: {seen})")
    if not others:
        raise InputError(f"--target {chosen} matches all {total:,} rows: nothing is left to weigh them against")
    pooled = pool or len(others) > MOST_SOURCES
    names = (chosen, *(["all others"] if pooled else others))
    place = {label: 1 if pooled else 1 + rank for rank, label in enumerate(others)}
    return names, place | dict.fromkeys(target.values, 0)
