"""The benchmark's results as Markdown: a table of each quantity, and what ours won."""

from typing import Any

import numpy as np

Row = dict[str, Any]
KINDS = ("uLSIF", "RuLSIF", "KLIEP")
COSTS = ("seconds", "mib")
TIE = 1e-3
"""Errors below it count as equal: where the samples are of one distribution, everything is nearly right."""


def table(rows: list[Row], key: str) -> str:
    """Return one quantity, methods down and problems across, then the methods' median cost."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    lines = [f"| | {' | '.join(problems)} | s | MiB |", "|---" * (len(problems) + 3) + "|"]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["problem"]: row for row in rows if row["method"] == method}
        cells = [_cell(own[problem][key], own[problem]["status"]) for problem in problems]
        seconds, memory = (np.median([row[k] for row in own.values() if row[k] == row[k]] or [np.nan]) for k in COSTS)
        lines.append(f"| {' | '.join([method, *cells, f'{seconds:.2f}', f'{memory:.0f}'])} |")
    return "\n".join(lines)


def _cell(value: float, status: str) -> str:
    if not np.isfinite(value):
        return "fails" if status == "ok" else status
    return f"{value:.4f}" if value < 100 else f"{value:.0e}"


def wins(rows: list[Row]) -> str:
    """Count the problems on which ours has at most the others' error (a relative ratio meets relative ones only)."""
    plain = [row for row in rows if "RuLSIF" not in row["method"]]
    dedicated = [row for row in plain if not row["method"].startswith("sklearn")]
    lines = [
        _held("auto", dedicated, 1.0, "at or below the best dedicated library"),
        _held("auto", plain, 1.25, "within 1.25 times the best of everything"),
    ]
    for kind in KINDS:
        same = [row for row in rows if row["method"].endswith(f" {kind}")]
        lines.append(_held(kind, same, 1.0, "at or below every other implementation"))
    return "\n".join(lines)


def _held(ours: str, rows: list[Row], factor: float, says: str) -> str:
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    lost = []
    for problem in problems:
        errors = {row["method"]: row["nmse"] for row in rows if row["problem"] == problem}
        others = [e for name, e in errors.items() if not name.startswith("counterpoise") and np.isfinite(e)]
        if others and not errors[f"counterpoise {ours}"] <= max(factor * min(others), TIE):
            lost.append(problem)
    return f"- {ours} {says}: {len(problems) - len(lost)} of {len(problems)}; not on: {', '.join(lost) or 'none'}"
