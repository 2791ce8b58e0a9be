"""The published tables are the committed numbers; the arms and the fits are what they say."""

import json

import numpy as np
import pytest
from counterpoise_adapters.cli.policy import fit_policy

import counterpoise as cp
from benchmarks.alignment import report
from benchmarks.alignment.arms import ARMS, Columns
from benchmarks.alignment.cache import cached
from benchmarks.alignment.fitting import fit_linear
from benchmarks.alignment.synthetic import LIST_ARMS, PAIR_ARMS, run_regime
from benchmarks.alignment.training import FOLDS, Problem, train_arm
from benchmarks.alignment.worlds import REGIMES


def published():
    text = report.README.read_text(encoding="utf-8")
    return text.partition(report.BEGIN + "\n")[2].partition(report.END)[0]


def test_the_readme_shows_the_committed_numbers():
    assert published() == report.summary(report.read_rows())


def test_the_tables_show_the_committed_numbers():
    assert (report.RESULTS / "README.md").read_text(encoding="utf-8") == report._tables(report.read_rows())


def test_every_world_is_there_and_every_kind_has_its_figure():
    rows = report.read_rows()
    for kind, arms in (("pairs", PAIR_ARMS), ("lists", LIST_ARMS)):
        mine = [row for row in rows if row.kind == kind]
        assert [row.name for row in mine] == list(REGIMES)
        assert all(row.arms == arms for row in mine)
    for kind in {row.kind for row in rows}:
        assert (report.RESULTS / f"{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_a_changed_number_changes_the_summary(tmp_path):
    numbers = json.loads((report.RESULTS / "pairs.json").read_text(encoding="utf-8"))
    numbers["biased"]["accuracy"] = np.asarray(numbers["biased"]["accuracy"])[:, ::-1].tolist()
    (tmp_path / "pairs.json").write_text(json.dumps(numbers), encoding="utf-8")
    assert report.summary(report.read_rows(tmp_path)) != published()


def problem(seeds=2, n=60, d=3):
    generator = np.random.default_rng(0)
    differences = generator.normal(size=(seeds, n, d)) + np.array([0.7, 0.0, -0.2])
    target = np.tile(np.arange(n) % 4 == 0, (seeds, 1, 1)).astype(float)
    ratio = generator.gamma(2.0, size=(seeds, 1, n))
    slots = generator.gamma(2.0, size=(seeds, 1, n, 2))
    return Problem(
        differences, Columns(target, ratio, ratio[..., ::-1], slots, slots), np.tile(np.arange(n) % FOLDS, (seeds, 1))
    )


@pytest.mark.parametrize("name", ["ERM", "KL-DRO", "reweighting", "DoRA, paper", "DoRA, λ = 1", "target-centred DRO"])
def test_batched_policies_are_scipys(name):
    arm = next(arm for arm in ARMS if arm.name == name)
    given = problem()
    l2 = np.array([[0.01, 0.3], [0.01, 0.3]])
    prior = np.ones((2, 2, given.differences.shape[1]))

    amount = np.full((2, 2), 0.5)
    found = fit_linear(given.differences, lambda losses: arm.evaluate(losses, given.columns, prior, amount), l2)
    for seed in range(2):
        one = Columns(**{k: v[seed, 0] for k, v in vars(given.columns).items()})
        items = np.stack([given.differences[seed], np.zeros_like(given.differences[seed])], axis=1)

        def objective(losses, one=one):
            return arm.evaluate(losses, one, np.ones(len(losses)), 0.5)

        for setting in range(2):
            wanted = fit_policy(items, objective, l2=l2[seed, setting])
            np.testing.assert_allclose(found[seed, setting], wanted, atol=2e-3)


def test_target_only_sees_target_examples_only():
    given = problem()
    arm = next(arm for arm in ARMS if arm.name == "target only")
    moved = given.differences.copy()
    moved[given.columns.target[:, 0] == 0] *= -5.0
    first = train_arm(given, arm)[0]
    second = train_arm(Problem(moved, given.columns, given.fold), arm)[0]
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_list_losses_are_means_over_their_pairs():
    """With one weight per list and per pair the same, lists of one pair are pairs."""
    given = problem()
    erm = ARMS[0]
    lists = Problem(np.repeat(given.differences, 2, axis=1), given.columns, given.fold, per_unit=2)
    np.testing.assert_allclose(train_arm(given, erm)[0], train_arm(lists, erm)[0], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["pairs", "lists"])
def test_a_small_run_of_a_world(shape):
    found = run_regime("small n", shape, 2)
    accuracy = np.asarray(found["accuracy"])
    assert accuracy.shape == (2, len(found["arms"])) and ((accuracy > 0) & (accuracy <= 1)).all()
    assert accuracy[:, -1].mean() > accuracy[:, 0].mean()  # labels are biased: ERM is below
    assert found["mean_ratio"] == pytest.approx(1.0, abs=0.2)


def test_results_are_kept_until_their_code_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.alignment.cache.FOLDER", tmp_path)
    calls = []

    def compute():
        calls.append(1)
        return {"value": len(calls)}

    assert cached("a b", ("worlds",), compute, seeds=2) == cached("a b", ("worlds",), compute, seeds=2) == {"value": 1}
    assert cached("a b", ("worlds",), compute, seeds=3) == {"value": 2}
    assert cached("a b", ("arms",), compute, seeds=2) == {"value": 3}


def test_the_gpt_does_not_look_ahead():
    torch = pytest.importorskip("torch")
    from benchmarks.alignment.gpt import GPT, LENGTH

    torch.manual_seed(0)
    model, ids = GPT().eval(), torch.randint(3, 300, (1, LENGTH))
    changed = ids.clone()
    changed[0, 10:] = torch.randint(3, 300, (LENGTH - 10,))
    before, after = model(ids)[0], model(changed)[0]
    torch.testing.assert_close(before[:9], after[:9])
    assert not torch.allclose(before[9:], after[9:])
    assert model(torch.zeros(1, LENGTH, dtype=torch.long)).abs().max() == 0.0  # padding has no loss


def test_scaled_arm_is_the_preset():
    arm = next(arm for arm in ARMS if arm.name == "DoRA, scaled")
    given = problem(seeds=1)
    losses = np.abs(given.differences[:, None, :, 0])
    prior = np.ones_like(losses)
    wanted = cp.scaled_dora(losses, given.columns.ratio, spreads=1.5)
    np.testing.assert_allclose(arm.evaluate(losses, given.columns, prior, np.array([[1.5]])).weights, wanted.weights)
