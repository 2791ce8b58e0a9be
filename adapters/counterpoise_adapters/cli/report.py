"""Write the weighed file and its report, and print a summary."""

import gzip
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO, cast

import jinja2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Grid

import counterpoise

from .advice import Advice, advise
from .charts import calibration_chart, score_chart, weight_chart
from .files import Table
from .options import WeighOptions
from .progress import watched
from .rows import Row, cell, text_of
from .staging import Staging, writing
from .summary import Summary, summarise
from .weighing import Weighed

__all__ = ["render", "write_results"]

_SHOWN = 8  # rows with the largest and with the smallest weights
_LETTERS = 480  # of a row's texts together


@dataclass(frozen=True)
class ShownRow:
    """A row in the report: where it stands, what it weighs, and what it says."""

    number: int
    weight: float
    source: str
    is_target: bool
    texts: tuple[tuple[str, str], ...]


def write_results(table: Table, weighed: Weighed, options: WeighOptions) -> None:
    """Write the weighed file and the report, both or neither, and print the summary.

    Parameters
    ----------
    table : Table
        The file, read once more.
    weighed : Weighed
        Its weights.
    options : WeighOptions
        From the command line.
    """
    summary = summarise(weighed)
    advice = advise(summary, weighed.ratio, cap=options.cap)
    columns = {
        options.prefix + "ratio": weighed.ratio,
        options.prefix + "weight": weighed.weight,
        options.prefix + "log_odds": weighed.log_odds,
    }
    heaviest, lightest = _extremes(weighed)
    wanted = {*heaviest, *lightest}
    shown: dict[int, ShownRow] = {}
    with Staging() as staging:
        with writing(options.out), _zipped(staging.open(options.out), options.out) as sink:
            rows = watched(table.copy(sink, columns), "writing", total=len(weighed.weight))
            for index, (number, row) in enumerate(rows):
                if index in wanted:
                    shown[index] = _shown(index, number, row, weighed, options, table)
        page = render(
            weighed, summary, advice, options,
            heaviest=[shown[i] for i in heaviest], lightest=[shown[i] for i in lightest],
        )  # fmt: skip
        with writing(options.report):
            staging.open(options.report).write(page.encode("utf-8"))
    _print(summary, advice, options)


def render(
    weighed: Weighed,
    summary: Summary,
    advice: Advice,
    options: WeighOptions,
    *,
    heaviest: list[ShownRow],
    lightest: list[ShownRow],
) -> str:
    """Return the report as one HTML page that fetches nothing; every text from the data is escaped.

    Parameters
    ----------
    weighed, summary, advice, options
        What to report.
    heaviest, lightest : list of ShownRow
        Rows with the largest and the smallest weights.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    in_file = weighed.source == 0 if weighed.target_inside else np.zeros(len(weighed.weight), dtype=bool)
    return template.render(
        file=options.data.name,
        out=options.out.name,
        summary=summary,
        advice=advice,
        options=options,
        features=weighed.features,
        learnt=weighed.learnt,
        several=len(weighed.names) > 2,
        scores=score_chart(weighed.scores, weighed.is_target),
        weights=weight_chart(weighed.weight, in_file),
        calibration=calibration_chart(summary),
        heaviest=heaviest,
        lightest=lightest,
        command=shlex.join(["counterpoise", *sys.argv[1:]]),
        version=counterpoise.__version__,
    )


@contextmanager
def _zipped(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """Compress what is written, if the name asks for it; without a time stamp, so that runs are equal."""
    if not path.name.lower().endswith(".gz"):
        yield file
        return
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as stream:
        yield cast(BinaryIO, stream)


def _extremes(weighed: Weighed) -> tuple[list[int], list[int]]:
    """Return the rows with the largest and the smallest weights, one of each content."""
    order = np.argsort(weighed.weight, kind="stable")
    return _distinct(order[::-1], weighed.key), _distinct(order, weighed.key)


def _distinct(order: NDArray[np.int64], key: NDArray[np.uint64]) -> list[int]:
    chosen: dict[int, int] = {}
    for index in order[:5000].tolist():
        chosen.setdefault(int(key[index]), index)
        if len(chosen) == _SHOWN:
            break
    return list(chosen.values())


def _shown(index: int, number: int, row: Row, weighed: Weighed, options: WeighOptions, table: Table) -> ShownRow:
    if options.text:
        texts = [(name, text_of(row, name, path=table.path, number=number, allow_null=True)) for name in options.text]
    else:
        named = [name for name in options.features if name in row]
        texts = [(name, str(cell(row, name, path=table.path, number=number))) for name in named]
    most = _LETTERS // max(len(texts), 1)
    plain = [(name, " ".join(text[: 4 * _LETTERS].split())) for name, text in texts]
    cut = tuple((name, text if len(text) <= most else text[:most] + "…") for name, text in plain)
    place = int(weighed.source[index])
    return ShownRow(
        number, float(weighed.weight[index]), weighed.names[place], weighed.target_inside and place == 0, cut
    )


def _print(summary: Summary, advice: Advice, options: WeighOptions) -> None:
    grid = Grid(show_header=False, box=None, padding=(0, 2, 0, 0))
    grid.add_row("rows", f"{summary.rows:,} ({summary.n_target:,} target samples)")
    grid.add_row("separability", f"AUC {summary.auc:.3f} ± {1.96 * summary.auc_error:.3f}")
    grid.add_row("mean ratio", f"{summary.mean_ratio:.3f} ± {1.96 * summary.mean_error:.3f} (should be 1)")
    grid.add_row(
        "effective rows",
        f"{summary.ess:,.0f} ({summary.ess / summary.rows:.0%}), largest weight {summary.largest:.3g}",
    )
    out = Console(highlight=False, soft_wrap=True)
    out.print(grid)
    out.print(f"\n{advice.headline}", style="bold", markup=False)
    for reason in advice.reasons:
        out.print(f"  {reason}", markup=False)
    out.print(f"\nwritten: {options.out}\nreport:  {options.report}", markup=False)
