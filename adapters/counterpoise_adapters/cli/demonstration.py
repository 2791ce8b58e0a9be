"""The work behind ``counterpoise demo``."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from .arms import ARMS
from .errors import InputError
from .experiment import Outcome, Split, run_split
from .figure import require_matplotlib
from .files import check_destination
from .options import WeighOptions
from .outcome_report import write_comparison
from .progress import steps
from .staging import Staging, writing
from .verdict import compare_outcomes
from .weighing import run as weigh
from .worlds import ALIKE, BIASED, SAME, World, draw_pairs

__all__ = ["run", "world_outcomes"]

COUNTS = (40, 300, 600)
SOURCES = ("human", "model-a", "model-b")
TEST = 2000


def run(out: Path, *, seeds: int, seed: int, force: bool) -> None:
    """Write a world's pairs, weigh them, compare all arms in three kinds of world.

    Parameters
    ----------
    out : Path
        Folder, made if it does not exist.
    seeds : int
        Worlds of each kind.
    seed : int
        Of the first.
    force : bool
        Whether files may be replaced.
    """
    require_matplotlib()
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make this folder: {error.strerror or error}", path=out) from error
    pairs, weighed = out / "pairs.jsonl", out / "weighed.jsonl"
    for name in ("pairs.jsonl", "weighed.jsonl", "weighed.html", "demo.csv", "demo.png"):
        check_destination(out / name, inputs=[], force=force)
    _write_pairs(pairs, seed)
    screen = Console(highlight=False, soft_wrap=True)
    screen.print(f"weighing {pairs} towards source=human\n", markup=False)
    weigh(
        WeighOptions(
            data=pairs, out=weighed, report=weighed.with_suffix(".html"), target=("source=human",),
            features=("chosen", "rejected"), force=force,
        )
    )  # fmt: skip
    screen.print("")
    found = {}
    with steps("comparing", 3 * seeds * len(ARMS)) as advance:
        for world in (BIASED, ALIKE, SAME):
            outcomes = [world_outcomes(world, seed + s, advance) for s in range(seeds)]
            found[world.title] = (outcomes, compare_outcomes(outcomes, shared=0.0))
    write_comparison(found, out / "demo")


def world_outcomes(world: World, seed: int, advance: Callable[[], None] = lambda: None) -> Outcome:
    """Train every arm on fresh pairs of a world, and judge it on fresh target pairs.

    Parameters
    ----------
    world : World
        Where the pairs come from.
    seed : int
        Of the draw.
    advance : callable, optional
        Called after every arm.
    """
    train, source = draw_pairs(world, COUNTS, 2 * seed)
    test, _ = draw_pairs(world, (TEST,), 2 * seed + 1)
    split = Split(train, source, np.arange(len(train)), test)
    return run_split(split, seed=seed, advance=advance)


def _write_pairs(path: Path, seed: int) -> None:
    items, source = draw_pairs(BIASED, COUNTS, 2 * seed)
    with Staging() as staging, writing(path):
        file = staging.open(path)
        for i, ((chosen, rejected), place) in enumerate(zip(items.round(6).tolist(), source.tolist(), strict=True)):
            row = {"id": i, "source": SOURCES[place], "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(row).encode("utf-8") + b"\n")
