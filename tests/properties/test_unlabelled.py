"""No source labels, unknown shares, drifting shares, known policies: laws on distributions that are known exactly."""

import math

import numpy as np
import pytest
from array_api.backends import EAGER, gives_numpys_answer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax

import counterpoise as cp

cells = st.lists(st.floats(1e-6, 1.0), min_size=5, max_size=5).map(lambda v: np.asarray(v) / sum(v))


@given(target=cells, rest=cells, share=st.floats(0.0, 0.99))
def test_posterior_and_remainder_are_bayes(target, rest, share):
    mixture = share * target + (1 - share) * rest
    ratio = target / mixture
    posterior = cp.target_posterior(ratio, share=share)
    np.testing.assert_allclose(posterior, share * target / mixture, rtol=1e-9, atol=np.finfo(float).tiny)
    assert posterior @ mixture == pytest.approx(share, abs=1e-9)
    # 1 − αr cancels where hardly anything of the rest is left
    left = (1 - share) * rest / mixture
    np.testing.assert_allclose(
        cp.remainder_ratio(ratio, share=share)[left > 1e-4], (target / rest)[left > 1e-4], rtol=1e-9
    )


@given(target=cells, rest=cells, share=st.floats(0.1, 0.9), part=st.floats(0.0, 1.0))
def test_a_smaller_share_explains_the_mixture_as_well(target, rest, share, part):
    """The share is not identifiable: for any smaller one there is a remainder that gives the same mixture."""
    mixture = share * target + (1 - share) * rest
    smaller = part * share
    remainder = target / cp.remainder_ratio(target / mixture, share=smaller)
    assert (remainder >= 0).all() and remainder.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(smaller * target + (1 - smaller) * remainder, mixture, rtol=1e-9)


def test_what_no_ratio_can_be_is_nan_and_shares_are_checked():
    assert np.isnan(cp.target_posterior(np.array([-1.0, np.nan]), share=0.5)).all()
    assert np.isnan(cp.remainder_ratio(np.array([-1.0, np.nan]), share=0.5)).all()
    assert cp.target_posterior(np.array([np.inf]), share=0.5) == 1.0
    for function in (cp.target_posterior, cp.remainder_ratio):
        with pytest.raises(ValueError, match=r"share\[0\] is 1.5; a share in \[0, 1\] is needed"):
            function(np.ones(2), share=1.5)
        with pytest.raises(TypeError, match="ratio has dtype int64"):
            function(np.ones(2, dtype=np.int64), share=0.5)
    with pytest.raises(ValueError, match="nothing remains"):
        cp.remainder_ratio(np.ones(2), share=1.0)


@given(new=cells, old=cells, cap=st.floats(0.05, 50.0), values=st.lists(st.floats(-3, 5), min_size=5, max_size=5))
def test_truncation_is_off_by_no_more_than_it_says(new, old, cap, values):
    f = np.asarray(values)
    ratio = cp.policy_ratio(np.log(new)[:, None], np.log(old)[:, None], cap=cap).ratio
    np.testing.assert_allclose(ratio, np.minimum(new / old, cap), rtol=1e-9)
    missing = 1 - old @ ratio  # the expectation that `missing` estimates
    assert -1e-9 <= missing <= 1
    bias, tiny = old @ (ratio * f) - new @ f, 1e-9
    assert -f.max() * missing - tiny <= bias <= -f.min() * missing + tiny
    normalised = old @ (ratio * f) / (old @ ratio)
    assert abs(normalised - new @ f) <= (f.max() - f.min()) * missing + tiny


@given(new=cells, old=cells, seed=st.integers(0, 10**6))
@settings(max_examples=20)
def test_a_sequence_is_the_product_of_its_tokens_and_masks_do_not_count(new, old, seed):
    tokens = np.random.default_rng(seed).integers(0, 5, (40, 6))
    mask = np.arange(6) < np.random.default_rng(seed).integers(1, 7, 40)[:, None]
    a, b = np.where(mask, np.log(new)[tokens], np.nan), np.where(mask, np.log(old)[tokens], -np.inf)
    each = cp.policy_ratio(a, b, cap=math.inf, level="token", mask=mask)
    whole = cp.policy_ratio(a, b, cap=math.inf, mask=mask)
    assert (each.ratio[~mask] == 0).all()
    np.testing.assert_allclose(whole.ratio, np.where(mask, each.ratio, 1.0).prod(axis=1), rtol=1e-9)
    assert float(each.missing.value) == pytest.approx(1 - each.ratio[mask].mean())
    assert float(whole.truncated) == 0.0
    capped = cp.policy_ratio(a, b, cap=1.0, mask=mask)
    assert float(capped.truncated) == np.mean(whole.ratio > 1.0)
    error = capped.ratio.std(ddof=1) / math.sqrt(40)
    assert float(capped.missing.standard_error) == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("cap", [1e5, math.inf])
def test_ratios_beyond_half_precision_are_infinite_without_a_warning(cap):
    new, old = np.array([[0.0], [-1.0]], np.float16), np.array([[-12.0], [-1.0]], np.float16)
    with np.errstate(all="raise"):
        found = cp.policy_ratio(new, old, cap=cap)
    assert found.ratio.tolist() == [math.inf, 1.0]


def test_impossible_samples_are_seen():
    even = np.log(np.full((3, 2), 0.5))
    for wrong in (-np.inf, np.nan, 0.5):
        old = even.copy()
        old[1, 0] = wrong
        found = cp.policy_ratio(even, old, cap=2.0)
        assert np.isnan(found.ratio).tolist() == [False, True, False] and np.isnan(found.missing.value)
    never = even.copy()
    never[1, 0] = -np.inf  # the new policy may well refuse what the old one did
    assert cp.policy_ratio(never, even, cap=2.0).ratio.tolist() == [1.0, 0.0, 1.0]
    for cap in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="a positive number"):
            cp.policy_ratio(even, even, cap=cap)
    with pytest.raises(ValueError, match="'sequence' or 'token'"):
        cp.policy_ratio(even, even, cap=1.0, level="word")
    with pytest.raises(ValueError, match="shapes do not broadcast"):
        cp.policy_ratio(even, even[:2], cap=1.0)


def overconfident(seed, n=600, scale=2.5, shift=(0.8, -0.5, -0.3), shares=(0.3, 0.4, 0.3)):
    """Scores of a classifier whose truth is softmax(x), reported as softmax(scale·x − shift)."""
    generator = np.random.default_rng(seed)
    label = generator.choice(3, n, p=shares)
    centres = np.array([[1.5, 0.0], [-1.0, 1.0], [-1.0, -1.5]])
    x = generator.normal(centres[label], 1.0)
    true = log_softmax(np.log([0.3, 0.4, 0.3]) + x @ centres.T - (centres**2).sum(axis=1) / 2, axis=1)
    return log_softmax(scale * true - np.asarray(shift), axis=1), label, true


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_calibration_is_the_optimum_of_its_likelihood(seed):
    log_probability, label, _ = overconfident(seed, n=150)
    found = cp.fit_calibration(log_probability, label)
    centred = log_probability - log_probability.mean(axis=1, keepdims=True)

    def loss(theta):
        fit = -log_softmax(theta[0] * centred + theta[1:], axis=1)[np.arange(150), label].mean()
        return fit + ((theta - [1, 0, 0, 0]) ** 2).sum() / 300

    best = minimize(loss, np.array([1.0, 0, 0, 0]), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose([found.scale, *found.shift], best.x, atol=2e-5)
    assert float(found.shift.sum()) == pytest.approx(0.0, abs=1e-9)
    assert np.exp(cp.calibrated(found, log_probability)).sum(axis=1) == pytest.approx(1.0)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_calibration_does_not_depend_on_the_order_of_classes(seed):
    log_probability, label, _ = overconfident(seed, n=100)
    order = np.random.default_rng(seed).permutation(3)
    found = cp.fit_calibration(log_probability, label)
    moved = cp.fit_calibration(log_probability[:, order], np.argsort(order)[label])
    np.testing.assert_allclose(moved.shift, found.shift[order], atol=1e-6)
    assert float(moved.scale) == pytest.approx(float(found.scale), abs=1e-6)


def test_label_shift_needs_it():
    now, before = np.array([0.7, 0.1, 0.2]), np.array([0.3, 0.4, 0.3])
    raw, repaired = [], []
    for seed in range(5):
        held_out, label, _ = overconfident(seed, n=2000)
        unlabelled, _, _ = overconfident(seed + 100, n=2000, shares=now)
        calibration = cp.fit_calibration(held_out, label)
        for found, scores in ((raw, unlabelled), (repaired, cp.calibrated(calibration, unlabelled))):
            found.append(np.abs(cp.label_shift(scores, train_shares=before) - now).max())
    assert max(repaired) < 0.05 < 0.07 < min(raw)


def test_calibration_says_what_is_wrong():
    fine, label = np.log(np.full((4, 2), 0.5)), np.array([0, 1, 0, 1])
    with pytest.raises(TypeError, match="label has dtype float64"):
        cp.fit_calibration(fine, label.astype(float))
    for wrong in (np.zeros(4, dtype=int), np.array([0, 1, 2, 1]), np.array([0, -1, 1, 0])):
        with pytest.raises(ValueError, match="every class from 0 to 1"):
            cp.fit_calibration(fine, wrong)
    with pytest.raises(ValueError, match="every class from 0 to 299"):  # which eight bits do not hold
        cp.fit_calibration(np.log(np.full((256, 300), 1 / 300)), np.arange(256).astype(np.uint8))
    with pytest.raises(ValueError, match="NaN or infinities"):
        cp.fit_calibration(np.array([[0.0, -np.inf], [-0.7, -0.7]]), label[:2])
    with pytest.raises(ValueError, match="rows by two or more classes"):
        cp.fit_calibration(fine, label[:3])
    with pytest.raises(ValueError, match="has 3 classes, but the calibration was fitted to 2"):
        cp.calibrated(cp.fit_calibration(fine, label), np.zeros((1, 3)))


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), moved=st.floats(0.0, 0.3))
def test_a_warm_start_changes_the_way_and_not_the_end(seed, moved):
    generator = np.random.default_rng(seed)
    target, train = generator.normal(0.5, 1, (200, 3)), generator.normal(0, 1, (300, 3))
    first = cp.fit_logistic(target=target, train=train, features="quadratic", penalty=1e-2)
    again = cp.fit_logistic(target=target + moved, train=train, start=first)
    cold = cp.fit_logistic(target=target + moved, train=train, features=first.features, penalty=1e-2)
    np.testing.assert_allclose(again.coefficients, cold.coefficients, atol=1e-4)
    assert float(again.penalty) == 1e-2 and float(again.gap) <= 1e-10
    with pytest.raises(ValueError, match="leave out features, or start"):
        cp.fit_logistic(target=target, train=train, features="quadratic", start=first)
    with pytest.raises(ValueError, match="fitted by method 'gaussian'"):
        cp.fit_logistic(target=target, train=train, start=cp.fit_gaussian(target=target, train=train))


LOGS, LABEL = overconfident(0, n=40)[:2]
ON_ANY_BACKEND = {
    "target_posterior": lambda a, i: cp.target_posterior(a(np.linspace(0, 3, 9)), share=0.5),
    "remainder_ratio": lambda a, i: cp.remainder_ratio(a(np.linspace(0, 1.5, 9)), share=0.5),
    "policy_ratio": lambda a, i: cp.policy_ratio(a(LOGS), a(LOGS[::-1].copy()), cap=2.0),
    "policy_ratio, tokens": lambda a, i: cp.policy_ratio(
        a(LOGS), a(LOGS[::-1].copy()), cap=2.0, level="token", mask=i(np.arange(120).reshape(40, 3) % 4)
    ),
    "fit_calibration": lambda a, i: cp.fit_calibration(a(LOGS), i(LABEL)),
    "calibrated": lambda a, i: cp.calibrated(cp.Calibration(a(np.asarray(0.5)), a(np.zeros(3))), a(LOGS)),
}


@pytest.mark.parametrize("name", ON_ANY_BACKEND)
@pytest.mark.parametrize("kind", EAGER)
def test_every_backend_gives_numpys_answer(name, kind):
    gives_numpys_answer(ON_ANY_BACKEND[name], kind)
