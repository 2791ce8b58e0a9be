"""Least squares from sums over shards: what the samples themselves give, and what it is good for."""

import numpy as np
import pytest
from adapters.corpus.corpora import columns, options, read, spread, write
from counterpoise_adapters.cli.rows import TargetFilter
from counterpoise_adapters.cli.weighing import run
from counterpoise_adapters.corpus.batches import Batch
from counterpoise_adapters.corpus.fit import FitJob
from counterpoise_adapters.corpus.passes import identify
from counterpoise_adapters.corpus.sample import Draw
from counterpoise_adapters.corpus.shards import Shard
from counterpoise_adapters.corpus.spec import Spec
from counterpoise_adapters.corpus.sums import Bumps, SumJob, add_statistics, load_sums, solve

import counterpoise as cp

SUMS = {"text": (), "features": ("x",), "method": "ulsif", "calibrate": None}


def ring(n=3000, seed=0):
    """Rows of two numbers; target rows are those of a middle radius, by a chance that is no function of a line."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 2))
    chance = 0.9 * np.exp(-8 * (np.linalg.norm(x, axis=1) - 1.2) ** 2)
    source = np.where(generator.random(n) < chance, "human", "web")
    rows = [{"id": i, "source": str(source[i]), "text": "", "x": x[i].tolist()} for i in range(n)]
    return rows, x, source == "human", chance


def fitted(corpus, shards, spec, bumps, counts, tmp_path):
    files = {str(path): tmp_path / f"{number}.npz" for number, path in enumerate(shards)}
    job = SumJob(spec=spec, batch_size=700, files=files, place={"human": 0, "web": 1, "": 1}, bumps=bumps)
    assert sum(job(Shard(str(path), path)) for path in shards) == len(corpus)
    sums = load_sums(files[str(shards[0])])
    for path in shards[1:]:
        sums = add_statistics(sums, load_sums(files[str(path)]))
    return solve(FitJob(spec, {0: Draw(-1, 0)}, counts), bumps, sums)


def test_sums_give_the_fit_of_the_samples_that_are_not_in_the_fold(tmp_path):
    rows, x, is_target, _ = ring()
    spec = Spec(features=("x",), target=TargetFilter.parse(["source=human"]), method="ulsif", folds=3, seed=4)
    base = cp.gaussian_features(target=x[is_target], train=x, n_centres=20, bandwidth=0.4)
    corpus = spread(tmp_path / "corpus", rows, 4, seed=1)
    shards = sorted(corpus.rglob("part-*"))
    counts = int(is_target.sum()), int((~is_target).sum())
    model = fitted(rows, shards, spec, Bumps((base,), 3, 4), counts, tmp_path)
    _, key = identify(Batch(list(enumerate(rows, 1)), first=1, path="rows"), spec, spec.featuriser(), x)
    fold = model.bumps.fold_of(key)
    ratio, log_odds = model.weigh(x, key)
    assert sorted(np.bincount(fold)) == pytest.approx([1000] * 3, abs=5 * np.sqrt(667))
    losses = {}
    for penalty in np.float64(10.0) ** np.arange(-4, 2, 0.5):
        found, loss = np.empty(len(x)), []
        for k in range(3):
            kept, out = fold != k, fold == k
            one = cp.fit_ulsif(
                target=x[kept & is_target], train=x[kept], features=base, bandwidth=0.4, penalty=float(penalty)
            )
            raw = cp.feature_map(base, x[out]) @ one.coefficients  # the loss is that of the ratio before it is cut
            found[out] = raw
            loss.append(np.mean(raw**2) / 2 - np.mean(raw[is_target[out]]))
        losses[float(np.mean(loss))] = found
    best = losses[min(losses)]
    np.testing.assert_allclose(ratio, np.clip(best, 0.0, len(x) / counts[0]), rtol=1e-8, atol=1e-9)
    chance = ratio * counts[0] / len(x)
    within = (chance > 0.01) & (chance < 0.99)
    np.testing.assert_allclose(log_odds[within], np.log(chance / (1 - chance))[within], atol=1e-9)
    assert np.isfinite(log_odds).all()


def test_a_ratio_that_no_line_divides_is_found_by_sums_and_not_by_a_logistic_regression(tmp_path):
    rows, _, is_target, chance = ring()
    truth = chance / is_target.mean()
    path = write(tmp_path / "rows.jsonl", rows)
    error = {}
    for method, how in {"ulsif": SUMS, "classifier": {"text": (), "features": ("x",)}}.items():
        run(options(path, tmp_path / f"{method}.jsonl", fit_rows=1000, **how))
        found = columns(read(tmp_path / f"{method}.jsonl"))[:, 0]
        error[method] = np.mean((found - truth) ** 2) / np.mean(truth**2)
    assert error["ulsif"] < 0.25 * error["classifier"]
    assert "from sums over every sample" in (tmp_path / "ulsif.jsonl.html").read_text()
    assert "learnt from 3,000 samples" in (tmp_path / "ulsif.jsonl.html").read_text()
