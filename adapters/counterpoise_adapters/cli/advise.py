"""``counterpoise advise``: how to train on a file, and how sure that is."""

from pathlib import Path
from typing import Annotated

import typer

from . import parameters as p

__all__ = ["advise"]

Files, Rows, Check = p.FILES, p.ROWS, "Cross-validation"


def advise(
    data: p.Input,
    target: Annotated[list[str] | None, p.target("rows")] = None,
    chosen: p.Chosen = "chosen",
    rejected: p.Rejected = "rejected",
    numbers: p.Numbers = False,
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
    group: Annotated[str | None, p.group("are held out together")] = None,
    pool: p.Pool = False,
    answers: Annotated[str | None, p.answers("advise on")] = None,
    correct: p.Correct = None,
    sources: p.Sources = None,
    embedder: Annotated[str | None, p.embedder(Rows)] = None,
    allow_null: p.AllowNull = False,
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
            report=report if report is not None else p.beside(data, "-advice.html"),
        )
    )  # fmt: skip
