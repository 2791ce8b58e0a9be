"""Write the weighed file and its report, and print a summary."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Grid

import counterpoise

from .advice import Advice, advise
from .charts import calibration_chart, score_chart, weight_chart
from .files import Table, zipped
from .options import WeighOptions
from .progress import watched
from .rows import Row, shown_texts
from .staging import Staging, writing
from .summary import Summary, summarise
from .weighing import Weighed

__all__ = ["ShownRow", "fill", "print_summary", "render", "write_results"]

_SHOWN = 8  # rows with the largest and with the smallest weights


@dataclass(frozen=True)
class ShownRow:
    """A row in the report: where it stands, what it weighs, and what it says."""

    where: str
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
    advice = advise(summary, cap=options.cap)
    columns = {
        options.prefix + "ratio": weighed.ratio,
        options.prefix + "weight": weighed.weight,
        options.prefix + "log_odds": weighed.log_odds,
    }
    heaviest, lightest = _extremes(weighed)
    wanted = {*heaviest, *lightest}
    shown: dict[int, ShownRow] = {}
    with Staging() as staging:
        with writing(options.out), zipped(staging.open(options.out), options.out) as sink:
            rows = watched(table.copy(sink, columns), "writing", total=len(weighed.weight))
            for index, (number, row) in enumerate(rows):
                if index in wanted:
                    shown[index] = _shown(index, number, row, weighed, options, table)
        in_file = weighed.source == 0 if weighed.target_inside else np.zeros(len(weighed.weight), dtype=bool)
        charts = (
            score_chart(weighed.scores, weighed.is_target), weight_chart(weighed.weight, in_file),
            calibration_chart(summary),
        )  # fmt: skip
        page = render(
            summary, advice, options, features=weighed.features, learnt=weighed.learnt, charts=charts,
            heaviest=[shown[i] for i in heaviest], lightest=[shown[i] for i in lightest],
        )  # fmt: skip
        with writing(options.report):
            staging.open(options.report).write(page.encode("utf-8"))
    print_summary(summary, advice, options)


def render(
    summary: Summary,
    advice: Advice,
    options: WeighOptions,
    *,
    features: str,
    learnt: int,
    charts: tuple[Markup, Markup, Markup],
    heaviest: list[ShownRow],
    lightest: list[ShownRow],
    set_aside: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the report as one HTML page that fetches nothing; every text from the data is escaped.

    Parameters
    ----------
    summary, advice, options
        What to report.
    features : str
        What the rows were seen by.
    learnt : int
        Number of rows that the models were fitted on.
    charts : tuple of three Markup
        Of scores, weights and calibration.
    heaviest, lightest : list of ShownRow
        Rows with the largest and the smallest weights.
    set_aside : sequence of pairs of str
        Shards that were left out, and why.
    """
    return fill(
        "report.html.j2",
        file=options.data.name,
        out=options.out.name,
        summary=summary,
        advice=advice,
        options=options,
        features=features,
        learnt=learnt,
        several=summary.n_sources > 1,
        scores=charts[0],
        weights=charts[1],
        calibration=charts[2],
        heaviest=heaviest,
        lightest=lightest,
        set_aside=set_aside,
    )


def fill(template: str, **values: object) -> str:
    """Return a page of this package, with the common style, the command line and the version filled in.

    Parameters
    ----------
    template : str
        Name of its file.
    **values
        What else it shows; text is escaped.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    here = files(__package__)
    page = environment.from_string(here.joinpath(template).read_text(encoding="utf-8"))
    return page.render(
        style=Markup(here.joinpath("report.css").read_text(encoding="utf-8")),
        command=shlex.join(["counterpoise", *sys.argv[1:]]),
        version=counterpoise.__version__,
        **values,
    )


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
    place = int(weighed.source[index])
    return ShownRow(
        f"row {number:,}", float(weighed.weight[index]), weighed.names[place], weighed.target_inside and place == 0,
        shown_texts(row, options.text, options.features, path=table.path, number=number),
    )  # fmt: skip


def print_summary(summary: Summary, advice: Advice, options: WeighOptions) -> None:
    """Print the numbers and the advice.

    Parameters
    ----------
    summary, advice, options
        What to print.
    """
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
