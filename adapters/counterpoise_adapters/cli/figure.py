"""The picture of a comparison: what every way to train gains over plain training, with its interval."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import BinaryIO

from .arms import ARMS, BASELINES
from .errors import InputError
from .verdict import Comparison

__all__ = ["draw_comparisons", "require_matplotlib"]

_INK, _GRID, _GAIN, _LOSS, _EVEN = "#1f2933", "#d9dee3", "#1b7f5c", "#b3372f", "#7a8691"


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

    figure = Figure(figsize=(4.9 * len(found), 3.1), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for index, (panel, (title, comparison)) in enumerate(zip(panels, found.items(), strict=True)):
        _draw(panel, title, comparison, named=index == 0)
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
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=_INK, annotation_clip=False,
        )  # fmt: skip
    panel.set_yticks(range(len(rows)), [names[i] for i in reversed(rows)])
    panel.set_ylim(-0.6, len(rows) - 0.4)
    panel.set_title(f"{title}\nERM {100 * comparison.accuracy[:, base].mean():.1f} %", fontsize=10, color=_INK)
    panel.set_xlabel("gain in target accuracy over ERM, points", fontsize=9)
    panel.tick_params(axis="y", length=0, labelleft=named)
    panel.grid(axis="x", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
