"""Pictures of the tables: what every arm gains over plain training, with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from .report import Row

__all__ = ["draw_gains", "draw_summary"]

INK, GRID, GAIN, LOSS, EVEN = "#1f2933", "#d9dee3", "#1b7f5c", "#b3372f", "#7a8691"
SUMMARY = ("target only", "KL-DRO", "reweighting", "DoRA, paper", "DoRA, scaled")


def draw_gains(rows: list[Row], title: str, path: Path) -> None:
    """Draw a table of gains as colours with numbers; a dot marks an interval that holds 0.

    Parameters
    ----------
    rows : list of Row
        Of one kind.
    title : str
        Of the figure.
    path : Path
        Gets a PNG.
    """
    arms = [arm for arm in rows[0].arms if arm != "ERM"]
    gains = np.array([[100 * row.gains[arm].mean for arm in arms] for row in rows])
    figure = Figure(figsize=(3.2 + 0.72 * len(arms), 2.0 + 0.36 * len(rows)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    bound = max(5.0, float(np.abs(gains).max()))
    panel.imshow(gains, cmap="RdYlGn", vmin=-bound, vmax=bound, aspect="auto", alpha=0.75)
    for y, row in enumerate(rows):
        for x, arm in enumerate(arms):
            found = row.gains[arm]
            unsure = " ·" if found.low <= 0 <= found.high else ""
            panel.text(x, y, f"{100 * found.mean:+.1f}{unsure}", ha="center", va="center", fontsize=7.5, color=INK)
    labels = [f"{row.title}  ({100 * row.accuracy[:, row.arms.index('ERM')].mean():.0f} %)" for row in rows]
    panel.set_yticks(range(len(rows)), labels, fontsize=8)
    panel.set_xticks(range(len(arms)), arms, rotation=40, ha="right", fontsize=8)
    panel.set_title(f"{title}\ngain in target accuracy over ERM (in brackets), points; · not beyond chance", fontsize=9)
    panel.tick_params(length=0)
    _save(figure, path)


def draw_summary(rows: list[Row], path: Path) -> None:
    """Draw gains with their intervals for the arms that most people choose between, pairs and real data.

    Parameters
    ----------
    rows : list of Row
        All of them.
    path : Path
        Gets a PNG.
    """
    shown = [row for row in rows if row.kind in ("pairs", "real")]
    figure = Figure(figsize=(3.4 + 1.9 * len(SUMMARY), 1.2 + 0.3 * len(shown)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(SUMMARY), sharex=True, sharey=True, squeeze=False)[0]
    for panel, arm in zip(panels, SUMMARY, strict=True):
        _intervals(panel, shown, arm)
    panels[0].set_yticks(range(len(shown)), [row.title for row in reversed(shown)], fontsize=8)
    _save(figure, path)


def _intervals(panel: Any, rows: list[Row], arm: str) -> None:
    panel.axvline(0.0, color=INK, linewidth=1.0)
    for height, row in enumerate(reversed(rows)):
        found = row.gains[arm]
        colour = GAIN if found.low > 0 else LOSS if found.high < 0 else EVEN
        panel.plot([100 * found.low, 100 * found.high], [height, height], color=colour, linewidth=2.0)
        panel.plot(100 * found.mean, height, "o", color=colour, markersize=5)
    panel.set_title(arm, fontsize=9, color=INK)
    panel.set_xlabel("points over ERM", fontsize=8)
    panel.grid(axis="x", color=GRID, linewidth=0.8)
    panel.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    with path.open("wb") as file:
        figure.savefig(file, format="png", metadata={"Software": None})
