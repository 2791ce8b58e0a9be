"""From numbers to tables, figures and the README's summary; nothing is computed anew."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from counterpoise_adapters.cli.verdict import Interval, paired_interval
from numpy.typing import NDArray

from .units import NOT_RUN
from .worlds import REGIMES

__all__ = ["RESULTS", "Row", "read_rows", "save_numbers", "summary", "write_report"]

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- alignment: written by python -m benchmarks.alignment -->", "<!-- alignment: end -->"
TITLES = {
    "pairs": "Thirteen worlds, pairs, linear policy",
    "lists": "Thirteen worlds, lists of four whose responses have sources of their own, linear policy",
    "real": "Real preferences, linear policy",
    "real-neural": "Real preferences, a small neural policy without early stopping",
    "gpt": "Token-level DPO of a small GPT from scratch",
    "smollm2": "DPO of SmolLM2-135M",
}
CONFIDENCE = 0.95
SHOWN = ("ERM", "target only", "KL-DRO", "reweighting", "DoRA, paper", "DoRA, released", "DoRA, scaled", "upper bound")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """All arms in one world or data set.

    Parameters
    ----------
    kind, name, title : str
        Where.
    arms : tuple of str
        Their names.
    accuracy, log_loss : array, shape (seeds, arms)
        As measured on target examples.
    gains : dict of str to Interval
        Of each arm but ERM: accuracy over ERM's, paired by seed, simultaneous over the arms of the row.
    effective_share, mean_ratio : float
        Of the label-aware ratio.
    """

    kind: str
    name: str
    title: str
    arms: tuple[str, ...]
    accuracy: Floats
    log_loss: Floats
    gains: dict[str, Interval]
    effective_share: float
    mean_ratio: float


def save_numbers(kind: str, name: str, found: dict[str, Any]) -> None:
    """Put a unit's numbers into results/<kind>.json.

    Parameters
    ----------
    kind, name : str
        Of the unit.
    found : dict
        Its result.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{kind}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = _rounded(found)
    _write(
        path, json.dumps(known, indent=None, separators=(",", ":"), ensure_ascii=False).replace('},"', '},\n"') + "\n"
    )


def read_rows(folder: Path = RESULTS) -> list[Row]:
    """Return every row whose numbers are there, in the order of the tables.

    Parameters
    ----------
    folder : Path
        With the JSON files.
    """
    rows = []
    for kind in TITLES:
        path = folder / f"{kind}.json"
        for name, found in (json.loads(path.read_text()) if path.exists() else {}).items():
            rows.append(_row(kind, name, found))
    from .real import DATASETS

    order = {name: place for place, name in enumerate([*REGIMES, *DATASETS])}
    return sorted(rows, key=lambda row: (list(TITLES).index(row.kind), order[row.name]))


def _row(kind: str, name: str, found: dict[str, Any]) -> Row:
    accuracy, loss = np.asarray(found["accuracy"]), np.asarray(found["log_loss"])
    arms = tuple(found["arms"])
    base = arms.index("ERM")
    each = 1.0 - (1.0 - CONFIDENCE) / (len(arms) - 1)
    overlap = found["shared"] / (1.0 - found["shared"])
    gains = {
        arm: paired_interval(accuracy[:, i] - accuracy[:, base], overlap, 1.0 / found["test"], each)
        for i, arm in enumerate(arms)
        if i != base
    }
    title = REGIMES[name].title if kind in ("pairs", "lists") else _dataset_title(name)
    return Row(kind, name, title, arms, accuracy, loss, gains, found["effective_share"], found["mean_ratio"])


def _dataset_title(name: str) -> str:
    from .real import DATASETS

    return DATASETS[name].title


def write_report() -> None:
    """Write tables, intervals, figures and the README's summary from the numbers on disk."""
    from .figures import draw_gains, draw_summary

    rows = read_rows()
    if not rows:
        raise FileNotFoundError(f"{RESULTS} holds no numbers yet: run python -m benchmarks.alignment")
    _write(RESULTS / "README.md", _tables(rows))
    _write_intervals(rows, RESULTS / "intervals.csv")
    for kind in TITLES:
        if mine := [row for row in rows if row.kind == kind]:
            draw_gains(mine, TITLES[kind], RESULTS / f"{kind}.png")
    draw_summary(rows, RESULTS / "summary.png")
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{README} lacks the lines {BEGIN!r} and {END!r}; put them where the summary belongs")
    _write(README, f"{before}{BEGIN}\n{summary(rows)}{END}{after}")


def summary(rows: list[Row]) -> str:
    """Return the README's summary: accuracies in a few columns, and what was gained and lost in how many rows.

    Parameters
    ----------
    rows : list of Row
        All of them.
    """
    shown = [row for row in rows if row.kind in ("pairs", "real")]
    lines = ["", "| target accuracy, % | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    lines += [f"| {row.title} | " + " | ".join(_cell(row, arm) for arm in SHOWN) + " |" for row in shown]
    lines += [
        "",
        "**Bold**: better than ERM beyond chance; *italic*: worse (paired 95 % intervals, simultaneous within a row).",
        "",
    ]
    said = (
        "Over all rows of the full tables, lists, neural policies and the GPT among them; against other arms than ERM"
    )
    lines += [said, "each interval stands alone:", ""]
    counted = [row for row in rows if row.kind in TITLES]
    for arm in ("KL-DRO", "reweighting", "DoRA, paper", "DoRA, released", "DoRA, scaled"):
        better, worse, ties = _against(counted, arm, "ERM")
        lines.append(f"- {arm} against ERM: better in {better}, worse in {worse}, no difference in {ties} rows.")
    for arm, other in (
        ("reweighting", "target only"),
        ("DoRA, scaled", "target only"),
        ("DoRA, scaled", "reweighting"),
    ):
        better, worse, ties = _against(counted, arm, other)
        lines.append(f"- {arm} against {other}: better in {better}, worse in {worse}, no difference in {ties} rows.")
    return "\n".join(lines) + "\n\n"


def _against(rows: list[Row], arm: str, other: str) -> tuple[int, int, int]:
    """Count rows where an arm's 95 % interval against another lies above 0, below it, and neither."""
    signs = []
    for row in rows:
        mine, theirs = _column(row, arm), _column(row, other)
        if mine is None or theirs is None:
            continue
        if other == "ERM":
            found = row.gains[row.arms[mine]]
        else:
            overlap = _overlap(row)
            found = paired_interval(row.accuracy[:, mine] - row.accuracy[:, theirs], overlap, 0.002, CONFIDENCE)
        signs.append((found.low > 0) - (found.high < 0))
    return signs.count(1), signs.count(-1), signs.count(0)


def _overlap(row: Row) -> float:
    shared = 0.0 if row.kind in ("pairs", "lists") else 0.3
    return shared / (1.0 - shared)


def _column(row: Row, arm: str) -> int | None:
    """Return the place of an arm; on lists a weighted arm is the one that weighs pairs."""
    for name in (arm, f"{arm}, pair product"):
        if name in row.arms:
            return row.arms.index(name)
    return None


def _cell(row: Row, arm: str) -> str:
    column = _column(row, arm)
    if column is None:
        return "–"
    text = f"{100 * row.accuracy[:, column].mean():.1f}"
    gain = row.gains.get(row.arms[column])
    if gain is None:
        return text
    return f"**{text}**" if gain.low > 0 else f"*{text}*" if gain.high < 0 else text


def _tables(rows: list[Row]) -> str:
    lines = [
        "# Does weighting pay? Every number",
        "",
        "Written by `python -m benchmarks.alignment`; intervals are in [intervals.csv](intervals.csv), every seed in",
        "the JSON files. Accuracy on target examples, %; **bold** better than ERM beyond chance, *italic* worse",
        "(paired 95 % intervals, simultaneous over the arms of a row). ESS: effective share of the examples under the",
        "label-aware ratio.",
        "",
    ]
    for kind, title in TITLES.items():
        mine = [row for row in rows if row.kind == kind]
        lines += [f"## {title}", ""]
        if not mine:
            lines += [f"Not run: {NOT_RUN.get(kind, 'no numbers yet')}.", ""]
            continue
        arms = mine[0].arms
        lines += [f"{mine[0].accuracy.shape[0]} seeds.", "", f"![Gains over ERM.]({kind}.png)", ""]
        lines += ["| | ESS | " + " | ".join(arms) + " |", "|---" * (len(arms) + 2) + "|"]
        for row in mine:
            cells = " | ".join(_cell(row, arm) for arm in arms)
            lines.append(f"| {row.title} | {row.effective_share:.2f} | {cells} |")
        lines += ["", "Log-loss, nats:", "", "| | " + " | ".join(arms) + " |", "|---" * (len(arms) + 1) + "|"]
        for row in mine:
            cells = " | ".join(f"{value:.3f}" for value in row.log_loss.mean(axis=0))
            lines.append(f"| {row.title} | {cells} |")
        lines.append("")
    return "\n".join(lines)


def _write_intervals(rows: list[Row], path: Path) -> None:
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "name", "arm", "accuracy", "log_loss", "gain", "low", "high"])
        for row in rows:
            for i, arm in enumerate(row.arms):
                gain = row.gains.get(arm)
                found = ["", "", ""] if gain is None else [f"{v:.5f}" for v in (gain.mean, gain.low, gain.high)]
                means = [f"{array[:, i].mean():.5f}" for array in (row.accuracy, row.log_loss)]
                writer.writerow([row.kind, row.name, arm, *means, *found])
    os.replace(unfinished, path)


def _rounded(found: Any) -> Any:
    if isinstance(found, float):
        return round(found, 6)
    if isinstance(found, list):
        return [_rounded(entry) for entry in found]
    if isinstance(found, dict):
        return {key: _rounded(entry) for key, entry in found.items()}
    return found


def _write(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
