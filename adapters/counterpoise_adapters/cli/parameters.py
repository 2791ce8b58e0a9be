"""Options that commands share, said once: the panel and the help of each."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "FILES", "ROWS", "AllowNull", "Chosen", "Correct", "Input", "Numbers", "Pool", "Rejected", "Sources", "answers",
    "beside", "embedder", "group", "target",
]  # fmt: skip

FILES, ROWS = "Files", "Which rows, which columns"  # panels of the help


def _option(said: str, *names: str, panel: str = ROWS) -> Any:
    return typer.Option(*names, help=said, rich_help_panel=panel)


def target(rows: str) -> Any:
    """Return --target; ``rows`` says what a sample is called."""
    return _option(f"COLUMN=VALUE: {rows} that are target samples; repeat it for several values of the column.")


def group(fate: str) -> Any:
    """Return --group; ``fate`` says what rows of one group share."""
    return _option(f"Rows equal in this column (a prompt) {fate}.")


def answers(doing: str) -> Any:
    """Return --answers; ``doing`` says what is done with the pairs."""
    return _option(
        f"Column with an object of answers by source: {doing} the pairs of a right and a wrong one; "
        "--target then names a source."
    )


def embedder(panel: str) -> Any:
    """Return --embedder, in a panel of the help."""
    return _option("MODULE:FUNCTION from a list of texts to an array of numbers.", panel=panel)


Input = Annotated[Path, typer.Argument(metavar="INPUT", help="JSONL(.gz), CSV(.gz), TSV(.gz) or Parquet.")]
Chosen = Annotated[str, _option("Column of the preferred response.")]
Rejected = Annotated[str, _option("Column of the other one.")]
Numbers = Annotated[bool, _option("These columns hold embeddings (lists of numbers).", "--numbers")]
Pool = Annotated[bool, _option("Tell the target from all other rows at once, not from each source.", "--pool")]
Correct = Annotated[str | None, _option("With --answers: column that says which are right.")]
Sources = Annotated[str | None, _option("With --answers: the sources to use, by commas; default all.")]
AllowNull = Annotated[bool, _option("Read null in a text column as empty text.", "--allow-null")]


def beside(data: Path, ending: str) -> Path:
    """Return an output's name in the working folder.

    Parameters
    ----------
    data : Path
        The input.
    ending : str
        Put in the place of its own.

    Examples
    --------
    >>> str(beside(Path("a/b.jsonl.gz"), "-advice.html"))
    'b-advice.html'
    """
    return Path(Path(data.name.removesuffix(".gz")).stem + ending)
