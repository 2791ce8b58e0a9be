"""``counterpoise compare``: whether weighting helps on a file of pairs."""

from pathlib import Path
from typing import Annotated

import typer

from . import parameters as p

__all__ = ["compare"]

Files, Rows, Sizes = p.FILES, p.ROWS, "Sizes"


def compare(
    data: p.Input,
    target: Annotated[list[str] | None, p.target("pairs")] = None,
    chosen: p.Chosen = "chosen",
    rejected: p.Rejected = "rejected",
    numbers: p.Numbers = False,
    group: Annotated[str | None, p.group("stay on one side of a split")] = None,
    pool: p.Pool = False,
    answers: Annotated[str | None, p.answers("compare on")] = None,
    correct: p.Correct = None,
    sources: p.Sources = None,
    embedder: Annotated[str | None, p.embedder(Rows)] = None,
    allow_null: p.AllowNull = False,
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
            out=out if out is not None else p.beside(data, "-compare"),
        )
    )  # fmt: skip
