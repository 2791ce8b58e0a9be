"""Print advice as a table and a verdict, or as JSON, and write its page."""

import dataclasses
import json
import math
import sys

from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from counterpoise_adapters.advise import Advice, Score
from counterpoise_adapters.advise._candidates import Candidate

from .advising import AdviseOptions, Rows
from .report import fill
from .staging import Staging, writing

__all__ = ["amounts", "as_json", "write_advice"]


def write_advice(advice: Advice, rows: Rows, options: AdviseOptions) -> None:
    """Write the page, and print the table or the JSON.

    Parameters
    ----------
    advice : Advice
        What was found.
    rows : Rows
        What it was found on.
    options : AdviseOptions
        From the command line.
    """
    page = fill(
        "advice.html.j2", file=options.data.name, target=rows.names[0], advice=advice, found=advice.evidence,
        options=options, total=rows.total, amounts=amounts, chart=gain_chart(advice),
    )  # fmt: skip
    with Staging() as staging, writing(options.report):
        staging.open(options.report).write(page.encode("utf-8"))
    if options.json:
        sys.stdout.write(as_json(advice) + "\n")
        return
    screen = Console(highlight=False, soft_wrap=True)
    if not screen.is_terminal:
        screen.width = 110  # a pipe or file has no width of its own
    screen.print(_table(advice, rows, options))
    screen.print(advice.headline, style="bold", markup=False)
    for reason in advice.reasons:
        screen.print(f"  {reason}", markup=False)
    screen.print(f"\nreport: {options.report}", markup=False)


def as_json(advice: Advice) -> str:
    """Return the advice as JSON: the same names as in Python; what is not a number is null.

    Parameters
    ----------
    advice : Advice
        What was found.
    """
    return json.dumps(_plain(dataclasses.asdict(advice)), indent=2, ensure_ascii=False, allow_nan=False)


def amounts(candidate: Candidate) -> str:
    """Return a candidate's amounts in words.

    Parameters
    ----------
    candidate : Candidate
        One way to train.

    Examples
    --------
    >>> amounts(Candidate("reweighting", l2=0.01, power=0.5))
    'ratio^0.5, L2 0.01'
    """
    power = [] if candidate.power is None else ["ratio" if candidate.power == 1.0 else f"ratio^{candidate.power:g}"]
    penalty = [] if candidate.penalty is None else [f"penalty {candidate.penalty:g}"]
    return ", ".join([*power, *penalty, f"L2 {candidate.l2:g}"])


def gain_chart(advice: Advice) -> Markup:
    """Draw each arm's gain over ERM in held-out log-loss, with one standard error to either side.

    Parameters
    ----------
    advice : Advice
        What was found. No text from the data enters.
    """
    others = advice.scores[1:]
    reach = max([abs(s.gain) + s.standard_error for s in others] + [1e-3]) * 1.1
    left, width, step = 150.0, 400.0, 34.0
    bottom = step * len(others) + 12.0

    def at(value: float) -> float:
        return left + width * (0.5 + 0.5 * value / reach)

    parts = [f'<line class="mark" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="4" y2="{bottom:.1f}"/>']
    for place, score in enumerate(others):
        y = 22.0 + step * place
        ends = (at(score.gain - score.standard_error), at(score.gain + score.standard_error))
        parts.append(f'<text x="{left - 12:.0f}" y="{y + 4:.1f}" text-anchor="end">{score.candidate.arm}</text>')
        parts.append(f'<line class="whisker" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<circle class="dot" cx="{at(score.gain):.1f}" cy="{y:.1f}" r="5"/>')
    ticks = [-reach / 1.1, 0.0, reach / 1.1]
    parts += [f'<text x="{at(t):.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{t:+.3f}</text>' for t in ticks]
    size = f"0 0 {left + width + 20:.0f} {bottom + 28:.0f}"
    return Markup(f'<svg viewBox="{size}" role="img" aria-label="gains over plain training">{"".join(parts)}</svg>')


def _table(advice: Advice, rows: Rows, options: AdviseOptions) -> Grid:
    found = advice.evidence
    drawn = "" if found.rows == rows.total else f", drawn from {rows.total:,}"
    title = f"{options.data.name}: {found.rows:,} rows{drawn}; target rows: {found.n_target:,} ({rows.names[0]})"
    grid = Grid(
        title=escape(title),
        caption=f"target rows held out in {options.folds} folds, {options.repeats} times; ± one standard error of the "
        "paired difference",
        title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    for head in ("", "trained by", "amounts"):
        grid.add_column(head)
    for head in ("accuracy", "log-loss", "gain over ERM, nats"):
        grid.add_column(head, justify="right")
    for score in advice.scores:
        gain = "" if score is advice.scores[0] else f"{score.gain:+.4f} ± {score.standard_error:.4f}"
        grid.add_row(*_cells(score, advice, gain), style="bold" if score == advice.recommended else None)
    return grid


def _cells(score: Score, advice: Advice, gain: str) -> tuple[str, ...]:
    mark = "→" if score == advice.recommended else ""
    numbers = (f"{score.accuracy:.3f}", f"{score.log_loss:.3f}", gain)
    return (mark, score.candidate.arm, amounts(score.candidate), *numbers)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
