"""Laws of the diagnostics, against brute force."""

from itertools import product

import array_api_strict
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from counterpoise.diagnostics import (
    calibration_table,
    effective_sample_size,
    normalisation,
    two_sample_auc,
)

EPS = float(np.finfo(np.float64).eps)
MAKERS = {
    "numpy": lambda values: np.asarray(values, dtype=np.float64),
    "torch": lambda values: torch.tensor(values, dtype=torch.float64),
    "strict": lambda values: array_api_strict.asarray(values, dtype=array_api_strict.float64),
    "jax": lambda values: jnp.asarray(values, dtype=jnp.float32),
}
positive = arrays(np.float64, st.integers(1, 30), elements=st.floats(1e-6, 1e6))
scores = arrays(np.float64, st.integers(2, 12), elements=st.integers(-4, 4).map(float))


@given(positive)
def test_ess_lies_between_one_and_n(weights):
    size = float(effective_sample_size(weights))
    n = len(weights)
    assert 1.0 - 8 * n * EPS <= size <= n * (1.0 + 8 * n * EPS)
    exact = weights.sum() ** 2 / (weights**2).sum()
    assert size == pytest.approx(exact, rel=8 * n * EPS)


@given(positive, st.sampled_from([2.0**-600, 2.0**-30, 2.0**30, 2.0**600]))
def test_ess_has_no_scale(weights, scale):
    assert effective_sample_size(weights * scale) == effective_sample_size(weights)


@given(st.integers(1, 20), st.integers(0, 20))
def test_ess_counts_equal_weights_and_ignores_zeros(ones, zeros):
    weights = np.concatenate([np.ones(ones), np.zeros(zeros)])
    assert effective_sample_size(weights) == ones


def test_ess_of_what_are_no_weights():
    rows = np.asarray([[0.0, 0.0], [1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0]])
    np.testing.assert_array_equal(effective_sample_size(rows), [0.0, np.nan, np.nan, np.nan])


@given(scores, scores)
def test_auc_is_the_chance_to_score_higher_with_delongs_error(target, other):
    kernel = np.asarray([[(t > o) + 0.5 * (t == o) for o in other] for t in target])
    area, error = two_sample_auc(target, other)
    variance = kernel.mean(1).var(ddof=1) / len(target) + kernel.mean(0).var(ddof=1) / len(other)
    assert float(area) == pytest.approx(kernel.mean(), abs=16 * EPS)
    assert float(error) == pytest.approx(np.sqrt(variance), abs=1e-7)  # the root of a rounding error


@given(scores, scores)
def test_auc_of_exchanged_samples_is_the_complement(target, other):
    there, back = two_sample_auc(target, other), two_sample_auc(other, target)
    assert float(there.value + back.value) == pytest.approx(1.0, abs=16 * EPS)
    assert float(there.standard_error) == pytest.approx(float(back.standard_error), abs=1e-7)


@given(scores, scores)
def test_auc_depends_on_the_order_alone(target, other):
    plain, bent = two_sample_auc(target, other), two_sample_auc(np.exp(target), np.exp(other))
    assert plain == bent


def test_auc_extremes():
    low, high = np.asarray([0.0, 1.0]), np.asarray([2.0, 3.0])
    assert two_sample_auc(high, low) == (1.0, 0.0)
    assert float(two_sample_auc(low, low).value) == 0.5
    assert np.isnan(two_sample_auc(high, low[:1]).standard_error)
    assert np.isnan(two_sample_auc(np.asarray([np.nan, 1.0]), low).value)


def test_auc_error_covers():
    # 400 samples of known AUC: standardised deviations have unit variance, within 5 standard errors of it.
    generator = np.random.default_rng(0)
    truth = 0.7602499389065233  # the normal distribution function at 1/sqrt(2)
    found = [two_sample_auc(generator.normal(1, 1, 60), generator.normal(0, 1, 90)) for _ in range(400)]
    z = np.asarray([(float(e.value) - truth) / float(e.standard_error) for e in found])
    assert abs(z.mean()) < 5 / np.sqrt(400)
    assert abs((z**2).mean() - 1.0) < 5 * np.sqrt(2 / 400)


@given(arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(2, 20)), elements=st.floats(0, 100)))
def test_normalisation_is_mean_and_standard_error(ratio):
    mean, error = normalisation(ratio)
    np.testing.assert_allclose(mean, ratio.mean(-1), rtol=64 * EPS)
    np.testing.assert_allclose(error, ratio.std(-1, ddof=1) / np.sqrt(ratio.shape[-1]), rtol=1e-12, atol=1e-12)


def test_normalisation_of_one_sample_has_no_error():
    mean, error = normalisation(np.asarray([2.0]))
    assert mean == 2.0
    assert np.isnan(error)


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            arrays(np.float64, n, elements=st.floats(0, 1)),
            arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])),
        )
    ),
    st.integers(1, 12),
)
def test_calibration_bins_share_all_samples_out(sample, n_bins):
    chance, outcome = sample
    table = calibration_table(chance, outcome, n_bins=n_bins)
    size = np.asarray(table.size)
    assert size.sum() == len(chance)
    assert len(size) == min(n_bins, len(chance))
    assert size.max() - size.min() <= 1
    assert (np.diff(table.predicted) >= -4 * EPS).all()
    assert float(size @ table.predicted) == pytest.approx(chance.sum(), abs=64 * EPS * len(chance))
    assert float(size @ table.observed) == pytest.approx(outcome.sum(), abs=64 * EPS * len(chance))


def test_calibration_of_batches_equals_rows():
    generator = np.random.default_rng(1)
    chance, outcome = generator.random((3, 25)), generator.integers(0, 2, (3, 25)).astype(float)
    whole = calibration_table(chance, outcome, n_bins=4)
    for i in range(3):
        row = calibration_table(chance[i], outcome[i], n_bins=4)
        np.testing.assert_array_equal(whole.predicted[i], row.predicted)
        np.testing.assert_array_equal(whole.observed[i], row.observed)


@pytest.mark.parametrize("library", sorted(MAKERS))
def test_every_library_in_the_same_out(library):
    make = MAKERS[library]
    a, b = make([0.9, 0.4, 0.7, 0.2]), make([0.1, 0.4, 0.3, 0.0])
    outcome = make([1.0, 0.0, 1.0, 0.0])
    found = [
        effective_sample_size(a),
        *normalisation(a),
        *two_sample_auc(a, b),
        *calibration_table(a, outcome)[:2],
    ]
    for array in found:
        assert type(array) is type(a) or np.ndim(array) == 0  # numpy reduces to its scalars
        assert array.dtype == a.dtype
    values = [float(found[i]) for i in (0, 1, 3)]
    area = np.mean([(t > o) + 0.5 * (t == o) for t, o in product(*(np.asarray(x).tolist() for x in (a, b)))])
    np.testing.assert_allclose(values, [2.2**2 / 1.5, 0.55, area], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: two_sample_auc(np.zeros((2, 2)), np.zeros(2)), ValueError),
        (lambda: two_sample_auc(np.zeros(0), np.zeros(2)), ValueError),
        (lambda: calibration_table(np.zeros(3), np.zeros(3), n_bins=0), ValueError),
        (lambda: calibration_table(np.zeros(3), np.zeros(4)), ValueError),
        (lambda: effective_sample_size([1.0]), TypeError),
        (lambda: effective_sample_size(np.asarray([1, 2])), TypeError),
    ],
)
def test_wrong_arguments_are_refused(call, error):
    with pytest.raises(error):
        call()
