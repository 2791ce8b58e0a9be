"""ULSIF, RuLSIF, KLIEP and KMM as scikit-learn estimators: its own checks, pipelines, searches, weights, words."""

from functools import partial

import counterpoise_adapters.sklearn as adapter
import numpy as np
import pytest
import sklearn
from counterpoise_adapters.sklearn import KLIEP, KMM, ULSIF, RuLSIF
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import counterpoise as cp

QUICK = {"bandwidth": 1.0}
ALL = [ULSIF(penalty=0.1, **QUICK), RuLSIF(penalty=0.1, **QUICK), KLIEP(**QUICK)]
FITS = {"ULSIF": cp.fit_ulsif, "RuLSIF": partial(cp.fit_ulsif, alpha=0.1), "KLIEP": cp.fit_kliep}


def named(model):
    return type(model).__name__


def samples(n_target=150, n_others=250, width=2, seed=0):
    """Target N(1, 1) and others N(0, 1) in the first feature, rows in random order; labels 1 and 0."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.repeat([1, 0], [n_target, n_others]))
    X = generator.normal(size=(len(y), width))
    X[:, 0] += y
    return X, y


@parametrize_with_checks([model.set_params(cv=cv) for cv in (3, 5) for model in (ULSIF(), RuLSIF(), KLIEP())] + [KMM()])
def test_scikit_learn_finds_nothing(estimator, check):
    if getattr(check, "func", check).__name__ == "check_fit2d_1feature" and getattr(estimator, "cv", 3) == 5:
        # It has 10 rows, 3 of them the target's, and takes an error about features only; ours is about the 3 rows.
        # scikit-learn sets cv=3 for the checks of its own cross-validated estimators.
        pytest.xfail("3 target rows do not fill the default 5 folds")
    check(estimator)


@pytest.mark.parametrize("model", ALL, ids=named)
def test_fitted_rows_are_weighed_out_of_fold_and_in_order(model):
    X, y = samples()
    model = clone(model).set_params(cv=3, random_state=7).fit(X, y)
    options = {"seed": 7, "bandwidth": 1.0} | ({} if isinstance(model, KLIEP) else {"penalty": 0.1})
    fit = partial(FITS[named(model)], **options)
    expected = cp.cross_fit(fit, target=X[y == 1], train=X[y == 0], folds=3, seed=7)
    np.testing.assert_array_equal(model.log_ratio_[y == 1], expected.target_log_ratio)
    np.testing.assert_array_equal(model.log_ratio_[y == 0], expected.train_log_ratio)
    np.testing.assert_array_equal(model.ratio_, np.exp(model.log_ratio_))
    whole = fit(target=X[y == 1], train=X[y == 0])
    np.testing.assert_allclose(model.predict(X), cp.ratio(whole, X), rtol=1e-12)


@pytest.mark.parametrize(("model", "alpha"), [(ULSIF(), 0.0), (RuLSIF(alpha=0.3), 0.3), (KLIEP(), 0.0)])
def test_the_ratio_of_two_normals_is_found(model, alpha):
    new = np.linspace(-1.5, 2.5, 41)[:, None]
    plain = np.exp(new[:, 0] - 0.5)
    truth = plain / (alpha * plain + 1 - alpha)
    errors = []
    for seed in range(5):  # a bandwidth and a ridge that suit the rows of one draw in ten do not suit others
        X, y = samples(400, 600, width=1, seed=seed)
        model = clone(model).set_params(cv=2).fit(X, y)
        errors.append(np.mean((model.predict(new) - truth) ** 2) / np.var(truth))  # that of r = 1 is more than 1
        mixture = alpha * model.ratio_[y == 1].mean() + (1 - alpha) * model.ratio_[y == 0].mean()
        assert abs(mixture - 1.0) < 0.1
    assert np.median(errors) < 0.15


@pytest.mark.parametrize("model", ALL, ids=named)
def test_the_score_is_the_donsker_varadhan_bound(model):
    X, y = samples()
    new, labels = samples(seed=1)
    model = clone(model).fit(X, y)
    r = np.maximum(model.predict(new), np.exp(-7))  # a ratio of 0 counts as that
    alpha = model.get_params().get("alpha", 0.0)
    mixture = alpha * r[labels == 1].mean() + (1 - alpha) * r[labels == 0].mean()
    assert model.score(new, labels) == pytest.approx(np.log(r[labels == 1]).mean() - np.log(mixture))
    assert 0.1 < model.score(new, labels) < 0.5 + 0.2  # the divergence is 1/2 nat, and 1 is worth 0
    assert model.score(new, 1 - labels) < 0.0


def test_a_ratio_of_zero_costs_seven_nats_and_no_more():
    X = np.r_[np.linspace(0, 1, 20), np.linspace(-1, 0.5, 20)][:, None]
    model = ULSIF(bandwidth=1.0, penalty=1e-5).fit(X, np.repeat([1, 0], 20))
    grid = np.linspace(-3, 3, 601)[:, None]
    zero, some = grid[np.argmin(model.predict(grid))], grid[np.argmax(model.predict(grid))]
    assert model.predict([zero])[0] == 0.0 and np.isneginf(model._log_ratio([zero])[0])
    score = model.score([zero, some], [1, 0])
    assert score == pytest.approx(-7.0 - np.log(model.predict([some])[0]))
    assert model.score([zero, zero], [1, 0]) == pytest.approx(0.0)


def test_alpha_zero_is_the_plain_ratio_and_alpha_bounds_it():
    X, y = samples()
    np.testing.assert_array_equal(RuLSIF(alpha=0, penalty=0.1).fit(X, y).ratio_, ULSIF(penalty=0.1).fit(X, y).ratio_)
    assert RuLSIF(alpha=0.5).fit(X, y).ratio_.max() < 2.5 < ULSIF().fit(X, y).ratio_.max()


@pytest.mark.parametrize("model", ALL, ids=named)
def test_the_target_is_named_and_all_others_are_the_training_sample(model):
    X, y = samples()
    names = np.where(y == 1, "human", np.where(np.arange(len(y)) % 2, "bot", "zebra"))
    named_ = clone(model).set_params(target="human").fit(X, names)
    np.testing.assert_array_equal(named_.ratio_, clone(model).fit(X, y).ratio_)
    assert named_.target_ == "human" and named_.classes_.tolist() == ["bot", "human", "zebra"]
    assert clone(model).fit(X, names).target_ == "zebra"
    assert clone(model).set_params(target=0).fit(X, y).ratio_[y == 0].mean() > 1.2


def sources(n=150, seed=3):
    """Target N(1, 1), sources N(0, 1) and N(-1, 1): labels 2, 0 and 1."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.repeat([2, 0, 1], [n, 2 * n, n]))
    return generator.normal(np.array([0.0, -1.0, 1.0])[y], 1.0)[:, None], y


@pytest.mark.parametrize("model", ALL, ids=named)
def test_each_source_has_a_ratio_and_the_shares_join_them(model):
    X, y = sources()
    shares = {"target_share": 0.2, "other_shares": {0: 0.5, 1: 0.3}}
    model = clone(model).set_params(others="sources", cv=3, **shares).fit(X, y)
    assert model.sources_.tolist() == [0, 1] and model.log_ratio_.shape == (len(y), 2) and len(model.models_) == 2
    joined = 1 / (0.2 + 0.5 * np.exp(-model.log_ratio_[:, 0]) + 0.3 * np.exp(-model.log_ratio_[:, 1]))
    np.testing.assert_allclose(model.ratio_, joined, rtol=1e-6)
    # each pair is what two samples give: out of fold where it was fitted, its model elsewhere
    pair = clone(model).set_params(others="mixture", target_share=None, other_shares=None).fit(X[y != 1], y[y != 1])
    alpha = model.get_params().get("alpha", 0.0)
    relative = np.exp(pair.log_ratio_)
    relative = np.minimum(relative, 0.9 / alpha) if alpha else relative  # at 1/alpha p/q would be infinite
    plain = relative * (1 - alpha) / (1 - alpha * relative)
    np.testing.assert_allclose(np.exp(model.log_ratio_[y != 1, 0]), plain, rtol=1e-6)
    new = np.linspace(-2, 2, 41)[:, None]
    truth = 1 / (0.2 + 0.5 * np.exp(0.5 - new[:, 0]) + 0.3 * np.exp(-2 * new[:, 0]))
    found = model.predict(new)
    assert (found <= 5.0 + 1e-9).all() and np.mean((found - truth) ** 2) < 0.15 * np.var(truth)
    means = [model.ratio_[y == label].mean() for label in (2, 0, 1)]
    assert np.dot(means, [0.2, 0.5, 0.3]) == pytest.approx(1.0, abs=0.15)
    r = np.maximum(model.predict(X), np.exp(-7.0))
    expected = np.log(r[y == 2]).mean() - np.log(np.dot([r[y == label].mean() for label in (2, 0, 1)], [0.2, 0.5, 0.3]))
    assert model.score(X, y) == pytest.approx(expected)
    with pytest.raises(ValueError, match="none of source 1"):
        model.score(X[y != 1], y[y != 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"others": "rest"}, "others is 'rest'; 'mixture' or 'sources'"),
        ({"target_share": 0.5}, "others='mixture' needs no shares"),
        ({"others": "sources", "target_share": 1.0}, "the target's share is 1.0"),
        ({"others": "sources", "other_shares": {0: 1.0}}, "other_shares names"),
        ({"others": "sources", "target_share": 0.5, "other_shares": [0.5, 0.5]}, "sum"),
        ({"others": "sources", "cv": 60}, "y holds 50 samples of source 1; 60 folds"),
    ],
)
def test_sources_and_shares_that_do_not_fit_are_refused(change, message):
    X, y = sources(50)
    if "cv" in change:
        y = np.where((y == 1) & (np.cumsum(y == 1) > 50), 0, y)
        X, y = np.r_[X, X[y == 2]], np.r_[y, y[y == 2]]
    with pytest.raises(ValueError, match=message):
        clone(ALL[0]).set_params(**change).fit(X, y)


@pytest.mark.parametrize("model", ALL, ids=named)
def test_scaling_first_changes_nothing(model):
    X, y = samples()
    units = X * [1e4, 1e-3] + [5e4, 0.0]
    piped = make_pipeline(StandardScaler(), clone(model)).fit(units, y)
    np.testing.assert_allclose(piped[-1].ratio_, clone(model).fit(X, y).ratio_, rtol=1e-6)
    np.testing.assert_allclose(piped.predict(units[:9]), piped[-1].predict(piped[0].transform(units[:9])))
    assert 0.1 < piped.score(units, y) < 0.8


@pytest.mark.parametrize("model", ALL, ids=named)
def test_a_grid_search_in_a_pipeline_refuses_widths_that_overfit_or_blur(model):
    X, y = samples()
    pipe = Pipeline([("scale", StandardScaler()), ("ratio", clone(model).set_params(cv=2, n_centres=50, tilts=False))])
    grid = {"ratio__bandwidth": [0.05, 1.0, 100.0]}
    if not isinstance(model, KLIEP):
        grid["ratio__penalty"] = [1e-2, 1e3]
    search = GridSearchCV(pipe, grid, cv=StratifiedKFold(3, shuffle=True, random_state=0), error_score="raise")
    search.fit(X, y)
    assert search.best_params_["ratio__bandwidth"] == 1.0
    assert search.best_params_.get("ratio__penalty", 1e-2) == 1e-2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_["ratio"].ratio_.shape == y.shape


@pytest.mark.parametrize("model", ALL, ids=named)
def test_ratios_weigh_another_estimator_through_metadata_routing(model):
    X, y = samples(300, 500, width=1)
    outcome = X[:, 0] ** 2  # a line fits it differently where the target is: slope 2 there, 0 elsewhere
    weights, others = clone(model).fit(X, y).ratio_, y == 0
    with sklearn.config_context(enable_metadata_routing=True):
        line = LinearRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False).set_fit_request(sample_weight=False), line)
        data = X[others], outcome[others]
        plain = clone(pipe).fit(*data)[-1].coef_[0]
        weighed = clone(pipe).fit(*data, sample_weight=weights[others])[-1].coef_[0]
        found = cross_validate(line, *data, params={"sample_weight": weights[others]}, cv=3, error_score="raise")
    assert abs(plain) < 0.5 and plain + 0.5 < weighed < 2.5  # a penalty or α goes part of the way only
    assert np.isfinite(found["test_score"]).all()


@pytest.mark.parametrize("model", ALL, ids=named)
def test_data_frames_keep_their_column_names(model):
    pandas = pytest.importorskip("pandas")
    X, y = samples()
    frame = pandas.DataFrame(X, columns=["length", "entropy"])
    model = clone(model).fit(frame, pandas.Series(y, index=frame.index[::-1]))
    assert model.feature_names_in_.tolist() == ["length", "entropy"] and model.n_features_in_ == 2
    np.testing.assert_array_equal(model.ratio_, clone(model).fit(X, y).ratio_)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"length": "size"}))
    frame.loc[3, "entropy"] = np.nan
    with pytest.raises(ValueError, match="X holds nan in row 3, column 'entropy'"):
        clone(model).fit(frame, y)


def test_matched_means_are_weights_of_the_training_rows_alone():
    X, y = samples()
    names = np.where(y == 1, "human", "bot")
    options = {"bandwidth": 0.8, "bound": 5.0, "slack": 0.01, "tolerance": 1e-4}
    model = KMM(target="human", **options).fit(X, names)
    expected = cp.kernel_mean_matching(target=X[y == 1], train=X[y == 0], **options)
    np.testing.assert_array_equal(model.ratio_[y == 0], expected.weights)
    assert np.isnan(model.ratio_[y == 1]).all()
    assert model.discrepancy_ == float(expected.discrepancy) and model.gap_ <= 1e-4
    assert model.target_ == "human" and model.classes_.tolist() == ["bot", "human"]
    assert not hasattr(model, "predict") and not hasattr(model, "score")
    piped = make_pipeline(StandardScaler(), KMM(random_state=None)).fit(X, y)
    assert abs(np.average(X[y == 0, 0], weights=piped[-1].ratio_[y == 0]) - X[y == 1, 0].mean()) < 0.2


@pytest.mark.parametrize("model", ALL, ids=named)
def test_numbers_may_be_numpys(model):
    X, y = samples(40, 60)
    ours = {"bandwidth": [1, 2], "n_centres": 20, "cv": 3, "random_state": 5}
    theirs = {"bandwidth": np.array([1, 2]), "n_centres": np.int64(20), "cv": np.int64(3), "random_state": np.int32(5)}
    expected = clone(model).set_params(**ours).fit(X, y)
    np.testing.assert_array_equal(clone(model).set_params(**theirs).fit(X, y).ratio_, expected.ratio_)
    assert expected.model_.scores.bandwidth.tolist() == [1.0, 2.0]
    assert clone(model).set_params(bandwidth=np.float32(0.5)).fit(X, y).model_.features.bandwidth == 0.5


def test_seeds_may_be_none_or_a_generator():
    X, y = samples(40, 60)
    first, second = (ULSIF(penalty=0.1, random_state=np.random.RandomState(3)).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.ratio_, second.ratio_)
    for other in (np.random.RandomState(4), 4):
        assert not np.array_equal(first.ratio_, ULSIF(penalty=0.1, random_state=other).fit(X, y).ratio_)
    assert ULSIF(penalty=0.1, random_state=None).fit(X, y).ratio_.shape == y.shape


@pytest.mark.parametrize("model", [ULSIF(), RuLSIF(), KLIEP()], ids=named)
@pytest.mark.parametrize(("n_target", "cv"), [(4, 2), (3, 3), (5, 5), (5, 4)])
def test_the_fewest_rows_that_are_allowed_are_enough(model, n_target, cv):
    X, y = samples(n_target, 12)
    model = clone(model).set_params(cv=cv).fit(X, y)
    assert np.isfinite(model.ratio_).all()
    with pytest.raises(ValueError, match=rf"y holds {n_target} samples of target 1; {cv + 7} folds need at least"):
        clone(model).set_params(cv=cv + 7).fit(X, y)


X, Y = samples(30, 40)
HOLES = X.copy()
HOLES[17, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "X", "y", "message"),
    [
        ({}, X, np.ones(70), r"y holds one class only, .*1.0.*; pass target samples and others"),
        ({}, X, np.r_[np.zeros(67), np.ones(3)], r"y holds 3 samples of target 1.0; 5 folds need at least 5: use cv=3"),
        ({}, X, np.r_[np.zeros(2), np.ones(68)], r"y holds 2 samples of other labels; 5 folds .*: add samples"),
        ({"cv": 2}, X, np.r_[np.zeros(67), np.ones(3)], r"2 folds need at least 4: use cv=3, or add samples"),
        ({}, HOLES, Y, r"X holds nan in row 17, column 1; .*not NaN or infinite: drop or impute the row"),
        ({}, np.where(np.isnan(HOLES), np.inf, X), Y, r"X holds inf in row 17, column 1"),
        ({}, X, np.where(np.arange(70) == 5, np.nan, Y), r"y holds nan in row 5; every row needs a label"),
        ({}, X, np.stack([Y, Y], axis=1), r"y has shape \(70, 2\); one label per row"),
        ({}, X, Y[:-1], r"inconsistent numbers of samples"),
        ({}, X, None, r"requires y to be passed"),
        ({"target": "x"}, X, Y, r"target 'x' is not in y, which holds \[0, 1\]; name one of these"),
        ({"cv": 1}, X, Y, r"cv is 1; a whole number of at least 2"),
        ({"cv": KFold(3)}, X, Y, r"cv is KFold.*; a whole number of at least 2"),
        ({"cv": True}, X, Y, r"cv is True"),
        ({"n_centres": 0}, X, Y, r"n_centres is 0; a whole number of at least 1"),
        ({"bandwidth": -1.0}, X, Y, r"bandwidth is -1.0; a finite number > 0"),
        ({"bandwidth": []}, X, Y, r"bandwidth is empty"),
    ],
)
@pytest.mark.parametrize("model", ALL, ids=named)
def test_wrong_input_is_refused_in_words(model, change, X, y, message):
    with pytest.raises(ValueError, match=message):
        clone(model).set_params(**change).fit(X, y)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ULSIF(penalty=-1.0), r"penalty is -1.0; a finite number >= 0"),
        (RuLSIF(alpha=1.0), r"alpha is 1.0; .*\[0, 1\)"),
        (KMM(bound=0.5), r"bound is 0.5; .* at least 1"),
        (KMM(target="x"), r"target 'x' is not in y"),
    ],
)
def test_amounts_of_their_own_are_refused_too(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)


@pytest.mark.parametrize("model", ALL, ids=named)
def test_new_rows_are_checked_as_well(model):
    model = clone(model).fit(X, Y)
    with pytest.raises(ValueError, match="X holds nan in row 17"):
        model.predict(HOLES)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict(np.zeros((4, 3)))
    with pytest.raises(TypeError, match="[Ss]parse"):
        model.predict(sparse.csr_matrix(X))
    with pytest.raises(ValueError, match=r"hold 0 of target 1 and 70 others; .*StratifiedKFold\(shuffle=True\)"):
        model.score(X, np.zeros(70))
    with pytest.raises(ValueError, match="hold 70 of target 1 and 0 others"):
        model.score(X, np.ones(70))


def test_they_are_where_the_other_estimator_is():
    assert {"ULSIF", "RuLSIF", "KLIEP", "KMM", "ClassifierRatio"} == set(adapter.__all__)
