"""``counterpoise demo``: weigh and compare on generated data, with nothing to download."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what it writes.")] = Path("counterpoise-demo"),
    seeds: Annotated[int, typer.Option(help="Worlds drawn of each kind.", min=2)] = 10,
    seed: Annotated[int, typer.Option(help="Of the first world.", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace its files if they exist.")] = False,
) -> None:
    """Generate worlds with and without a shift, weigh one of them, and compare seven ways to train on each.

    Pairs come from people (the target, 40 pairs), from a model that judges as they do (300) and from one that
    judges differently (600). Weighting gains most where the two models also write differently; where they write
    alike only the preferences tell them apart, and it gains less; where nothing differs it gains nothing, and the
    verdict says so. Takes less than a minute, and needs no download.
    """
    from .demonstration import run

    run(out, seeds=seeds, seed=seed, force=force)
