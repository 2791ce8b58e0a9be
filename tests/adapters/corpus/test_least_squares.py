"""Least squares from sums over shards: what the samples themselves give, and what it is good for."""

from functools import reduce

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


def fitted(parts, spec, bumps, counts, folder):
    """Sum shards one by one, add the sums up, and solve; each part is (shards, source of each label)."""
    sums = []
    for shards, place in parts:
        files = {str(path): folder / f"{path.name}-{len(sums)}-{number}.npz" for number, path in enumerate(shards)}
        job = SumJob(spec=spec, batch_size=700, files=files, place=place, bumps=bumps)
        for path in shards:
            job(Shard(str(path), path))
        sums += [load_sums(file) for file in files.values()]
    return solve(FitJob(spec, {0: Draw(-1, 0)}, counts), bumps, reduce(add_statistics, sums))


def of_samples(x, is_target, is_train, fold, base):
    """Fit the samples themselves, fold by fold; return the raw ratio of every row at the penalty of least loss."""
    losses = {}
    for penalty in np.float64(10.0) ** np.arange(-4, 2, 0.5):
        found, loss = np.empty(len(x)), []
        for k in range(3):
            kept, out = fold != k, fold == k
            target, train = x[kept & is_target], x[kept & is_train]
            one = cp.fit_ulsif(target=target, train=train, features=base, bandwidth=0.4, penalty=float(penalty))
            found[out] = cp.feature_map(base, x[out]) @ one.coefficients  # whose loss is that before it is cut
            loss.append(np.mean(found[out & is_train] ** 2) / 2 - np.mean(found[out & is_target]))
        losses[float(np.mean(loss))] = found
    return losses[min(losses)]


@pytest.mark.parametrize("inside", [True, False])
def test_sums_give_the_fit_of_the_samples_that_are_not_in_the_fold(inside, tmp_path):
    rows, x, is_target, _ = ring()
    target = TargetFilter.parse(["source=human"]) if inside else None
    spec = Spec(features=("x",), target=target, method="ulsif", folds=3, seed=4)
    base = cp.gaussian_features(target=x[is_target], train=x, n_centres=20, bandwidth=0.4)
    if inside:
        shards = sorted(spread(tmp_path / "corpus", rows, 4, seed=1).rglob("part-*"))
        parts = [(shards, {"human": 0, "web": 1})]
    else:
        humans, others = ([row for row in rows if (row["source"] == "human") == wanted] for wanted in (True, False))
        parts = [
            (sorted(spread(tmp_path / name, some, 2).rglob("part-*")), {"": place})
            for place, (name, some) in enumerate({"target": humans, "corpus": others}.items())
        ]
    counts = int(is_target.sum()), int((~is_target).sum())
    model = fitted(parts, spec, Bumps((base,), 3, 4), counts, tmp_path)
    _, key = identify(Batch(list(enumerate(rows, 1)), first=1, path="rows"), spec, spec.featuriser(), x)
    fold = model.bumps.fold_of(key)
    assert sorted(np.bincount(fold)) == pytest.approx([1000] * 3, abs=5 * np.sqrt(667))
    ratio, log_odds = model.weigh(x, key)
    expected = of_samples(x, is_target, np.ones(len(x), dtype=bool) if inside else ~is_target, fold, base)
    most = len(x) / counts[0] if inside else np.inf
    np.testing.assert_allclose(ratio, np.clip(expected, 0.0, most), rtol=1e-8, atol=1e-9)
    # Inside, ratio times the target's share is the chance of a target row; outside, the counts are the odds.
    odds = ratio * counts[0] / (len(x) - ratio * counts[0]) if inside else ratio * counts[0] / counts[1]
    within = (odds > 0.01) & (odds < 99)
    np.testing.assert_allclose(log_odds[within], np.log(odds[within]), atol=1e-9)
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
