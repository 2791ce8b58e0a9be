"""Diagnostics of a ratio, kernel mean matching, and shares that nobody wrote down."""

import warnings

import numpy as np
import pytest
from array_api.backends import EAGER, gives_numpys_answer
from hypothesis import given, settings
from hypothesis import strategies as st

import counterpoise as cp


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), k=st.floats(0.1, 1.2), scale=st.floats(1e-100, 1e100))
def test_pareto_k_is_found_whatever_the_scale(seed, k, scale):
    weights = np.random.default_rng(seed).pareto(1 / k, 20_000) + 1.0
    found, threshold = cp.pareto_k(weights)
    # the tail has 425 weights: the estimate's deviation is (1 + k)/√425, about 0.1 at most
    assert abs(float(found) - k) < 5 * (1 + k) / np.sqrt(425) and float(threshold) == pytest.approx(0.7)
    assert float(cp.pareto_k(weights * scale).k) == pytest.approx(float(found), rel=1e-6)


def test_pareto_k_of_constant_few_and_bad_weights():
    assert float(cp.pareto_k(np.ones(100)).k) == -np.inf
    assert np.isnan(cp.pareto_k(np.ones(24)).k)
    assert np.isnan(cp.pareto_k(np.r_[np.ones(99), -1.0]).k) and np.isnan(cp.pareto_k(np.r_[np.ones(99), np.inf]).k)
    rows = np.random.default_rng(0).pareto(2.0, (3, 200))
    np.testing.assert_allclose(cp.pareto_k(rows).k, [float(cp.pareto_k(row).k) for row in rows])


def test_pareto_k_against_maximum_likelihood():
    from scipy import stats

    weights = np.random.default_rng(1).pareto(2.0, 40_000) + 1.0
    tail = int(np.ceil(3 * np.sqrt(40_000)))
    ranked = np.sort(weights)
    shape, _, _ = stats.genpareto.fit(ranked[-tail:] - ranked[-tail - 1], floc=0)
    found = float(cp.pareto_k(weights).k) * (tail + 10) / tail - 5 / tail  # without the pull towards ½
    assert found == pytest.approx(shape, abs=0.02)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), shift=st.floats(-3, 3))
def test_donsker_varadhan_takes_any_constant_and_prefers_the_truth(seed, shift):
    generator = np.random.default_rng(seed)
    target, train = generator.normal(1, 1, 4000), generator.normal(0, 1, 4000)

    def score(slope):
        return cp.donsker_varadhan(slope * target + shift, slope * train + shift)

    value, error = score(1.0)
    assert abs(float(value) - 0.5) < 6 * float(error)  # KL(N(1,1)‖N(0,1)) = ½
    assert float(value) > max(float(score(0.3).value), float(score(2.0).value))
    assert float(score(1.0).value) == pytest.approx(
        float(cp.donsker_varadhan(target + shift + 700, train + shift + 700).value), abs=1e-9
    )


def test_standardised_differences_see_what_weights_do():
    generator = np.random.default_rng(0)
    target, train = generator.normal([1.0, 0.0], 1, (4000, 2)), generator.normal(0, 1, (4000, 2))
    weights = np.exp(train[:, 0] - 0.5)
    before, after = cp.standardised_differences(target, train, weights=weights)
    assert before[0] == pytest.approx(1.0, abs=0.1) and abs(after[0]) < 0.15 and abs(after[1]) < 0.15
    units = cp.standardised_differences(target * [1e6, 1e-6], train * [1e6, 1e-6], weights=3 * weights)
    np.testing.assert_allclose(units.after, after, rtol=1e-9)
    for bad in (np.ones(3), -np.ones(4000), np.zeros(4000), np.full(4000, np.nan)):
        with pytest.raises(ValueError, match="weight"):
            cp.standardised_differences(target, train, weights=bad)


@settings(max_examples=20)
@given(
    decades=st.integers(-300, 300),
    value=st.floats(0.1, 1e9),
    sizes=st.tuples(st.integers(3, 60), st.integers(3, 60)),
    seed=st.integers(0, 2**32 - 1),
)
def test_standardised_differences_have_no_units_and_see_none_in_constants(decades, value, sizes, seed):
    generator = np.random.default_rng(seed)
    target, train = (generator.normal(size=n) for n in sizes)
    weights = generator.uniform(0.1, 1, sizes[1])
    spread = np.sqrt((target.var() + train.var()) / 2)
    expected = [(target.mean() - np.average(train, weights=w)) / spread for w in (None, weights)]
    both = [np.column_stack([10.0**decades * x, np.full(len(x), value)]) for x in (target, train)]
    found = cp.standardised_differences(*both, weights=1e307 * weights)
    np.testing.assert_allclose([found.before[0], found.after[0]], expected, rtol=1e-9, atol=1e-12)
    assert found.before[1] == found.after[1] == 0.0
    apart = cp.standardised_differences(np.full(sizes[0], value), np.full(sizes[1], 2 * value))
    np.testing.assert_allclose(apart.before, -8.0, rtol=1e-9)


def quiet_report(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cp.overlap_report(**options)


def test_a_good_ratio_has_nothing_to_warn_about():
    generator = np.random.default_rng(2)
    target, train = generator.normal(0.5, 1, (500, 1)), generator.normal(0, 1, (1000, 1))
    logs = {"target_log_ratio": 0.5 * target[:, 0] - 0.125, "train_log_ratio": 0.5 * train[:, 0] - 0.125}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cp.overlap_report(**logs, target=target, train=train, cap=2.0)
    assert found.warnings == () and found.balance is not None
    assert abs(float(found.mean_ratio.value) - 1) < 0.1 and abs(float(found.mean_inverse.value) - 1) < 0.1
    assert float(found.auc_before.value) > 0.6
    assert abs(float(found.auc_after.value) - 0.5) < 4 * float(found.auc_after.standard_error)
    assert float(found.share_at_cap) == np.mean(np.exp(logs["train_log_ratio"]) >= 2.0)


@pytest.mark.parametrize(
    ("target", "train", "says"),
    [
        (np.full(100, 8.0), np.full(100, -8.0), "hardly overlap"),
        (np.linspace(-20, 20, 100), np.linspace(-20.5, 19.5, 100), "saturated"),
        (np.zeros(10), np.zeros(100), "only 10 target rows"),
        (
            np.full(100, 1.0),
            np.full(100, 1.0) + np.linspace(0, 0.1, 100),
            "The mean ratio over the training rows is 2.8",
        ),
        (np.zeros(100), np.log(np.random.default_rng(0).pareto(0.8, 1000) + 0.01), "Pareto k"),
    ],
)
def test_what_is_wrong_is_said_in_words(target, train, says):
    with pytest.warns(UserWarning, match=says):
        found = cp.overlap_report(target_log_ratio=target, train_log_ratio=train)
    assert any(says in sentence for sentence in found.warnings)


def test_reports_refuse_what_they_cannot_read():
    logs = np.zeros(50)
    with pytest.raises(ValueError, match="holds NaN"):
        quiet_report(target_log_ratio=np.array([np.nan]), train_log_ratio=logs)
    with pytest.raises(ValueError, match="needs both samples"):
        quiet_report(target_log_ratio=logs, train_log_ratio=logs, target=logs)
    assert float(quiet_report(target_log_ratio=logs, train_log_ratio=logs - np.inf).effective_size) == 0.0


def test_a_weighted_area_is_that_of_repeated_rows():
    generator = np.random.default_rng(3)
    target, train = generator.integers(0, 5, 40) / 10, generator.integers(0, 5, 60) / 10
    counts = np.exp(train).round(12)
    found = quiet_report(target_log_ratio=target, train_log_ratio=train).auc_after.value
    above = (target[:, None] > train) + 0.5 * (target[:, None] == train)
    assert float(found) == pytest.approx((above * counts).sum() / counts.sum() / 40)


@pytest.mark.parametrize(("bound", "slack"), [(1000.0, None), (3.0, 0.0), (3.0, 0.2)])
def test_kernel_mean_matching_against_an_interior_point_solver(bound, slack):
    import cvxpy

    generator = np.random.default_rng(4)
    target, train = generator.normal(1, 1, (60, 2)), generator.normal(0, 1, (50, 2))
    found = cp.kernel_mean_matching(target=target, train=train, bandwidth=1.0, bound=bound, slack=slack, tolerance=1e-6)
    room = min(bound / np.sqrt(50), 0.1) if slack is None else slack
    w = np.asarray(found.weights)
    assert (w >= 0).all() and (w <= bound * (1 + 1e-12)).all() and abs(w.mean() - 1) <= room + 1e-9
    scale = np.minimum(target.std(0), train.std(0))

    def kernel(x, y):
        return np.exp(-((((x[:, None] - y) / scale) ** 2).sum(axis=2)) / 2)

    v = cvxpy.Variable(50)
    k = kernel(train, train) + 1e-12 * np.eye(50)
    objective = cvxpy.quad_form(v, cvxpy.psd_wrap(k)) / 50**2 - 2 * (v @ kernel(train, target).mean(axis=1)) / 50
    problem = cvxpy.Problem(
        cvxpy.Minimize(objective),
        [v >= 0, v <= bound, cvxpy.sum(v) <= 50 * (1 + room), cvxpy.sum(v) >= 50 * (1 - room)],
    )
    best = problem.solve(solver=cvxpy.CLARABEL) + kernel(target, target).mean()
    assert best - 1e-8 <= float(found.discrepancy) <= best + 1e-6 + 1e-8
    assert float(found.discrepancy) - best <= float(found.gap) + 1e-8


def test_kernel_mean_matching_searches_a_grid_by_target_rows_that_it_did_not_see():
    from counterpoise.ratios.samples import split

    generator = np.random.default_rng(6)
    target, train = generator.normal(1, 1, (40, 1)), generator.normal(0, 1, (60, 1))
    sigmas = [0.3, 1.0, 20.0]
    found = cp.kernel_mean_matching(target=target, train=train, bandwidth=sigmas, folds=4, bound=10.0)
    features = cp.gaussian_features(target=target, train=train)

    def kernel(x, y, sigma):
        return np.exp(-((((x[:, None] - y) / features.scale) ** 2).sum(axis=2)) / 2 / sigma**2)

    def left(w, out):
        return [w @ kernel(train, train, s) @ w - 2 * w @ kernel(train, out, s).mean(axis=1) for s in sigmas]

    for i, sigma in enumerate(sigmas):
        scores = []
        for kept, out in split(target, 4, 0):
            # the features of all rows set the scale: pass the same one in units of the kept rows
            ratio = features.scale / cp.gaussian_features(target=target[kept], train=train).scale
            one = cp.kernel_mean_matching(
                target=target[kept], train=train, bandwidth=float(sigma * ratio[0]), bound=10.0
            )
            scores += left(one.weights / 60, target[out])
        assert float(found.scores.score[i, 0]) == pytest.approx(np.mean(scores), abs=5e-3)
    assert float(found.bandwidth) == sigmas[int(np.argmin(found.scores.score[:, 0]))] != 20.0


def test_kernel_mean_matching_refuses_amounts_out_of_range():
    x = np.random.default_rng(5).normal(size=(20, 1))
    for options, says in [
        ({"bound": 0.5}, "bound is 0.5"),
        ({"slack": -1.0}, "slack is -1.0"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"bandwidth": []}, "bandwidth is empty"),
        ({"bandwidth": [1.0, 2.0], "folds": 21}, "folds is 21, but a sample has 20 rows"),
    ]:
        with pytest.raises(ValueError, match=says):
            cp.kernel_mean_matching(target=x, train=x, **options)


@given(
    masses=st.lists(st.sampled_from([0.0, 1e-300, 0.2, 1.0]), min_size=3, max_size=3),
    alpha=st.sampled_from([0.0, 0.25]),
)
def test_classes_that_are_impossible_leave_the_formula_as_it_is(masses, alpha):
    counts, shares = [100.0, 50.0, 300.0], [alpha, 0.75 * (1 - alpha), 0.25 * (1 - alpha)]
    with np.errstate(divide="ignore"):
        logs = np.log(np.array(masses))
    with np.errstate(all="raise", under="ignore"):
        found = float(
            cp.mixture_ratio_multinomial(
                logs, n_target=counts[0], n_other=counts[1:], target_share=shares[0], other_shares=shares[1:]
            )
        )
    density = [m / n for m, n in zip(masses, counts, strict=True)]
    below = sum(b * d for b, d in zip(shares, density, strict=True))
    if not any(masses):
        assert np.isnan(found)
    elif density[0] == 0:
        assert found == 0.0
    else:
        assert found == pytest.approx(density[0] / below if below > 0 else np.inf, rel=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_multinomial_and_pairwise_ratios_agree_where_both_are_exact(seed):
    generator = np.random.default_rng(seed)
    densities = generator.uniform(0.1, 1, (30, 3))  # of the target and two sources, at 30 rows
    counts, shares = np.array([50.0, 200.0, 80.0]), np.array([0.2, 0.5, 0.3])
    joint = densities * counts
    found = cp.mixture_ratio_multinomial(
        np.log(joint / joint.sum(axis=1, keepdims=True)), n_target=counts[0], n_other=counts[1:],
        target_share=shares[0], other_shares=shares[1:],
    )  # fmt: skip
    np.testing.assert_allclose(found, densities[:, 0] / (densities @ shares), rtol=1e-12)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), share=st.floats(0.1, 0.9))
def test_the_target_share_is_found_where_a_threshold_isolates_the_target(seed, share):
    generator = np.random.default_rng(seed)
    n = 4000
    count = generator.binomial(n, share)
    mixture = np.r_[generator.normal(2, 1, count), generator.normal(-2, 1, n - count)]
    found = cp.estimate_target_share(generator.normal(2, 1, n), mixture)
    assert abs(float(found.value) - share) < 0.06 and share < float(found.upper) + 0.01
    ratio = np.exp(4 * mixture) / (share * np.exp(4 * mixture) + 1 - share)
    assert share <= float(cp.target_share_bound(ratio)) <= share + 1e-3


def test_shares_refuse_what_they_cannot_use():
    assert np.isnan(cp.target_share_bound(np.array([1.0, np.nan])))
    assert np.isnan(cp.estimate_target_share(np.array([np.nan]), np.ones(3)).value)
    with pytest.raises(ValueError, match="confidence is 1.0"):
        cp.estimate_target_share(np.ones(3), np.ones(3), confidence=1.0)
    with pytest.raises(ValueError, match="one axis is needed"):
        cp.estimate_target_share(np.ones((3, 1)), np.ones(3))
    with pytest.raises(ValueError, match="not positive"):
        cp.label_shift(np.zeros((3, 2)), train_shares=np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="one share per class"):
        cp.label_shift(np.zeros((3, 2)), train_shares=np.ones(3))
    with pytest.raises(ValueError, match="holds NaN"):
        cp.label_shift(np.full((3, 2), np.nan), train_shares=np.ones(2))
    with pytest.raises(ValueError, match="a row that no class explains"):
        cp.label_shift(np.array([[0.0, -np.inf], [-np.inf, -np.inf]]), train_shares=np.ones(2))


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_label_shift_is_stationary_and_finds_the_shares(seed):
    generator = np.random.default_rng(seed)
    before, now = np.array([0.2, 0.5, 0.3]), generator.dirichlet([3, 3, 3])
    x = generator.normal(np.array([-2.0, 0.0, 2.0])[generator.choice(3, 20_000, p=now)], 1)
    joint = before * np.exp(-((x[:, None] - [-2.0, 0.0, 2.0]) ** 2) / 2)
    log_probability = np.log(joint / joint.sum(axis=1, keepdims=True))
    found = np.asarray(cp.label_shift(log_probability, train_shares=before))
    assert found.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(found, now, atol=0.04)
    likelihood = np.exp(log_probability) / before
    gradient = (likelihood / (likelihood @ found)[:, None]).mean(axis=0)
    np.testing.assert_allclose(gradient, 1.0, atol=1e-6)  # the multiplier of Σπ = 1


SCORES, OTHERS = np.linspace(-1, 2, 40), np.linspace(-2, 1, 60)
ON_ANY_BACKEND = {
    "pareto_k": lambda a: cp.pareto_k(a(np.exp(OTHERS))),
    "donsker_varadhan": lambda a: cp.donsker_varadhan(a(SCORES), a(OTHERS)),
    "standardised_differences": lambda a: cp.standardised_differences(a(SCORES), a(OTHERS), weights=a(np.exp(OTHERS))),
    "overlap_report": lambda a: quiet_report(target_log_ratio=a(SCORES), train_log_ratio=a(OTHERS), cap=2.0)[:-2],
    "label_shift": lambda a: cp.label_shift(a(np.outer(SCORES, [1.0, -1.0])), train_shares=a(np.array([0.5, 0.5]))),
    "estimate_target_share": lambda a: cp.estimate_target_share(a(SCORES), a(OTHERS)),
    "target_share_bound": lambda a: cp.target_share_bound(a(np.exp(OTHERS))),
    "kernel_mean_matching": lambda a: cp.kernel_mean_matching(target=a(SCORES), train=a(OTHERS), tolerance=0.01),
    "mixture_ratio_multinomial": lambda a: cp.mixture_ratio_multinomial(
        a(np.outer(SCORES, [1.0, 0.5, -1.0])), n_target=4, n_other=[8, 8], target_share=0.2, other_shares=[0.4, 0.4]
    ),
}


@pytest.mark.parametrize("name", ON_ANY_BACKEND)
@pytest.mark.parametrize("kind", EAGER)
def test_every_backend_gives_numpys_answer(name, kind):
    gives_numpys_answer(lambda a, i: ON_ANY_BACKEND[name](a), kind)
