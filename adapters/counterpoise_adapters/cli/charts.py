"""Charts as inline SVG: numbers in, markup out. No text from the data enters."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .summary import Summary

__all__ = ["calibration_chart", "score_chart", "weight_chart"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 400.0, 290.0, 44.0, 46.0, 30.0, 14.0


def score_chart(scores: Floats, is_target: Mask, count: Floats | None = None) -> Markup:
    """Draw how far apart target and other samples are: their densities over the out-of-fold log-odds.

    Parameters
    ----------
    scores : array, shape (m,)
        Log-odds.
    is_target : array of bool, shape (m,)
        Which are target samples.
    count : array, shape (m,), optional
        How many samples each entry stands for; one by default.
    """
    count = np.ones(len(scores)) if count is None else count
    least, lower, middle, upper, most = _quantiles(scores, count, [0.002, 0.05, 0.5, 0.95, 0.998])
    # A few rows far out would press all others into one bin; they are drawn at the edge.
    low, high = max(least, middle - 3.0 * (middle - lower)), min(most, middle + 3.0 * (upper - middle))
    low, high = (low, high) if high - low > 1e-6 else (low - 1.0, high + 1.0)
    edges = np.linspace(low, high, 49)
    kept = np.clip(scores, low, high)
    heights = [
        np.histogram(kept[mask], edges, weights=count[mask])[0] / max(float(count[mask].sum()), 1.0)
        for mask in (~is_target, is_target)
    ]
    peak = max(float(h.max()) for h in heights)
    centres = (edges[:-1] + edges[1:]) / 2
    frame = _Frame((low, high), (0.0, 1.06 * peak))
    body = "".join(
        frame.area(centres, _smooth(height), name) for name, height in zip(("other", "target"), heights, strict=True)
    )
    ticks = _round_ticks(low, high)
    return frame.svg(body, ticks, [f"{t:g}" for t in ticks], "log-odds of being a target row", (), "share of rows")


def weight_chart(weight: Floats, is_target: Mask, count: Floats | None = None) -> Markup:
    """Draw the histogram of the weights on a logarithmic axis, target rows stacked on the others.

    Parameters
    ----------
    weight : array, shape (n,)
        Mean 1.
    is_target : array of bool, shape (n,)
        Which rows are target rows.
    count : array, shape (n,), optional
        How many rows each entry stands for; one by default.
    """
    count = np.ones(len(weight)) if count is None else count
    lowest = max(float(weight.min()), 1e-3)
    low, high = math.log10(lowest) - 0.05, math.log10(float(weight.max())) + 0.05
    edges = np.linspace(min(low, -0.3), max(high, 0.3), 41)
    place = np.log10(np.maximum(weight, lowest))
    others, targets = (np.histogram(place[mask], edges, weights=count[mask])[0] for mask in (~is_target, is_target))
    frame = _Frame((float(edges[0]), float(edges[-1])), (0.0, 1.08 * float((others + targets).max())))
    bars = [frame.bar(edges[i], edges[i + 1], 0.0, others[i], "other") for i in range(40)]
    bars += [frame.bar(edges[i], edges[i + 1], others[i], others[i] + targets[i], "target") for i in range(40)]
    ticks = [math.log10(m * 10.0**e) for e in range(-3, 7) for m in (1, 2, 5)]
    ticks = [t for t in ticks if edges[0] <= t <= edges[-1]]
    if len(ticks) > 7:
        ticks = [t for t in ticks if abs(t - round(t)) < 1e-9]
    marks = frame.line(0.0, 0.0, 0.0, frame.top, "mark")
    labels = [f"{10.0**t:.3g}" for t in ticks]
    if float(weight.min()) < lowest and ticks and labels[0] == "0.001":
        labels[0] = "≤0.001"
    rows = [t for t in _round_ticks(0.0, frame.top, most=4) if t > 0]
    return frame.svg("".join(bars) + marks, ticks, labels, "weight (mean 1, logarithmic)", rows, "rows")


def calibration_chart(summary: Summary) -> Markup:
    """Draw predicted against observed frequencies, with 95 % intervals of the observed ones.

    Parameters
    ----------
    summary : Summary
        With the calibration table.
    """
    reach = min(1.0, 1.15 * float(max(summary.predicted.max(), summary.observed.max(), 0.02)))
    frame = _Frame((0.0, reach), (0.0, reach))
    body = frame.line(0.0, 0.0, reach, reach, "mark")
    points = list(zip(summary.predicted.tolist(), summary.observed.tolist(), summary.bin_size, strict=True))
    for p, observed, size in points:
        half = 1.96 * math.sqrt(max(observed * (1.0 - observed), 0.25 / size) / size)
        body += frame.line(p, max(observed - half, 0.0), p, min(observed + half, reach), "whisker")
    body += frame.path([(p, observed) for p, observed, _ in points], "curve")
    body += "".join(frame.dot(p, observed) for p, observed, _ in points)
    ticks = _round_ticks(0.0, reach)
    labels = [f"{t:.3g}" for t in ticks]
    return frame.svg(body, ticks, labels, "predicted share of target rows", ticks[1:], "observed")


def _quantiles(values: Floats, count: Floats, at: list[float]) -> list[float]:
    """Return quantiles of values of which each counts several times, between the middles of its steps."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(count[order]) - count[order] / 2
    return [float(np.interp(q * count.sum(), reached, values[order])) for q in at]


class _Frame:
    """A plotting area with linear axes.

    Parameters
    ----------
    x, y : pair of float
        Limits of the axes.
    """

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x = x
        self._y = y
        self.top = y[1]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _BOTTOM - _TOP),
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
        (a, b), (c, d) = self.at(x1, y1), self.at(x2, y2)
        return f'<line class="{kind}" x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}"/>'

    def bar(self, x1: float, x2: float, y1: float, y2: float, kind: str) -> str:
        if y2 <= y1:
            return ""
        (a, b), (c, d) = self.at(x1, y2), self.at(x2, y1)
        size = f'width="{c - a - 1:.1f}" height="{d - b:.1f}"'
        return f'<rect class="{kind}" x="{a + 0.5:.1f}" y="{b:.1f}" {size}/>'

    def path(self, points: Sequence[tuple[float, float]], kind: str, *, close: bool = False) -> str:
        steps = " L".join(f"{a:.1f},{b:.1f}" for a, b in (self.at(x, y) for x, y in points))
        return f'<path class="{kind}" d="M{steps}{" Z" if close else ""}"/>'

    def area(self, x: Floats, y: Floats, kind: str) -> str:
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        closed = [(points[0][0], 0.0), *points, (points[-1][0], 0.0)]
        return self.path(closed, f"{kind} area", close=True) + self.path(points, f"{kind} edge")

    def dot(self, x: float, y: float) -> str:
        a, b = self.at(x, y)
        return f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="4"/>'

    def svg(
        self, body: str, x_ticks: Sequence[float], x_labels: Sequence[str], x_name: str,
        y_ticks: Sequence[float], y_name: str,
    ) -> Markup:  # fmt: skip
        """Put axes around the body."""
        floor = self._y[0]
        parts = [self.line(self._x[0], y, self._x[1], y, "grid") for y in y_ticks]
        parts += [body, self.line(self._x[0], floor, self._x[1], floor, "axis")]
        for x, label in zip(x_ticks, x_labels, strict=True):
            a, b = self.at(x, floor)
            parts.append(f'<text x="{a:.1f}" y="{b + 16:.1f}" text-anchor="middle">{label}</text>')
        for y in y_ticks:
            a, b = self.at(self._x[0], y)
            parts.append(f'<text x="{a - 6:.1f}" y="{b + 4:.1f}" text-anchor="end">{_short(y)}</text>')
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        parts.append(f'<text class="name" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{x_name}</text>')
        parts.append(f'<text class="name" x="{_LEFT - 34}" y="{_TOP - 14}">{y_name}</text>')
        title = f"{y_name} over {x_name}"
        box = f'viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}"'
        return Markup(f'<svg {box} role="img" aria-label="{title}">{"".join(parts)}</svg>')


def _smooth(heights: Floats) -> Floats:
    """Return a light running mean, the same mass under it."""
    return np.convolve(heights, np.asarray([0.25, 0.5, 0.25]), mode="same")


def _round_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Return up to ``most`` round numbers between the limits.

    Examples
    --------
    >>> _round_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    """Return a number for an axis: 12000 as 12k."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
