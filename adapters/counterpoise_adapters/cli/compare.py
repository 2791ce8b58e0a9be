"""``counterpoise compare``: whether weighting helps on a file of pairs."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["compare"]

Files, Rows, Sizes = "Files", "Which rows, which columns", "Sizes"


def compare(
    data: Annotated[Path, typer.Argument(metavar="INPUT", help="JSONL(.gz), CSV(.gz), TSV(.gz) or Parquet.")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN=VALUE: pairs that are target samples; repeat it for several values of the column.",
            rich_help_panel=Rows,
        ),
    ] = None,
    chosen: Annotated[str, typer.Option(help="Column of the preferred response.", rich_help_panel=Rows)] = "chosen",
    rejected: Annotated[str, typer.Option(help="Column of the other one.", rich_help_panel=Rows)] = "rejected",
    numbers: Annotated[
        bool,
        typer.Option("--numbers", help="These columns hold embeddings (lists of numbers).", rich_help_panel=Rows),
    ] = False,
    group: Annotated[
        str | None,
        typer.Option(help="Rows equal in this column (a prompt) stay on one side of a split.", rich_help_panel=Rows),
    ] = None,
    pool: Annotated[
        bool,
        typer.Option(
            "--pool", help="Tell the target from all other rows at once, not from each source.", rich_help_panel=Rows
        ),
    ] = False,
    answers: Annotated[
        str | None,
        typer.Option(
            help="Column with an object of answers by source: compare on the pairs of a right and a wrong one; "
            "--target then names a source.",
            rich_help_panel=Rows,
        ),
    ] = None,
    correct: Annotated[
        str | None, typer.Option(help="With --answers: column that says which are right.", rich_help_panel=Rows)
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(help="With --answers: the sources to use, by commas; default all.", rich_help_panel=Rows),
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(help="MODULE:FUNCTION from a list of texts to an array of numbers.", rich_help_panel=Rows),
    ] = None,
    allow_null: Annotated[
        bool, typer.Option("--allow-null", help="Read null in a text column as empty text.", rich_help_panel=Rows)
    ] = False,
    target_rows: Annotated[
        int | None, typer.Option(help="Most target pairs to train on; default all.", min=3, rich_help_panel=Sizes)
    ] = None,
    other_rows: Annotated[
        int | None, typer.Option(help="Most other pairs to train on; default all.", min=1, rich_help_panel=Sizes)
    ] = None,
    test_share: Annotated[
        float,
        typer.Option(help="Share of the target's prompts held out.", min=0.01, max=0.99, rich_help_panel=Sizes),
    ] = 0.3,
    seeds: Annotated[int, typer.Option(help="Number of random splits.", min=2, rich_help_panel=Sizes)] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Name of the .csv and .png to write; default INPUT's name with -compare.",
            rich_help_panel=Files,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace these files if they exist.", rich_help_panel=Files)
    ] = False,
) -> None:  # fmt: skip
    """Train a small policy on the pairs of INPUT in seven ways, and say whether weighting helps.

    Plain training (ERM), the target's pairs alone, KL-DRO, reweighting, reweighting by the squared ratio,
    target-centred DRO and DoRA, on the same random splits, judged by target pairs that none of them has seen.

    Example: `counterpoise compare pairs.jsonl --target source=human --group prompt`
    """
    from .comparing import CompareOptions, run
    from .errors import InputError

    if not target:
        raise InputError("say which pairs are target samples: --target COLUMN=VALUE")
    run(
        CompareOptions(
            data=data, target=tuple(target), chosen=chosen, rejected=rejected, numbers=numbers, group=group, pool=pool,
            answers=answers, correct=correct, sources=sources, embedder=embedder, allow_null=allow_null,
            target_rows=target_rows, other_rows=other_rows, test_share=test_share, seeds=seeds, force=force,
            out=out if out is not None else _beside(data),
        )
    )  # fmt: skip


def _beside(data: Path) -> Path:
    """Return the outputs' name in the working folder: ``a/b.jsonl.gz`` becomes ``b-compare``."""
    return Path(Path(data.name.removesuffix(".gz")).stem + "-compare")
