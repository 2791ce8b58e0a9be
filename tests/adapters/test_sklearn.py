"""ClassifierRatio with real scikit-learn classifiers, on Gaussians whose ratio is known."""

import numpy as np
import pytest
from counterpoise_adapters.sklearn import ULSIF, ClassifierRatio
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC


def gaussians(sizes, means, seed=0, width=2):
    """Samples of unit-variance normals, the first feature shifted; labels 0, 1, ... in order."""
    generator = np.random.default_rng(seed)
    X = np.concatenate([generator.normal(size=(n, width)) for n in sizes])
    y = np.repeat(np.arange(len(sizes)), sizes)
    X[:, 0] += np.asarray(means)[y]
    return X, y


def true_log_ratio(X, target, other):
    """Log density ratio of N(target, 1) to N(other, 1) in the first feature."""
    return (target - other) * X[:, 0] - (target**2 - other**2) / 2


@pytest.mark.parametrize("weights", [None, "balanced", {0: 1.0, 1: 5.0}])
def test_class_sizes_are_taken_out_once(weights):
    X, y = gaussians([4000, 400], [0.0, 1.0])
    model = ClassifierRatio(LogisticRegression(class_weight=weights), target=1).fit(X, y)
    error = model.log_ratio_[:, 0] - true_log_ratio(X, 1.0, 0.0)
    # The intercept's standard error is about 0.08 here; forgetting the offset would be off by log 10 = 2.3.
    assert abs(np.mean(error[y == 0])) < 0.3
    assert abs(model.ratio_.mean() - 1.0) < 0.1


def test_several_sources_join_into_the_mixture():
    means = [0.0, 1.0, 0.5, -0.5]
    X, y = gaussians([300, 900, 600, 450], means)
    model = ClassifierRatio(target=0).fit(X, y)
    share = np.bincount(y) / len(y)
    against = [true_log_ratio(X, means[0], means[i]) for i in (1, 2, 3)]
    truth = 1.0 / (share[0] + sum(share[i] * np.exp(-r) for i, r in zip((1, 2, 3), against, strict=True)))
    nmse = np.mean((model.ratio_ - truth) ** 2) / np.var(truth)
    assert nmse < 0.15  # leaving the class sizes out gives about 0.66
    assert abs(model.ratio_.mean() - 1.0) < 0.05
    assert model.ratio_.min() > 0.0 and model.ratio_.max() <= 1.0 / model.target_share_
    # The log-odds say the same: sigmoid(log-odds) is the target's share of the density.
    np.testing.assert_allclose(1 / (1 + np.exp(-model.log_odds_)), share[0] * model.ratio_, rtol=1e-10)


def test_unknown_sources_need_no_labels_and_no_shares():
    X, y = gaussians([500, 2000], [1.0, 0.0])
    labels = np.where(y == 0, "human", "file")
    model = ClassifierRatio(target="human", others="mixture").fit(X, labels)
    inside = labels == "file"
    assert abs(model.ratio_[inside].mean() - 1.0) < 0.1
    np.testing.assert_allclose(model.ratio_, np.exp(model.log_ratio_[:, 0]))
    np.testing.assert_allclose(model.log_odds_, model.log_ratio_[:, 0] + np.log(500 / 2000))
    assert model.target_share_ is None


class Memoriser(ClassifierMixin, BaseEstimator):
    """Says what it was told about rows it has seen, and a half about all others."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = {row.tobytes(): float(label) for row, label in zip(X, y, strict=True)}
        return self

    def predict_proba(self, X):
        p = np.asarray([self.seen_.get(row.tobytes(), 0.5) for row in np.ascontiguousarray(X)])
        return np.stack([1 - p, p], axis=1)


def test_no_row_is_weighed_by_a_model_that_saw_it():
    X, y = gaussians([50, 50], [0.0, 0.0])
    model = ClassifierRatio(Memoriser(), target=1).fit(X, y)
    np.testing.assert_allclose(model.log_ratio_, 0.0, atol=1e-12)
    assert np.abs(model.predict_log_ratio(X)).max() > 10.0  # the average of models of which most saw the row
    np.testing.assert_array_equal(model.predict_log_ratio(X, fold=model.fold_), model.log_ratio_)


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression()),
     make_pipeline(StandardScaler(with_mean=False), LogisticRegression()),
     make_pipeline(StandardScaler(with_std=False), LogisticRegression())],
)  # fmt: skip
def test_linear_models_are_one_product_of_matrices(estimator):
    X, y = gaussians([300, 200, 100], [0.0, 1.0, 0.5], width=3)
    X += [0.0, 3.0, 1e4] if len(getattr(estimator, "steps", "")) > 1 else 0.0
    model = ClassifierRatio(estimator, target=1, calibrate="platt").fit(X, y)
    rows = X[:50] + 0.1
    for fold in (None, np.arange(50) % 6 - 1):
        wanted = np.full(50, -1) if fold is None else fold
        one_by_one = [
            np.mean([[member.log_ratio(row[None])[0] for member in members]
                     for members in (model.members_ if k < 0 else [model.members_[k]])], axis=0)
            for row, k in zip(rows, wanted, strict=True)
        ]  # fmt: skip
        np.testing.assert_allclose(model.predict_log_ratio(rows, fold), one_by_one, rtol=1e-9, atol=1e-9)


def test_fewer_groups_than_folds_leave_some_empty():
    X, y = gaussians([40, 40], [0.0, 1.0])
    model = ClassifierRatio(make_pipeline(StandardScaler(), LogisticRegression()), calibrate="platt", cv=5)
    model.fit(X, y, groups=np.repeat([0, 1, 2, 3, 4, 5], [20, 10, 10, 20, 10, 10]))
    assert len(np.unique(model.fold_)) == 3 and np.isfinite(model.ratio_).all()


def test_calibration_holds_out_too():
    X, y = gaussians([60, 60], [0.0, 0.0])
    model = ClassifierRatio(Memoriser(), target=1, calibrate="platt").fit(X, y)
    np.testing.assert_allclose(model.log_ratio_, 0.0, atol=1e-6)


def test_groups_stay_together():
    X, y = gaussians([60, 90], [0.0, 1.0])
    groups = np.arange(150) % 31
    model = ClassifierRatio().fit(X, y, groups=groups)
    for group in range(31):
        assert len(set(model.fold_[groups == group])) == 1
    assert set(model.fold_) == set(range(5))


@pytest.mark.parametrize("cv", [KFold(4, shuffle=True, random_state=1), GroupKFold(3)])
def test_splitters_are_taken(cv):
    X, y = gaussians([60, 90], [0.0, 1.0])
    groups = np.arange(150) % 10 if isinstance(cv, GroupKFold) else None
    model = ClassifierRatio(cv=cv).fit(X, y, groups=groups)
    assert set(model.fold_) == set(range(cv.get_n_splits()))


@pytest.mark.parametrize("calibrate", ["temperature", "platt"])
def test_calibration_mends_overconfidence(calibrate):
    X, y = gaussians([600, 600], [0.0, 0.7], width=60)
    raw = make_pipeline(PolynomialFeatures(2, interaction_only=True), StandardScaler(), LogisticRegression(C=100))

    def loss(model):
        z = model.log_ratio_[:, 0]
        return np.mean(np.logaddexp(0, np.where(y == 1, -z, z)))

    plain = loss(ClassifierRatio(raw, cv=3).fit(X, y))
    mended = loss(ClassifierRatio(raw, cv=3, calibrate=calibrate).fit(X, y))
    assert mended < min(plain, np.log(2) + 0.02)


@pytest.mark.parametrize(
    "estimator",
    [
        GaussianNB(),
        GradientBoostingClassifier(n_estimators=20),
        RandomForestClassifier(n_estimators=20, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
)
def test_any_classifier_gives_finite_ratios_in_order(estimator):
    X, y = gaussians([200, 300], [1.5, 0.0])
    model = ClassifierRatio(estimator, target=0).fit(X, y)
    assert np.isfinite(model.log_ratio_).all()
    truth = true_log_ratio(X, 1.5, 0.0)
    assert np.corrcoef(model.log_ratio_[:, 0], truth)[0, 1] > 0.5
    assert model.predict(X[:7]).shape == (7,)


def test_margins_are_no_log_odds_until_calibrated():
    X, y = gaussians([300, 900], [1.0, 0.0])
    with pytest.raises(ValueError, match=r"LinearSVC has no predict_proba.*calibrate='platt'"):
        ClassifierRatio(LinearSVC(), target=0).fit(X, y)
    model = ClassifierRatio(LinearSVC(), target=0, calibrate="platt").fit(X, y)
    assert abs(model.ratio_.mean() - 1.0) < 0.1


def test_texts_through_a_pipeline_and_sparse_matrices():
    texts = [f"yes indeed {i % 7}" for i in range(40)] + [f"no never {i % 7}" for i in range(40)]
    y = np.repeat(["human", "bot"], 40)
    whole = ClassifierRatio(make_pipeline(TfidfVectorizer(), LogisticRegression()), target="human").fit(texts, y)
    assert whole.ratio_[:40].min() > whole.ratio_[40:].max()
    counts = sparse.csr_matrix(TfidfVectorizer().fit_transform(texts))
    assert ClassifierRatio(target="human").fit(counts, y).ratio_.shape == (80,)


def test_shares_can_be_given():
    X, y = gaussians([100, 200, 300], [0.0, 0.5, 1.0])
    by_name = ClassifierRatio(target=0, target_share=0.5, other_shares={2: 0.1, 1: 0.4}).fit(X, y)
    in_order = ClassifierRatio(target=0, other_shares=[0.4, 0.1]).fit(X, y)
    np.testing.assert_allclose(by_name.ratio_, in_order.ratio_)
    assert by_name.ratio_.max() <= 2.0
    alone = ClassifierRatio(target=0, target_share=0.5).fit(X, y)
    np.testing.assert_allclose(alone.other_shares_, [0.2, 0.3])


def test_probabilities_are_used_where_the_decision_function_is_no_log_odds():
    X, y = gaussians([200, 200], [0.0, 1.0])
    assert ClassifierRatio().fit(X, y).members_[0][0].link == "decision"

    class Plain(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.inner_ = LogisticRegression().fit(X, y)
            self.classes_ = self.inner_.classes_
            return self

        def predict_proba(self, X):
            return self.inner_.predict_proba(X)

        def decision_function(self, X):
            return 3.0 * self.inner_.decision_function(X)

    model = ClassifierRatio(Plain()).fit(X, y)
    assert model.members_[0][0].link == "probability"
    np.testing.assert_allclose(model.log_ratio_, ClassifierRatio(LogisticRegression()).fit(X, y).log_ratio_, atol=1e-9)


def test_it_is_a_scikit_learn_estimator():
    model = ClassifierRatio(GaussianNB(), cv=3, calibrate="platt", target="a", random_state=4)
    copy = clone(model)
    assert copy.get_params() == {**model.get_params(), "estimator": copy.estimator}
    assert copy.set_params(cv=4).cv == 4
    X, y = gaussians([60, 90], [0.0, 1.0])
    first, second = ClassifierRatio(random_state=1).fit(X, y), ClassifierRatio(random_state=1).fit(X, y)
    np.testing.assert_array_equal(first.ratio_, second.ratio_)


X, Y = gaussians([30, 40], [0.0, 1.0])
HOLES = X.copy()
HOLES[17, 1] = np.nan


@pytest.mark.parametrize(
    ("model", "X", "y", "message"),
    [
        (ClassifierRatio(), X, np.ones(70), r"y holds one class only"),
        (
            ClassifierRatio(),
            X,
            np.r_[np.zeros(67), np.ones(3)],
            r"3 target samples cannot fill 5 folds; lower cv to 3",
        ),
        (
            ClassifierRatio(),
            X,
            np.r_[np.zeros(2), np.ones(68)],
            r"2 samples of source 0.0 cannot fill 5 folds",
        ),
        (ClassifierRatio(), HOLES, Y, r"X holds nan in row 17, column 1"),
        (ClassifierRatio(), sparse.csr_matrix(HOLES), Y, r"X holds nan in row 17, column 1"),
        (ClassifierRatio(target="x"), X, Y, r"target 'x' is not in y"),
        (ClassifierRatio(cv=1), X, Y, r"cv is 1; at least 2 folds"),
        (ClassifierRatio(cv="five"), X, Y, r"cv is 'five'"),
        (ClassifierRatio(calibrate="isotonic"), X, Y, r"calibrate is 'isotonic'"),
        (ClassifierRatio(others="unknown"), X, Y, r"others is 'unknown'"),
        (ClassifierRatio(class_sizes="equal"), X, Y, r"class_sizes is 'equal'"),
        (ClassifierRatio(others="mixture"), X, np.arange(70) % 3, r"others='mixture' takes one label"),
        (ClassifierRatio(others="mixture", target_share=0.5), X, Y, r"needs no shares"),
        (ClassifierRatio(target_share=0.5, other_shares=[0.1]), X, Y, r"sum to 0.6"),
        (ClassifierRatio(target_share=1.5), X, Y, r"share is 1.5"),
        (ClassifierRatio(other_shares={"z": 0.5}), X, Y, r"other_shares names \['z'\]"),
    ],
)
def test_wrong_input_is_refused_in_words(model, X, y, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


def test_classifiers_that_disagree_on_class_weights_are_refused():
    from sklearn.ensemble import VotingClassifier

    voters = [("a", LogisticRegression()), ("b", LogisticRegression(class_weight="balanced"))]
    with pytest.raises(ValueError, match="disagree on class_weight"):
        ClassifierRatio(VotingClassifier(voters, voting="soft")).fit(X, Y)
    said = ClassifierRatio(VotingClassifier(voters, voting="soft"), class_sizes="counts").fit(X, Y)
    assert np.isfinite(said.ratio_).all()


def test_a_group_that_holds_a_class_is_refused():
    with pytest.raises(ValueError, match="fall into one fold"):
        ClassifierRatio().fit(X, Y, groups=Y)


@pytest.mark.parametrize("n_target", range(40, 60))
def test_shares_that_round_badly_are_still_shares(n_target):
    features = np.random.default_rng(0).normal(size=(147, 1))
    model = ClassifierRatio(target=1).fit(features, np.arange(147) < n_target)
    assert np.isfinite(model.log_odds_).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, np.nan, 1.0] * 10, "y holds nan in row 1; every row needs a label"),
        (["a", "b", None] * 10, "y holds None in row 2; every row needs a label"),
        (["a"] * 30, "y holds one class only, 'a';"),
        (["a", "b", "b"] * 10, r"target 'c' is not in y, which holds \['a', 'b'\]"),
    ],
)
@pytest.mark.parametrize("estimator", [ClassifierRatio, ULSIF])
def test_labels_that_name_no_source_are_shown_as_they_were_given(estimator, labels, message):
    with pytest.raises(ValueError, match=message):
        estimator(target="c").fit(np.zeros((30, 2)), np.array(labels))


def test_groups_and_columns_are_counted():
    X, y = gaussians([30, 30], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"groups has shape \(5,\); one group for each of the 60 rows is needed"):
        ClassifierRatio(target=0).fit(X, y, groups=np.arange(5))
    model = ClassifierRatio(target=0).fit(X, y)
    with pytest.raises(ValueError, match=f"X has {X.shape[1] + 1} features, but ClassifierRatio was fitted to"):
        model.predict(np.column_stack([X, X[:, :1]]))
    np.testing.assert_allclose(model.predict(X[:3].tolist()), model.predict(X[:3]), rtol=1e-12)


@pytest.mark.parametrize("units", [1e4, 1e-4, 1e30, 1e-30, [1e4, 1.0]], ids=str)
def test_units_do_not_change_the_default_ratio(units):
    rng = np.random.default_rng(0)
    X, y = np.concatenate([rng.normal(0.5, 1, (60, 2)), rng.normal(0, 1, (80, 2))]), [1] * 60 + [0] * 80
    plain, scaled = ClassifierRatio().fit(X, y), ClassifierRatio().fit(X * units, y)
    np.testing.assert_allclose(scaled.ratio_, plain.ratio_, rtol=1e-3)
    np.testing.assert_allclose(scaled.predict(X * units), plain.predict(X), rtol=1e-3)
