"""What callers really pass: numpy's scalars as numbers, masked arrays, amounts and ratios beyond the dtype."""

import functools
import math
import warnings

import numpy as np
import pytest
from formulas import DIVERGENCES, SMOOTH
from hypothesis import given
from hypothesis import strategies as st

import counterpoise as cp

LOSSES = np.array([1.0, 3.0, 1.5])
RATIO = np.array([0.5, 1.0, 1.5])
ROWS = np.random.default_rng(0).normal(size=(30, 1))


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


NUMBERS = {
    "penalty": (lambda n: cp.penalized(LOSSES, cp.KL(), n).weights, 2),
    "radius": (lambda n: cp.constrained(LOSSES, cp.KL(), n / 8).weights, 2),
    "smoothing": (lambda n: cp.cvar(LOSSES, 0.5, smoothing=n).weights, 2),
    "exponent": (lambda n: cp.penalized(LOSSES, cp.CressieRead(n), 1.0).weights, 3),
    "cap": (lambda n: cp.project_capped_simplex(LOSSES, cap=n), 2),
    "spreads": (lambda n: cp.scaled_dora(LOSSES, RATIO, spreads=n).weights, 2),
    "n_groups": (lambda n: cp.group_weights(LOSSES, np.array([0, 0, 1]), n_groups=n).weights, 2),
    "n_bins": (lambda n: cp.calibration_table(RATIO / 2, RATIO / 2, n_bins=n).predicted, 2),
    "seed": (lambda n: cp.ratio(cp.fit_kliep(target=ROWS[:10] + 1, train=ROWS, seed=n), ROWS), 4),
    "folds": (lambda n: cp.ratio(cp.fit_kliep(target=ROWS[:10] + 1, train=ROWS, folds=n), ROWS), 3),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "float32", "float64"])
def test_a_scalar_of_numpy_s_is_the_number(name, kind):
    call, value = NUMBERS[name]
    scalar = np.dtype(kind).type(value)
    if name in ("n_groups", "n_bins", "seed", "folds") and kind.startswith("float"):
        with pytest.raises((TypeError, ValueError), match=f"{name} is .*{kind}"):
            call(scalar)
    else:
        np.testing.assert_array_equal(call(scalar), call(value))


def test_a_scalar_of_numpy_s_goes_with_every_library():
    torch = pytest.importorskip("torch")
    solution = cp.penalized(torch.tensor(LOSSES), cp.KL(), np.float32(0.5))
    np.testing.assert_allclose(solution.weights.numpy(), cp.penalized(LOSSES, cp.KL(), 0.5).weights, atol=1e-15)


@pytest.mark.parametrize("call", [lambda: cp.penalized(1.0, cp.KL(), 1.0), lambda: cp.erm(np.float64(1.0))])
def test_a_number_is_no_array_of_losses(call):
    with pytest.raises(TypeError, match="losses is a float.*, not an array"):
        call()


def test_a_number_is_no_ratio():
    with pytest.raises(TypeError, match="ratio is the number 2.0; an array is needed"):
        cp.dora(LOSSES, 2.0, 1.0)


def test_losses_are_positional():
    with pytest.raises(TypeError, match="positional-only arguments passed as keyword"):
        cp.penalized(losses=LOSSES, divergence=cp.KL(), penalty=1.0)


@pytest.mark.parametrize("call", [cp.erm, cp.effective_sample_size, lambda x: cp.erm(LOSSES, prior=x)])
def test_masked_arrays_are_refused(call):
    with pytest.raises(TypeError, match="is a numpy MaskedArray, whose mask"):
        call(np.ma.masked_array(LOSSES, [False, True, False]))


SEEDED = {
    "fit_ratio": cp.fit_ratio,
    "fit_ratio discriminant": functools.partial(cp.fit_ratio, method="discriminant"),
    "fit_ulsif": functools.partial(cp.fit_ulsif, features=cp.linear_features(target=ROWS, train=ROWS), penalty=1.0),
    "fit_kliep": functools.partial(cp.fit_kliep, bandwidth=1.0),
    "fit_logistic": cp.fit_logistic,
    "fit_log_linear": cp.fit_log_linear,
    "gaussian_features": functools.partial(cp.gaussian_features, bandwidth=1.0, centres=ROWS),
    "kernel_mean_matching": functools.partial(cp.kernel_mean_matching, bandwidth=1.0),
    "cross_fit": functools.partial(cp.cross_fit, cp.fit_gaussian),
}


@pytest.mark.parametrize("fit", SEEDED.values(), ids=SEEDED)
@pytest.mark.parametrize("seed", [None, 0.5, "1"])
def test_a_seed_is_a_whole_number_whether_or_not_it_is_used(fit, seed):
    with pytest.raises(TypeError, match=f"seed is {seed!r}; an integer is needed"):
        fit(target=ROWS[:10], train=ROWS, seed=seed)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_amounts_beyond_the_dtype_are_infinite(dtype):
    losses = LOSSES.astype(dtype)
    for amount in (1e300, np.array(1e300), np.array([1e300, -1e300])):
        batch = np.stack([losses] * 2) if np.ndim(amount) else losses
        found = cp.penalized(batch, cp.KL(), amount)
        np.testing.assert_array_equal(found.weights[..., 0], found.weights[..., 1])
        assert found.weights.dtype == losses.dtype
        np.testing.assert_array_equal(found.status, np.where(np.asarray(amount) > 0, 0, cp.Status.INVALID_AMOUNT))
    assert int(cp.constrained(losses, cp.KL(), 1e300).status) == cp.Status.SATURATED
    capped = cp.project_capped_simplex(losses, cap=1e300)
    np.testing.assert_array_equal(capped, cp.project_capped_simplex(losses, cap=math.inf))
    assert (
        cp.penalized(losses, cp.KL(), 1e5).multiplier == np.asarray(1e5, "float32").astype("float32")
        or dtype == "float16"
    )


def test_a_ratio_beyond_the_dtype_is_infinite():
    for dtype, most in (("float32", 88.7228), ("float64", 709.7827)):
        logs = np.array([[most, most], [0.0, 0.0], [most + 1, 1e30], [math.inf, math.inf]], dtype)
        found = cp.mixture_ratio(logs, target_share=0.0, other_shares=[0.5, 0.5])
        assert found.dtype == dtype
        np.testing.assert_array_equal(np.isinf(found), [False, False, True, True])
        np.testing.assert_array_equal(
            np.isinf(cp.ratio_at_level(logs[:, 0], level="token")), [False, False, True, True]
        )


@pytest.mark.parametrize("cap", [1e300, math.inf])
def test_caps_beyond_the_dtype_cap_nothing(cap):
    logs = np.array([[-60.0, -60.0], [-1.0, 0.0]], "float32")
    found = cp.policy_ratio(np.zeros_like(logs), logs, cap=cap)
    np.testing.assert_allclose(found.ratio, [math.inf, math.e], rtol=1e-6)
    assert found.missing.value == -math.inf and np.isnan(found.missing.standard_error) and found.truncated == 0
    ratio = np.array([0.5, 3e38], "float32")
    np.testing.assert_array_equal(cp.truncated_ratio(ratio, cap=cap), ratio)


def test_a_strength_without_bounds_leaves_ropo_its_second_term():
    margin = np.array([-2.0, 0.0, 3.0], "float32")
    found = cp.ropo(margin, strength=1e300)
    np.testing.assert_allclose(found.losses, 4 / (1 + np.exp(margin)), rtol=1e-6)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan, -1.0])
@pytest.mark.parametrize("name", ["dora", "reweighted", "target_dro", "scaled_dora"])
def test_no_ratio_that_is_not_finite_scales_a_loss(name, wrong):
    ratio = np.array([0.5, wrong, 1.0])
    found = {
        "dora": lambda: cp.dora(LOSSES, ratio, 1.0),
        "reweighted": lambda: cp.reweighted(LOSSES, ratio, prior=np.array([1.0, 2.0, 0.0])),
        "target_dro": lambda: cp.target_dro(LOSSES, ratio, cp.KL(), radius=0.1),
        "scaled_dora": lambda: cp.scaled_dora(LOSSES, ratio),
    }[name]()
    assert int(found.status) >= cp.Status.NAN_LOSS
    with pytest.raises(RuntimeError, match="ratio"):
        cp.raise_on_failure(found)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
def test_kldpo_of_a_loss_that_is_not_finite_says_so(wrong):
    found = cp.kldpo(np.array([[0.0, wrong, 1.0], [0.0, 0.5, 1.0]]), 1.0)
    np.testing.assert_array_equal(found.status, [cp.Status.NAN_LOSS, 0])
    assert np.isnan(found.weights[0]).all() and np.isfinite(found.weights[1]).all()


@given(st.sampled_from(["float32", "float64"]), st.floats(-30, 30))
def test_spreads_are_in_units_of_the_losses_at_every_scale(dtype, exponent):
    eps = float(np.finfo(dtype).eps)
    scale = 10.0**exponent
    losses, ratio = LOSSES.astype(dtype), RATIO.astype(dtype)
    one, other = cp.scaled_dora(losses, ratio), cp.scaled_dora((LOSSES * scale).astype(dtype), ratio)
    np.testing.assert_allclose(other.weights, one.weights, rtol=64 * eps)
    np.testing.assert_allclose(other.value / scale, one.value, rtol=64 * eps)


@pytest.mark.parametrize("margin", [math.inf, -math.inf])
def test_preference_losses_of_infinite_margins(margin):
    found = cp.conservative_dpo(np.array([margin]), flip=0.25)
    assert found.losses[0] == math.inf and found.slopes[0] == (0.25 if margin > 0 else -0.75)


@pytest.mark.parametrize(("q", "p"), [([-0.5, 1.5], [0.5, 0.5]), ([0.5, 0.5], [-0.5, 1.5]), ([math.inf, 0], [1, 0])])
@pytest.mark.parametrize("divergence", [cp.KL(), cp.ChiSquare(), cp.TotalVariation(), cp.CressieRead(-1.0)])
def test_no_divergence_of_what_is_no_distribution(q, p, divergence):
    found = cp.divergence_value(divergence, np.array([q, [0.5, 0.5]], float), np.array([p, [0.5, 0.5]], float))
    assert np.isnan(found[0]) and found[1] == 0.0


@pytest.mark.parametrize(
    ("divergence", "radius", "prior"),
    [(cp.CressieRead(-1.0), 1e308, [1.0, 1.0, 1.0]), (cp.TotalVariation(), 0.125, [5e-324, 1.0, 1.0])],
)
def test_weights_that_lost_their_mass_are_no_solution(divergence, radius, prior):
    with np.errstate(all="ignore"):
        found = cp.constrained(np.array([3.0, 2.0, 1.0]), divergence, radius, prior=np.array(prior))
    assert int(found.status) == cp.Status.NOT_CONVERGED or abs(found.weights.sum() - 1) < 1e-12


def test_a_ratio_goes_first_and_its_rows_second():
    model = cp.fit_gaussian(target=ROWS[:10] + 1, train=ROWS)
    with pytest.raises(TypeError, match="model is a ndarray; a Ratio"):
        cp.ratio(ROWS, model)


@pytest.mark.parametrize("extreme", [800.0, -800.0, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["target_log_ratio", "train_log_ratio"])
def test_an_overlap_report_on_ratios_beyond_the_dtype(name, extreme):
    logs = {"target_log_ratio": np.linspace(-1.0, 2.0, 50), "train_log_ratio": np.linspace(-2.0, 1.0, 80)}
    logs[name][3] = extreme
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = cp.overlap_report(**logs)
    infinite = (name, extreme > 0) in {("train_log_ratio", True), ("target_log_ratio", False)}
    mean = found.mean_ratio if name == "train_log_ratio" else found.mean_inverse
    assert math.isinf(mean.value) == infinite and math.isnan(mean.standard_error) == infinite
    with pytest.raises(ValueError, match=f"{name} holds NaN"):
        cp.overlap_report(**{**logs, name: logs[name] * math.nan})


def test_no_mean_of_negative_ratios():
    value, error = cp.normalisation(np.array([[0.5, -1.0, 1.0], [0.5, 1.0, 1.5]]))
    np.testing.assert_array_equal(np.isnan(value), [True, False])
    np.testing.assert_array_equal(np.isnan(error), [True, False])


def test_a_policy_of_one_row_or_none_has_no_spread():
    logs = np.log(np.array([[0.5, 0.25]]))
    assert np.isnan(cp.policy_ratio(logs, logs, cap=2.0).missing.standard_error)
    assert np.isnan(cp.policy_ratio(logs, logs, cap=2.0, mask=np.zeros((1, 2), bool)).missing.value)


def test_probabilities_are_no_log_probabilities():
    chance = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2]])
    with pytest.raises(ValueError, match="holds probabilities.*pass their logarithms"):
        cp.label_shift(chance, train_shares=np.full(3, 1 / 3))
    with pytest.raises(ValueError, match="holds probabilities.*pass their logarithms"):
        cp.fit_calibration(chance, np.array([0, 2, 1]))
    shifted = cp.label_shift(np.log(chance) + 5.0, train_shares=np.full(3, 1 / 3))
    np.testing.assert_allclose(shifted, cp.label_shift(np.log(chance), train_shares=np.full(3, 1 / 3)), atol=1e-12)


PRIORS = {
    "penalized": lambda p: cp.penalized(LOSSES, cp.KL(), 1.0, prior=p).weights,
    "constrained": lambda p: cp.constrained(LOSSES, cp.ChiSquare(), 0.1, prior=p).weights,
    "cvar": lambda p: cp.cvar(LOSSES, 0.5, prior=p).weights,
    "spectral": lambda p: cp.spectral(LOSSES, cp.Extremile(2.0), prior=p).weights,
    "reweighted": lambda p: cp.reweighted(LOSSES, RATIO * p, prior=p).weights,
    "target_dro": lambda p: cp.target_dro(LOSSES, RATIO, cp.KL(), radius=0.1, prior=p).weights,
    "scaled_dora": lambda p: cp.scaled_dora(LOSSES, RATIO, prior=p).weights,
    "scaled_dora ratio": lambda p: cp.scaled_dora(LOSSES, RATIO * p).weights,
    "normalisation": lambda p: cp.normalisation(p).standard_error / cp.normalisation(p).value,
    "truncated_ratio": lambda p: cp.truncated_ratio(p) / p,
    "effective_sample_size": cp.effective_sample_size,
    "project_simplex": lambda p: cp.project_simplex(LOSSES, prior=p),
}


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e38), ("float32", 1e-36), ("float64", 5e307), ("float64", 1e-300)]
)
def test_priors_and_ratios_at_the_ends_of_the_dtype(name, dtype, scale):
    p = np.array([0.25, 1.0, 1.5], dtype)
    np.testing.assert_allclose(PRIORS[name](p * np.asarray(scale, dtype)), PRIORS[name](p), rtol=1e-5)


@given(
    st.sampled_from(DIVERGENCES), st.sampled_from(["float32", "float64"]), st.floats(0.0, 1.0), st.floats(-20.0, 20.0)
)
def test_the_least_penalties_give_the_largest_loss(divergence, dtype, share, scale):
    info = np.finfo(dtype)
    least, most = math.log10(float(info.smallest_subnormal)), 0.8 * math.log10(float(info.smallest_normal))
    losses = (np.array([1.0, 3.0, 1.5, 3.0, -2.0]) * 10.0**scale).astype(dtype)
    penalty = 5 * 10.0**scale * 10.0 ** (least + share * (most - least))
    found = cp.penalized(losses, divergence, penalty)
    assert int(found.status) < cp.Status.NOT_CONVERGED
    np.testing.assert_allclose(found.weights, [0, 0.5, 0, 0.5, 0], atol=8 * float(info.eps))
    np.testing.assert_allclose([found.value, found.shift], 3 * 10.0**scale, rtol=8 * float(info.eps))


@given(st.sampled_from(["float32", "float64"]), st.floats(0.0, 1.0), st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_the_least_smoothing_gives_the_plain_tail(dtype, share, level, seed):
    generator, info = np.random.default_rng(seed), np.finfo(dtype)
    least, most = math.log10(float(info.smallest_subnormal)), 0.8 * math.log10(float(info.smallest_normal))
    losses, prior = generator.normal(size=9).astype(dtype), (10.0 ** generator.uniform(-6, 0, 9)).astype(dtype)
    found = cp.cvar(losses, level, prior=prior, smoothing=10.0 ** (least + share * (most - least)))
    plain = cp.cvar(losses, level, prior=prior)
    assert int(found.status) < cp.Status.NOT_CONVERGED
    np.testing.assert_allclose(found.value, plain.value, atol=64 * float(info.eps))


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=repr)
@given(st.sampled_from(["float32", "float64"]), st.floats(-30.0, 30.0), st.floats(-6.0, 30.0), st.integers(0, 2))
def test_rows_with_a_bad_value_are_not_computed_with(divergence, dtype, scale, exponent, wrong):
    """Their amount may be out of all proportion to their losses: nothing is to overflow on the way to NaN."""
    losses, prior = np.array([0.0, 1.0, 2.5, -1.0]) * 10.0**scale, np.ones(4)
    amount = math.nan if wrong == 0 else 10.0**exponent
    if wrong > 0:
        (losses if wrong == 1 else prior)[1] = math.nan
    losses, prior = losses.astype(dtype), prior.astype(dtype)
    for verb in (cp.penalized, cp.constrained):
        found = verb(losses, divergence, amount, prior=prior)
        assert int(found.status) >= cp.Status.NAN_LOSS and np.isnan(found.weights).all()
    assert int(cp.cvar(losses, 0.0 if wrong == 0 else 0.5, prior=prior, smoothing=10.0**exponent).status) >= 3


@given(st.sampled_from(SMOOTH), st.sampled_from(["float32", "float64"]), st.floats(2.0, 18.0))
def test_penalties_of_many_ranges_have_the_mean_as_shift(divergence, dtype, exponent):
    penalty = 10.0**exponent
    found = cp.penalized(np.array([0.0, 0.25, 0.75, 1.0], dtype), divergence, penalty)
    np.testing.assert_allclose(found.shift, 0.5, atol=4 / penalty + 8 * float(np.finfo(dtype).eps))
