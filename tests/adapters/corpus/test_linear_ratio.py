"""The classifier of dense features, which does without scikit-learn: scikit-learn's optimum, and its calibration."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from adapters.corpus.corpora import options, rows_of, spread
from counterpoise_adapters._calibration import calibration
from counterpoise_adapters._linear_ratio import LinearRatio
from counterpoise_adapters.corpus.engine import LocalEngine
from counterpoise_adapters.corpus.fit import begin, finish, fit_fold
from counterpoise_adapters.corpus.run import run_corpus
from counterpoise_adapters.sklearn import ClassifierRatio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SHARES = {"target_share": 0.2, "other_shares": [0.5, 0.3], "others": "sources"}
MIXTURE = {"target_share": None, "other_shares": None, "others": "mixture"}


def samples(n=900, d=5, sources=2, seed=0, gap=0.6):
    """Rows of the target, label 0, and of sources; columns of unlike units, one of them constant."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, sources + 1, n)
    y[: 12 * (sources + 1)] = np.tile(np.arange(sources + 1), 12)
    X = generator.normal(size=(n, d)) + gap * np.outer(y, generator.normal(size=d))
    X = X * 10.0 ** np.arange(-2, d - 2) + 50.0
    X[:, 1] = 0.1
    return X, y


def peer(**how):
    """scikit-learn's own fit, to a tolerance at which its answer can be compared."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=10_000, tol=1e-9))
    return ClassifierRatio(pipeline, target=0, **how)


@pytest.mark.parametrize("calibrate", [None, "temperature", "platt"])
@pytest.mark.parametrize(("shares", "sources"), [(SHARES, 2), (MIXTURE, 1)])
@pytest.mark.parametrize("grouped", [False, True])
def test_it_is_the_optimum_that_scikit_learn_looks_for(calibrate, shares, sources, grouped):
    X, y = samples(sources=sources)
    groups = np.arange(len(y)) // 3 if grouped else np.arange(len(y))
    how = {"cv": 4, "calibrate": calibrate, "random_state": 3, **shares}
    ours, theirs = (make(**how).fit(X, y, groups) for make in (LinearRatio, peer))
    np.testing.assert_array_equal(ours.fold_, theirs.fold_)
    np.testing.assert_allclose(ours.log_ratio_, theirs.log_ratio_, atol=2e-5)
    np.testing.assert_allclose(ours.log_odds_, theirs.log_odds_, atol=2e-5)
    new, _ = samples(seed=1, sources=sources)
    fold = np.arange(len(new)) % 5 - 1
    log_ratio = ours.predict_log_ratio(new, fold)
    np.testing.assert_allclose(log_ratio, theirs.predict_log_ratio(new, fold), atol=2e-5)
    np.testing.assert_allclose(ours.ratio(log_ratio), theirs.ratio(log_ratio), rtol=1e-12)


@given(seed=st.integers(0, 10**6), gap=st.sampled_from([0.0, 0.5, 5.0, 500.0]), n=st.integers(40, 200))
@settings(max_examples=40, deadline=None)
def test_its_gradient_vanishes_however_far_the_samples_are_apart(seed, gap, n):
    X, y = samples(n, 4, 1, seed, gap)
    # With no calibration the form is the fit itself, but for the class sizes.
    model = LinearRatio(cv=2, calibrate=None, random_state=0, **MIXTURE)
    for number in model.assign(X, y, np.arange(n)):
        (form,), _ = model.fit_fold(X, y, number, np.arange(n))
        rows, labels = X[model.fold_ != number], (y == 0)[model.fold_ != number].astype(float)
        scale = np.where(np.ptp(rows, axis=0) > 0, rows.std(axis=0), 1.0)
        prior = np.log(labels.sum() / (1 - labels).sum())
        chance = 1 / (1 + np.exp(-((rows - form.centre) @ form.slope + form.level + prior)))
        off = chance - labels
        gradient = ((rows - form.centre) / scale).T @ off + 10.0 * form.slope * scale
        assert np.abs(np.append(gradient, off.sum())).max() < 1e-6 * n


@given(seed=st.integers(0, 10**6), gap=st.floats(-2, 4), shift=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_calibration_has_the_least_loss_of_any_scale_above_0(seed, gap, shift):
    generator = np.random.default_rng(seed)
    is_target = generator.random(80) < 0.3
    is_target[:2] = True, False
    log_ratio = generator.normal(size=80) + gap * is_target
    n_target, n_other = is_target.sum(), (~is_target).sum()
    labels = np.where(is_target, (n_target + 1) / (n_target + 2), 1 / (n_other + 2))
    prior = np.log(n_target / n_other)

    def loss(free):
        eta = free[0] * log_ratio + free[1] + prior
        return np.mean(np.logaddexp(0.0, eta) - labels * eta)

    found = calibration(log_ratio, is_target, shift=shift)
    assert found[0] >= 0 and (shift or found[1] == 0)
    bounds = [(0.0, None), (None, None) if shift else (0.0, 0.0)]
    assert loss(found) <= minimize(loss, [1.0, 0.0], method="L-BFGS-B", bounds=bounds).fun + 1e-9


def test_what_cannot_be_fitted_is_refused():
    X, y = samples(60, sources=1)
    how = {"cv": 3, "calibrate": "platt", "random_state": 0, **MIXTURE}
    with pytest.raises(ValueError, match="one class only"):
        LinearRatio(**how).fit(X, 0 * y, np.arange(60))
    with pytest.raises(ValueError, match="cannot fill 3 folds"):
        LinearRatio(**how).fit(X, np.arange(60) < 2, np.arange(60))
    with pytest.raises(ValueError, match="calibrate is 'odd'"):
        LinearRatio(**{**how, "calibrate": "odd"}).fit(X, y, np.arange(60))
    with pytest.raises(ValueError, match="a group holds all samples of a class"):
        LinearRatio(**{**how, "cv": 2}).fit(
            X[:12], np.minimum(np.arange(12) // 4, 1), np.maximum(np.arange(12) // 2, np.arange(12) - 2)
        )


def test_columns_of_numbers_are_weighed_without_scikit_learn_and_pandas(tmp_path):
    """Loading the one takes two seconds in every worker, the other half a second, for which pyarrow is enough."""
    corpus = spread(tmp_path / "corpus", rows_of(), 2, ending="parquet")
    code = """
import sys
from counterpoise_adapters.cli import main
sys.argv[1:] = ["weigh", sys.argv[1], "--out", sys.argv[2], "--target", "source=human", "--features", "x"]
main()
""".replace("main()", "try:\n    main()\nfinally:\n    print(*{name.partition('.')[0] for name in sys.modules})")
    command = [sys.executable, "-c", code, str(corpus), str(tmp_path / "out")]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "pyarrow" in found and not {"sklearn", "scipy", "pandas"} & set(found)


class Sent(LocalEngine):
    """Keeps what an engine on other machines would send there, as the workers get it."""

    def __init__(self, folder):
        self._folder = folder

    def _keep(self, *parts):
        (self._folder / f"{len(list(self._folder.iterdir()))}.pkl").write_bytes(pickle.dumps(parts))

    def run(self, job, shards, *, featurises=False):
        self._keep(job, shards)
        return super().run(job, shards, featurises=featurises)

    def reduce(self, load, merge, paths):
        self._keep(load, merge, paths)
        return super().reduce(load, merge, paths)

    def fit(self, job, paths):
        self._keep(job, paths, begin, fit_fold, finish, begin(job, paths))
        return super().fit(job, paths)

    def once(self, function, *arguments):
        self._keep(function, *arguments)
        return super().once(function, *arguments)


@pytest.mark.parametrize("method", ["classifier", "ulsif"])
def test_a_worker_that_is_warm_loads_nothing_more(method, tmp_path):
    """What one worker loads between the stages all others wait for."""
    corpus = spread(tmp_path / "corpus", rows_of(), 2, ending="parquet")
    (tmp_path / "sent").mkdir()
    how = {"text": (), "features": ("x",), "method": method, "calibrate": None}
    run_corpus(options(corpus, tmp_path / "out", **how), Sent(tmp_path / "sent"))
    code = """
import pathlib, pickle, sys
from counterpoise_adapters.corpus.fit import warm
warm(sys.argv[2], False)
loaded = set(sys.modules)
for path in pathlib.Path(sys.argv[1]).iterdir():
    pickle.loads(path.read_bytes())
print(len(loaded), *set(sys.modules) - loaded)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "sent"), method]
    count, *more = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(count) > 100 and not more
    assert len(list((tmp_path / "sent").iterdir())) >= 7
