"""``counterpoise advise``: how to train on a file, and how sure that is."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["advise"]

Files, Rows, Check = "Files", "Which rows, which columns", "Cross-validation"


def advise(
    data: Annotated[Path, typer.Argument(metavar="INPUT", help="JSONL(.gz), CSV(.gz), TSV(.gz) or Parquet.")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN=VALUE: rows that are target samples; repeat it for several values of the column.",
            rich_help_panel=Rows,
        ),
    ] = None,
    chosen: Annotated[str, typer.Option(help="Column of the preferred response.", rich_help_panel=Rows)] = "chosen",
    rejected: Annotated[str, typer.Option(help="Column of the other one.", rich_help_panel=Rows)] = "rejected",
    numbers: Annotated[
        bool,
        typer.Option("--numbers", help="These columns hold embeddings (lists of numbers).", rich_help_panel=Rows),
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(help="Instead of pairs: column with one of two labels.", rich_help_panel=Rows),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="With --label: text column; repeatable.", rich_help_panel=Rows)
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(help="With --label: column of numbers or embeddings; repeatable; emb_*.", rich_help_panel=Rows),
    ] = None,
    ratio: Annotated[
        str | None,
        typer.Option(
            help="Column with the ratio of target to training data, as `weigh` writes it; default: fit one.",
            rich_help_panel=Rows,
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Rows equal in this column (a prompt) are held out together.", rich_help_panel=Rows),
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
            help="Column with an object of answers by source: advise on the pairs of a right and a wrong one; "
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
    folds: Annotated[int, typer.Option(help="Folds of the target's groups.", min=2, rich_help_panel=Check)] = 5,
    repeats: Annotated[int, typer.Option(help="How often they are dealt.", min=1, rich_help_panel=Check)] = 2,
    seed: Annotated[int, typer.Option(help="Of all draws.", min=0, rich_help_panel=Check)] = 0,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML report; default INPUT's name with -advice.html.", rich_help_panel=Files),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.", rich_help_panel=Files)] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the report.", rich_help_panel=Files)] = False,
) -> None:
    """Say how to train on INPUT: plainly, on the target rows alone, with weights, or robustly.

    Small policies are trained in each way and judged by target rows that they have not seen. Weights are
    advised where plain training does worse on these; how far samples overlap, whether the ratio can be trusted and
    whether sources label differently is said beside it.

    Example: `counterpoise advise pairs.jsonl --target source=human --group prompt`
    """
    from .advising import AdviseOptions, run
    from .errors import InputError

    if not target:
        raise InputError("say which rows are target samples: --target COLUMN=VALUE")
    run(
        AdviseOptions(
            data=data, target=tuple(target), chosen=chosen, rejected=rejected, numbers=numbers, label=label,
            text=tuple(text or ()), features=tuple(features or ()), ratio=ratio, group=group, pool=pool,
            answers=answers, correct=correct, sources=sources, embedder=embedder, allow_null=allow_null, folds=folds,
            repeats=repeats, seed=seed, json=json, force=force,
            report=report if report is not None else _beside(data),
        )
    )  # fmt: skip


def _beside(data: Path) -> Path:
    """Return the report's name in the working folder: ``a/b.jsonl.gz`` becomes ``b-advice.html``."""
    return Path(Path(data.name.removesuffix(".gz")).stem + "-advice.html")
