"""The picture of a comparison: what every way to train gains over plain training, with its interval."""

from collections.abc import Mapping
from importlib.util import find_spec
from textwrap import fill
from typing import BinaryIO

from .arms import ARMS, BASELINES
from .errors import InputError
from .verdict import Comparison

__all__ = ["draw_comparisons", "require_matplotlib"]

_INK, _GRID, _GAIN, _LOSS, _EVEN = "#1f2933", "#d9dee3", "#1b7f5c", "#b3372f", "#7a8691"
TITLE = 24  # characters a line


def require_matplotlib() -> None:
    """Refuse early, before any work, where there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise InputError("the figure needs matplotlib: pip install 'counterpoise[plots]'")


def draw_comparisons(found: Mapping[str, Comparison], file: BinaryIO) -> None:
    """Draw one panel per comparison: gains in accuracy over ERM, with simultaneous 95 % intervals.

    Parameters
    ----------
    found : mapping of str to Comparison
        Title of the panel, and what it shows.
    file : binary file
        Gets a PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # a page shows it some nine inches wide: what is drawn wider shrinks, and its text with it
    figure = Figure(figsize=(1.6 + 2.7 * len(found), 3.9), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for index, (panel, (title, comparison)) in enumerate(zip(panels, found.items(), strict=True)):
        _draw(panel, title, comparison, named=index == 0)
    figure.supxlabel("gain in target accuracy over ERM, points", fontsize=11, color=_INK)
    figure.savefig(file, format="png", metadata={"Software": None})


def _draw(panel: object, title: str, comparison: Comparison, *, named: bool) -> None:
    from matplotlib.axes import Axes

    assert isinstance(panel, Axes)
    names = [arm.name for arm in ARMS]
    base = names.index("ERM")
    rows = [i for i in range(len(names)) if i != base]
    panel.axvline(0.0, color=_INK, linewidth=1.0)
    for height, i in enumerate(reversed(rows)):
        interval = comparison.against["ERM"][i]
        assert interval is not None  # ERM itself is not among the rows
        colour = _GAIN if interval.low > 0 else _LOSS if interval.high < 0 else _EVEN
        marker = "s" if names[i] in BASELINES else "o"
        panel.plot([100 * interval.low, 100 * interval.high], [height, height], color=colour, linewidth=2.2)
        panel.plot(100 * interval.mean, height, marker, color=colour, markersize=6.5)
        panel.annotate(
            f"{100 * comparison.accuracy[:, i].mean():.1f} %", (1.0, height), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=10, color=_INK, annotation_clip=False,
        )  # fmt: skip
    panel.set_yticks(range(len(rows)), [names[i] for i in reversed(rows)])
    panel.set_ylim(-0.6, len(rows) - 0.4)
    head = f"{fill(title, TITLE)}\nERM {100 * comparison.accuracy[:, base].mean():.1f} %"
    panel.set_title(head, fontsize=11, color=_INK)
    panel.tick_params(axis="y", length=0, labelleft=named, labelsize=11)
    panel.tick_params(axis="x", labelsize=10)
    panel.grid(axis="x", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
