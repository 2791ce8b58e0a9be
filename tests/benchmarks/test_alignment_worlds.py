"""The worlds of the comparison are what their descriptions say."""

import dataclasses

import numpy as np
import pytest

import counterpoise as cp
from benchmarks.alignment.worlds import DIMENSIONS, REGIMES, draw_lists, draw_pairs, true_log_ratio

every = pytest.mark.parametrize("name", REGIMES)


def test_there_are_thirteen():
    assert len(REGIMES) == 13


@every
def test_pairs_have_their_sources_and_are_drawn_again_from_the_same_seed(name):
    regime = REGIMES[name]
    draw, again = draw_pairs(regime, 3, test=50), draw_pairs(regime, 3, test=50)
    assert draw.items.shape == (sum(regime.counts), 2, DIMENSIONS) and draw.test.shape == (50, 2, DIMENSIONS)
    np.testing.assert_array_equal(np.bincount(draw.source), regime.counts)
    np.testing.assert_array_equal(draw.items, again.items)
    assert (draw_pairs(regime, 4, test=50).items != draw.items).all()


@every
def test_lists_mix_their_sources(name):
    regime = REGIMES[name]
    draw = draw_lists(regime, 3, test=50)
    assert draw.items.shape == (*draw.source.shape, DIMENSIONS)
    shares = np.bincount(draw.source.ravel()) / draw.source.size
    spread = 5 * np.sqrt(0.25 / draw.source.size)
    np.testing.assert_allclose(shares, np.asarray(regime.counts) / sum(regime.counts), atol=spread)


def test_noise_alone_parts_the_labelled_test_lists_from_the_true_order():
    draw = draw_lists(REGIMES["no shift"], 0, test=400)
    np.testing.assert_allclose(np.sort(draw.test, axis=1), np.sort(draw.test_labelled, axis=1))
    utility = 2.0 * draw.test[..., 0]
    assert (np.diff(utility, axis=1) <= 0).all()
    assert 0.5 < (np.diff(2.0 * draw.test_labelled[..., 0], axis=1) <= 0).mean() < 1.0


def test_flips_turn_their_share_of_labels_and_no_other():
    regime = dataclasses.replace(REGIMES["no shift"], counts=(20_000, 20_000), distance=(0.0,), bias=(0.0,))
    right = {}
    for share in (0.0, 0.4):
        draw = draw_pairs(dataclasses.replace(regime, flips=(0.0, share)), 0, test=1)
        agree = draw.items[:, 0, 0] > draw.items[:, 1, 0]
        right[share] = [agree[draw.source == s].mean() for s in (0, 1)]
    assert right[0.4][0] == pytest.approx(right[0.0][0], abs=0.01)
    assert right[0.4][1] == pytest.approx(0.6 * right[0.0][1] + 0.4 * (1 - right[0.0][1]), abs=0.02)


@pytest.mark.parametrize("name", ["covariate", "far", "heavy tails"])
def test_the_true_ratio_has_mean_one_under_the_mixture(name):
    regime = dataclasses.replace(REGIMES[name], counts=(40_000, 50_000, 60_000))
    draw = draw_pairs(regime, 1, test=1)
    share, *others = np.asarray(regime.counts) / sum(regime.counts)
    ratio = cp.mixture_ratio(true_log_ratio(regime, draw.items[:, 0]), target_share=share, other_shares=others)
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)
