"""Laws of the ratio from class probabilities, against discrete distributions whose ratio is known exactly."""

import math

import array_api_strict
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.ratios.probability import log_mixture_ratio, log_ratio_from_log_odds, mixture_ratio

EPS = float(np.finfo(np.float64).eps)
MAKERS = {
    "numpy": lambda values: np.asarray(values, dtype=np.float64),
    "torch": lambda values: torch.tensor(values, dtype=torch.float64),
    "strict": lambda values: array_api_strict.asarray(values, dtype=array_api_strict.float64),
    "jax": lambda values: jnp.asarray(values, dtype=jnp.float32),
}


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[float], float, list[float]]:
    """Log ratios to 1 to 4 sources, up to ±800, with shares that sum to 1."""
    sources = draw(st.integers(1, 4))
    log_ratio = draw(st.lists(st.floats(-800, 800), min_size=sources, max_size=sources))
    mass = draw(st.lists(st.floats(1e-3, 1.0), min_size=sources + 1, max_size=sources + 1))
    total = math.fsum(mass)
    return log_ratio, mass[0] / total, [m / total for m in mass[1:]]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, float, np.ndarray]:
    """Discrete distributions: target and sources as rows over 5 points, and their shares."""
    sources = draw(st.integers(1, 3))
    cells = st.lists(st.floats(1e-6, 1.0), min_size=5, max_size=5)
    pmf = np.asarray([draw(cells) for _ in range(sources + 1)])
    shares = np.asarray(draw(st.lists(st.floats(0.01, 1.0), min_size=sources + 1, max_size=sources + 1)))
    shares = shares / shares.sum()
    return pmf / pmf.sum(axis=1, keepdims=True), float(shares[0]), shares[1:]


@given(mixtures())
def test_mixture_ratio_is_exact_and_finite_at_any_log_ratio(mixture):
    log_ratio, alpha, betas = mixture
    found = float(mixture_ratio(np.asarray([log_ratio]), target_share=alpha, other_shares=betas)[0])
    log_found = float(log_mixture_ratio(np.asarray([log_ratio]), target_share=alpha, other_shares=betas)[0])
    with mpmath.workdps(60):
        exact = 1 / (
            mpmath.mpf(alpha) + mpmath.fsum(map(lambda b, r: b * mpmath.exp(-mpmath.mpf(r)), betas, log_ratio))
        )
        log_exact = mpmath.log(exact)
    # The logarithm carries a rounding of its size, which exp turns into a relative error.
    room = 8 * EPS * (1.0 + abs(float(log_exact)))
    assert math.isfinite(found)
    assert 0.0 <= found <= 1.0 / alpha
    assert abs(log_found - float(log_exact)) <= room
    assert abs(found - float(exact)) <= room * float(exact) + 5e-324


@given(worlds())
def test_mixture_ratio_of_known_distributions_is_their_ratio_and_has_mean_one(world):
    pmf, alpha, betas = world
    train = alpha * pmf[0] + betas @ pmf[1:]
    log_ratio = np.log(pmf[:1] / pmf[1:]).T
    h = mixture_ratio(log_ratio, target_share=alpha, other_shares=betas.tolist())
    np.testing.assert_allclose(h, pmf[0] / train, rtol=64 * EPS)
    assert abs(float(train @ h) - 1.0) <= 64 * EPS


@given(worlds(), st.integers(1, 10**6), st.integers(1, 10**6))
def test_log_ratio_undoes_class_sizes(world, n_target, n_other):
    pmf, _, _ = world
    sources = len(pmf) - 1
    sizes = [n_other + 7 * i for i in range(sources)]
    # Bayes: a classifier trained on n_target and n_other samples has these log-odds.
    log_odds = np.stack([np.log(n_target * pmf[0]) - np.log(n * pmf[i + 1]) for i, n in enumerate(sizes)], axis=-1)
    found = log_ratio_from_log_odds(log_odds, n_target=n_target, n_other=sizes)
    np.testing.assert_allclose(found, np.log(pmf[:1] / pmf[1:]).T, rtol=0, atol=200 * EPS)


@given(mixtures(), st.floats(0.0, 50.0))
def test_mixture_ratio_grows_with_each_log_ratio(mixture, step):
    log_ratio, alpha, betas = mixture
    for i in range(len(log_ratio)):
        higher = [r + step * (j == i) for j, r in enumerate(log_ratio)]
        low, high = mixture_ratio(np.asarray([log_ratio, higher]), target_share=alpha, other_shares=betas)
        assert high >= low * (1 - 3000 * EPS)


@given(mixtures(), st.floats(0.1, 0.9))
def test_splitting_a_source_changes_nothing(mixture, part):
    log_ratio, alpha, betas = mixture
    whole = mixture_ratio(np.asarray([log_ratio]), target_share=alpha, other_shares=betas)
    split = mixture_ratio(
        np.asarray([[*log_ratio, log_ratio[-1]]]),
        target_share=alpha,
        other_shares=[*betas[:-1], betas[-1] * part, betas[-1] * (1 - part)],
    )
    np.testing.assert_allclose(split, whole, rtol=4000 * EPS)


def test_a_source_of_share_zero_is_ignored_whatever_its_ratio():
    log_ratio = np.asarray([[0.5, np.inf], [0.5, -np.inf], [0.5, np.nan]])
    found = mixture_ratio(log_ratio, target_share=0.4, other_shares=[0.6, 0.0])
    np.testing.assert_array_equal(found, np.full(3, found[0]))


def test_infinite_log_ratios_give_the_limits():
    log_ratio = np.asarray([[np.inf, np.inf], [-np.inf, 0.0], [np.inf, 0.0]])
    found = mixture_ratio(log_ratio, target_share=0.25, other_shares=[0.5, 0.25])
    np.testing.assert_allclose(found, [4.0, 0.0, 2.0], rtol=4 * EPS)
    unbounded = mixture_ratio(np.asarray([[np.inf]]), target_share=0.0, other_shares=[1.0])
    assert unbounded[0] == np.inf


def test_nan_stays_nan_in_its_row_alone():
    found = mixture_ratio(np.asarray([[np.nan, 0.0], [0.0, 0.0]]), target_share=0.5, other_shares=[0.25, 0.25])
    assert np.isnan(found[0])
    assert found[1] == 1.0


@pytest.mark.parametrize("library", sorted(MAKERS))
def test_every_library_in_the_same_out(library):
    make = MAKERS[library]
    log_ratio = make([[0.3, -2.0], [5.0, 1.0]])
    found = mixture_ratio(log_ratio, target_share=0.2, other_shares=[0.3, 0.5])
    oracle = 1.0 / (0.2 + 0.3 * np.exp([-0.3, -5.0]) + 0.5 * np.exp([2.0, -1.0]))
    shifted = log_ratio_from_log_odds(log_ratio, n_target=10, n_other=[20, 5])
    for array in (found, shifted):
        assert type(array) is type(log_ratio)
        assert array.dtype == log_ratio.dtype
    tolerance = 8 * float(np.finfo(np.asarray(log_ratio).dtype).eps)
    np.testing.assert_allclose(np.asarray(found), oracle, rtol=tolerance)
    expected = np.asarray(log_ratio) + np.log([2.0, 0.5])
    np.testing.assert_allclose(np.asarray(shifted), expected, rtol=tolerance, atol=tolerance)


def test_half_precision_is_returned_as_given():
    found = mixture_ratio(torch.zeros(3, 2, dtype=torch.bfloat16), target_share=0.5, other_shares=[0.25, 0.25])
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [1.0, 1.0, 1.0]


def test_batches_equal_rows_and_inputs_stay():
    log_ratio = np.random.default_rng(0).normal(size=(4, 3, 2))
    before = log_ratio.copy()
    log_ratio.flags.writeable = False
    whole = mixture_ratio(log_ratio, target_share=0.5, other_shares=[0.25, 0.25])
    assert whole.shape == (4, 3)
    for i in range(4):
        row = mixture_ratio(log_ratio[i], target_share=0.5, other_shares=[0.25, 0.25])
        np.testing.assert_array_equal(whole[i], row)
    np.testing.assert_array_equal(log_ratio, before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: mixture_ratio(x, target_share=0.5, other_shares=[0.5]), "other_shares has 1 shares"),
        (lambda x: mixture_ratio(x, target_share=0.5, other_shares=[0.5, 0.5]), "sum to 1.5"),
        (lambda x: mixture_ratio(x, target_share=1.5, other_shares=[-0.25, -0.25]), "1.5"),
        (lambda x: log_ratio_from_log_odds(x, n_target=0, n_other=3), "n_target is 0;"),
        (lambda x: log_ratio_from_log_odds(x, n_target=3, n_other=[3, -1]), r"n_other\[1\] is -1;"),
        (lambda x: log_ratio_from_log_odds(x, n_target=3, n_other=[3]), "n_other has 1 counts"),
    ],
)
def test_wrong_arguments_are_refused_with_their_value(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.zeros((1, 2)))


@pytest.mark.parametrize("wrong", [[[0.0]], np.zeros((1, 1), dtype=int)])
def test_what_is_no_floating_array_is_refused(wrong):
    with pytest.raises(TypeError):
        mixture_ratio(wrong, target_share=0.5, other_shares=[0.5])
