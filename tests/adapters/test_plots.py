"""Pictures hold the numbers that they are of."""

import numpy as np
import pytest

import counterpoise as cp

pytest.importorskip("matplotlib")
from counterpoise_adapters.plots import calibration_plot, love_plot, tail_plot


def points(figure):
    return [line.get_xydata() for line in figure.axes[0].get_lines()]


def test_love_plot_shows_the_largest_differences_in_order(tmp_path):
    table = cp.BalanceTable(np.array([0.1, -0.5, 0.3]), np.array([0.0, 0.1, -0.2]))
    figure = love_plot(table, names=["a", "b", "c"], most=2)
    before, after, *_ = points(figure)
    np.testing.assert_allclose(before, [[0.3, 0], [0.5, 1]])
    np.testing.assert_allclose(after, [[0.2, 0], [0.1, 1]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["c", "b"]
    figure.savefig(tmp_path / "love.png")
    assert (tmp_path / "love.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="names has 1 entries for 3 features"):
        love_plot(table, names=["a"])


def test_calibration_plot_shows_the_bins():
    table = cp.calibration_table(np.linspace(0.05, 0.95, 40), (np.arange(40) % 2).astype(float), n_bins=4)
    drawn = points(calibration_plot(table))[1]
    np.testing.assert_allclose(drawn, np.column_stack([table.predicted, table.observed]))


def test_tail_plot_counts_rows_and_refuses_nothing():
    (drawn,) = points(tail_plot(np.array([0.0, 1.0, 3.0, np.inf])))
    np.testing.assert_allclose(drawn, [[1.5, 0.5], [0.5, 1.0]])
    with pytest.raises(ValueError, match="nothing to draw"):
        tail_plot(np.zeros(3))
