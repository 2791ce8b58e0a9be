"""Write the outcomes of a comparison, draw them, and print the table and the verdict."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from .arms import ARMS
from .experiment import Outcome
from .figure import draw_comparisons
from .staging import Staging, writing
from .verdict import Comparison, Interval

__all__ = ["write_comparison"]


def write_comparison(found: Mapping[str, tuple[list[Outcome], Comparison]], out: Path) -> None:
    """Write ``out`` with the endings .csv (every seed) and .png (the figure), and print tables and verdicts.

    Parameters
    ----------
    found : mapping of str to (outcomes, comparison)
        By the name of the data.
    out : Path
        Name of the two files but for the ending.
    """
    with Staging() as staging:
        for suffix in (".csv", ".png"):
            path = out.with_suffix(suffix)
            with writing(path):
                file = staging.open(path)
                if suffix == ".csv":
                    file.write(_csv({name: outcomes for name, (outcomes, _) in found.items()}).encode("utf-8"))
                else:
                    draw_comparisons({name: comparison for name, (_, comparison) in found.items()}, file)
    screen = Console(highlight=False, soft_wrap=True)
    if not screen.is_terminal:
        screen.width = 110  # a pipe or file has no width of its own
    for name, (outcomes, comparison) in found.items():
        screen.print(_table(name, outcomes, comparison))
        screen.print(f"{comparison.verdict}\n", style="bold", markup=False)
    screen.print(f"written: {out.with_suffix('.csv')}\nfigure:  {out.with_suffix('.png')}", markup=False)


def _csv(found: Mapping[str, list[Outcome]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "seed", "arm", "accuracy", "log_loss", "l2", "penalty"])
    for name, outcomes in found.items():
        for seed, outcome in enumerate(outcomes):
            for i, arm in enumerate(ARMS):
                penalty = "" if np.isnan(outcome.penalty[i]) else outcome.penalty[i]
                writer.writerow(
                    [name, seed, arm.name, outcome.accuracy[i], outcome.log_loss[i], outcome.l2[i], penalty]
                )
    return text.getvalue()


def _table(name: str, outcomes: list[Outcome], comparison: Comparison) -> Grid:
    first = outcomes[0]
    kept = np.mean([outcome.ess for outcome in outcomes])
    mean = np.mean([outcome.mean_ratio for outcome in outcomes])
    title = f"{name}: {len(outcomes)} seeds, trained on {first.train:,}, tested on {first.test:,} target pairs"
    grid = Grid(
        title=escape(title),
        caption=f"mean ratio {mean:.2f} (should be 1), effective pairs {kept:,.0f} of {first.train:,}; "
        "intervals hold for all arms together (95 %)",
        title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    grid.add_column("trained by")
    for head in ("accuracy", "log-loss", "vs ERM, points", "vs target only, points"):
        grid.add_column(head, justify="right")
    for i, arm in enumerate(ARMS):
        grid.add_row(
            arm.name,
            f"{comparison.accuracy[:, i].mean():.3f}",
            f"{comparison.log_loss[:, i].mean():.3f}",
            *(_cell(comparison.against[baseline][i]) for baseline in ("ERM", "target only")),
        )
    return grid


def _cell(found: Interval | None) -> str:
    if found is None:
        return ""
    return f"{100 * found.mean:+.1f} \\[{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
