"""The compare command: an exact policy, honest intervals, and what wrong input gets."""

import csv
import json
import math

import numpy as np
import pytest
from counterpoise_adapters.cli.arms import ARMS
from counterpoise_adapters.cli.experiment import Outcome, choose_split
from counterpoise_adapters.cli.policy import accuracy, fit_policy, ranking_losses
from counterpoise_adapters.cli.verdict import compare_outcomes
from counterpoise_adapters.cli.worlds import BIASED, draw_pairs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

import counterpoise as cp

NAMES = [arm.name for arm in ARMS]


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(-30, 30)))
def test_ranking_losses_are_plackett_luce(scores):
    losses, slopes = ranking_losses(scores)
    for row, loss in zip(scores, losses, strict=True):
        chance = math.prod(
            math.exp(row[k]) / sum(math.exp(s) for s in row[k:]) for k in range(len(row) - 1)
        )  # each place is drawn from what is left
        assert loss == pytest.approx(-math.log(chance), abs=1e-9)
    step = 1e-6
    for k in range(scores.shape[1]):
        ahead, behind = scores.copy(), scores.copy()
        ahead[:, k] += step
        behind[:, k] -= step
        slope = (ranking_losses(ahead)[0] - ranking_losses(behind)[0]) / (2 * step)
        np.testing.assert_allclose(slopes[:, k], slope, atol=1e-7)


def test_losses_stay_finite_where_exponentials_would_not():
    losses, slopes = ranking_losses(np.array([[-2000.0, 2000.0], [2000.0, -2000.0]]))
    assert losses.tolist() == [4000.0, 0.0] and np.isfinite(slopes).all()


@pytest.mark.parametrize("arm", ARMS, ids=NAMES)
def test_the_policy_is_at_a_minimum_of_its_objective(arm):
    items, source = draw_pairs(BIASED, (20, 30, 30), seed=0)
    ratio = np.random.default_rng(0).uniform(0.2, 2.0, len(items))
    penalty, l2 = arm.penalties[0], 0.05

    def value(theta):
        losses, _ = ranking_losses(items @ theta)
        return float(arm.evaluate(losses, ratio, source == 0, penalty).value) + 0.5 * l2 * theta @ theta

    theta = fit_policy(items, lambda losses: arm.evaluate(losses, ratio, source == 0, penalty), l2=l2)
    generator = np.random.default_rng(1)
    for _ in range(30):
        other = theta + generator.normal(size=theta.shape) * 10.0 ** generator.uniform(-3, 0)
        # strong convexity: a minimiser is l2/2 times the squared distance below every other point
        assert value(other) >= value(theta) + 0.5 * l2 * float((other - theta) @ (other - theta)) - 1e-4


def test_accuracy_shares_ties():
    assert accuracy(np.zeros((1, 4))).tolist() == [0.25]


def test_no_key_is_on_both_sides_of_a_split():
    generator = np.random.default_rng(0)
    source, key = generator.integers(0, 3, 500), generator.integers(0, 120, 500)
    train, test = choose_split(source, key, target_rows=20, other_rows=50, test_share=0.4, seed=1)
    assert not np.intersect1d(key[train], key[test]).size
    assert (source[test] == 0).all() and (source[train] == 0).sum() == 20 and (source[train] != 0).sum() == 50


def outcomes_of(accuracies, *, test=500, train=1000):
    rest = np.full(len(ARMS), 0.6)
    return [Outcome(np.asarray(row), rest, rest, rest, 1.0, 500.0, train, test) for row in accuracies]


def test_intervals_hold_for_all_arms_together_and_count_the_overlap():
    generator = np.random.default_rng(0)
    accuracies = 0.6 + 0.01 * generator.normal(size=(8, len(ARMS)))
    fresh = compare_outcomes(outcomes_of(accuracies), shared=0.0).against["ERM"]
    again = compare_outcomes(outcomes_of(accuracies), shared=0.3).against["ERM"]
    for i in range(1, len(ARMS)):
        differences = accuracies[:, i] - accuracies[:, 0]
        level = 1 - 0.05 / (len(ARMS) - 1)
        low, high = stats.t.interval(level, 7, differences.mean(), stats.sem(differences))
        assert (fresh[i].low, fresh[i].high) == pytest.approx((low, high))
        widening = math.sqrt((1 / 8 + 0.3 / 0.7) / (1 / 8))
        assert again[i].high - again[i].mean == pytest.approx(widening * (high - differences.mean()))


@pytest.mark.parametrize("seeds", [2, 10])
def test_equal_differences_are_no_certainty(seeds):
    accuracies = np.full((seeds, len(ARMS)), 0.6)
    accuracies[:, NAMES.index("DoRA")] += 0.1 / 20  # a tenth of a list more, every time
    found = compare_outcomes(outcomes_of(accuracies, test=20), shared=0.3)
    assert all(i.low < 0 < i.high for i in found.against["ERM"] if i is not None) and not found.helps


def test_few_test_rows_widen_the_intervals_however_many_others_train():
    accuracies = 0.6 + 0.05 * np.random.default_rng(0).normal(size=(10, len(ARMS)))
    few, many = (
        compare_outcomes(outcomes_of(accuracies, test=30, train=train), shared=0.3).against["ERM"][1]
        for train in (100, 100_000)
    )
    assert few == many


def test_chance_alone_rarely_reads_as_help():
    """Where no arm is better "helps" is a false alarm: the intervals promise at most 5 % of them."""
    generator = np.random.default_rng(0)
    alarms = sum(
        compare_outcomes(outcomes_of(0.6 + 0.02 * generator.normal(size=(10, len(ARMS)))), shared=0.0).helps
        for _ in range(400)
    )
    # "helps" looks at one side only, so its rate is about half; 20 of 400 has mean 10 and deviation 3.1 beneath it
    assert alarms <= 20


@pytest.mark.parametrize(
    ("gain_over_erm", "gain_of_target", "says"),
    [
        (0.0, 0.0, "does not help here: no weighted arm beats ERM beyond chance. Train as usual"),
        (0.0, 0.1, "Training on the target rows alone does"),
        (0.1, 0.0, "better than target only"),
        (0.1, 0.1, "does not tell it from training on the target rows alone"),
        (0.1, 0.2, "training on the target rows alone is better still"),
    ],
)
def test_the_verdict_follows_the_intervals(gain_over_erm, gain_of_target, says):
    generator = np.random.default_rng(0)
    accuracies = 0.6 + 1e-3 * generator.normal(size=(10, len(ARMS)))
    accuracies[:, NAMES.index("reweighting")] += gain_over_erm
    accuracies[:, NAMES.index("target only")] += gain_of_target
    assert says in compare_outcomes(outcomes_of(accuracies), shared=0.0).verdict


def test_a_harmful_arm_is_named():
    accuracies = 0.6 + 1e-3 * np.random.default_rng(0).normal(size=(10, len(ARMS)))
    accuracies[:, NAMES.index("DoRA")] -= 0.1
    assert "Worse than ERM beyond chance: DoRA." in compare_outcomes(outcomes_of(accuracies), shared=0.0).verdict


def write_pairs(path, counts=(30, 40, 40), **changes):
    items, source = draw_pairs(BIASED, counts, seed=3)
    rows = [
        {"id": i, "source": "human" if place == 0 else "bot", "chosen": pair[0], "rejected": pair[1], **changes}
        for i, (pair, place) in enumerate(zip(items.tolist(), source.tolist(), strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_compare_writes_its_files_and_says_the_same_twice(command, tmp_path):
    write_pairs(tmp_path / "pairs.jsonl")
    before = (tmp_path / "pairs.jsonl").read_bytes()
    done = command("compare", "pairs.jsonl", "--target", "source=human", "--numbers", "--seeds", 2)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("ERM", "target only", "DoRA", "Weighting"))
    first = (tmp_path / "pairs-compare.csv").read_bytes()
    rows = list(csv.DictReader(first.decode().splitlines()))
    assert len(rows) == 2 * len(ARMS) and {row["arm"] for row in rows} == set(NAMES)
    assert (tmp_path / "pairs-compare.png").read_bytes().startswith(b"\x89PNG")
    refused = command("compare", "pairs.jsonl", "--target", "source=human", "--numbers")
    assert refused.returncode == 2 and "exists already" in refused.stderr
    again = command("compare", "pairs.jsonl", "--target", "source=human", "--numbers", "--seeds", 2, "--force")
    assert again.stdout == done.stdout and (tmp_path / "pairs-compare.csv").read_bytes() == first
    assert (tmp_path / "pairs.jsonl").read_bytes() == before


def test_compare_reads_text(command, tmp_path):
    generator = np.random.default_rng(0)
    words = ["plain", "warm", "odd", "short", "vivid", "smooth", "long"]
    rows = [
        {"source": "human" if i % 3 == 0 else "bot", "chosen": " ".join(generator.choice(words, 6)),
         "rejected": " ".join(generator.choice(words, 4))}
        for i in range(90)
    ]  # fmt: skip
    name = "pairs[v2].jsonl"  # no markup
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("compare", name, "--target", "source=human", "--seeds", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: 2 seeds, trained on 81, tested on 9 target pairs")
    with (tmp_path / "pairs[v2]-compare.csv").open() as file:
        accuracies = [float(row["accuracy"]) for row in csv.DictReader(file) if row["arm"] == "ERM"]
    # the preferred response is the longer one, which the length feature shows
    assert len(accuracies) == 2 and min(accuracies) > 0.9


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.jsonl", "--target", "source=human"], "missing.jsonl: no such file"),
        (["pairs.jsonl"], "--target COLUMN=VALUE"),
        (["pairs.jsonl", "--target", "source=robot", "--numbers"], "matches none of the 110 rows (values: bot, human)"),
        (["pairs.jsonl", "--target", "source=human"], "row 1: column 'chosen' is a list, not text"),
        (["pairs.jsonl", "--target", "source=human", "--chosen", "best"], "row 1: no column 'best'"),
        (["pairs.jsonl", "--target", "source=human", "--numbers", "--test-share", "0.95"], "lower --test-share"),
        (["pairs.jsonl", "--target", "source=human", "--numbers", "--other-rows", "1"], "1 samples of source 'bot'"),
        (["pairs.jsonl", "--target", "source=human", "--numbers", "--out", "no/where"], "folder no does not exist"),
        (["nan.jsonl", "--target", "source=human", "--numbers"], "nan.jsonl, row 2: feature column 'rejected' is nan"),
        (["huge.jsonl", "--target", "source=human", "--numbers"], "huge.jsonl, row 2: feature column 'rejected' holds"),
        (["empty.jsonl", "--target", "source=human"], "empty.jsonl: the file is empty"),
        (["latin.jsonl", "--target", "source=human"], "latin.jsonl, row 1: not UTF-8"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, refusal, arguments, says):
    write_pairs(tmp_path / "pairs.jsonl")
    row = '{"source": "%s", "chosen": [1.0], "rejected": [%s]}\n'
    (tmp_path / "nan.jsonl").write_text(row % ("human", "2.0") + row % ("bot", "NaN"))
    (tmp_path / "huge.jsonl").write_text(row % ("human", "2.0") + row % ("bot", "-1e200"))
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "latin.jsonl").write_bytes('{"source": "bücher"}\n'.encode("latin-1"))
    before = sorted(tmp_path.iterdir())
    assert says in refusal("compare", *arguments)
    assert sorted(tmp_path.iterdir()) == before


def test_every_arm_is_an_objective_of_the_core():
    losses, ratio = np.array([0.1, 0.5, 0.9]), np.array([0.5, 1.0, 1.5])
    for arm in ARMS:
        found = arm.evaluate(losses, ratio, np.array([True, False, True]), arm.penalties[0])
        assert isinstance(found, cp.Objective) and int(found.status) == cp.Status.CONVERGED
