"""The demo command: generated worlds with known answers, what it writes, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
from counterpoise_adapters.cli.arms import ARMS
from counterpoise_adapters.cli.demonstration import COUNTS, world_outcomes
from counterpoise_adapters.cli.verdict import compare_outcomes
from counterpoise_adapters.cli.worlds import ALIKE, BIASED, SAME, draw_pairs


@pytest.mark.parametrize("world", [BIASED, ALIKE, SAME], ids=lambda world: world.title)
def test_worlds_repeat_by_seed_and_hold_their_counts(world):
    items, source = draw_pairs(world, COUNTS, seed=4)
    again, _ = draw_pairs(world, COUNTS, seed=4)
    other, _ = draw_pairs(world, COUNTS, seed=5)
    assert np.array_equal(items, again) and not np.array_equal(items, other)
    assert tuple(np.bincount(source)) == COUNTS


def test_without_a_bias_all_sources_prefer_alike_and_with_one_they_do_not():
    def preference(world):
        """Mean of preferred minus other by source, whose direction is the taste."""
        items, source = draw_pairs(world, (20_000,) * 3, seed=0)
        means = np.stack([(items[source == s, 0] - items[source == s, 1]).mean(axis=0) for s in range(3)])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    # a mean of 20,000 differences has a deviation of about 0.01 beside a length of about 1
    same, biased = preference(SAME), preference(BIASED)
    np.testing.assert_allclose(same @ same[0], 1.0, atol=5e-3)
    np.testing.assert_allclose(biased @ biased[0], [1.0, 1.0, 1 / np.sqrt(5.0)], atol=0.05)


def test_outcomes_repeat_by_seed():
    first, again = (world_outcomes(SAME, 3) for _ in range(2))
    assert np.array_equal(first.accuracy, again.accuracy) and np.array_equal(first.log_loss, again.log_loss)


@pytest.mark.slow
def test_weighting_helps_in_the_shifted_world_and_not_without_shift():
    found = {
        world.title: compare_outcomes([world_outcomes(world, seed) for seed in range(6)], shared=0.0)
        for world in (BIASED, SAME)
    }
    names = [arm.name for arm in ARMS]
    gain = found[BIASED.title].against["ERM"][names.index("reweighting")]
    assert gain is not None and gain.low > 0
    assert found[BIASED.title].helps and "Weighting helps here" in found[BIASED.title].verdict
    assert not found[SAME.title].helps and "does not help here" in found[SAME.title].verdict


@pytest.mark.slow
def test_demo_writes_everything_without_torch(tmp_path):
    script = """
import sys
from counterpoise_adapters.cli import main
sys.argv = ["counterpoise", "demo", "--seeds", "2"]
try:
    main()
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "counterpoise-demo"
    assert sorted(path.name for path in folder.iterdir()) == [
        "demo.csv", "demo.png", "pairs.jsonl", "weighed.html", "weighed.jsonl",
    ]  # fmt: skip
    weighed = [json.loads(line) for line in (folder / "weighed.jsonl").read_text().splitlines()]
    assert len(weighed) == sum(COUNTS)
    assert np.mean([row["weight"] for row in weighed]) == pytest.approx(1.0)
    assert done.stdout.count("trained by") == 3
    refused = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )  # fmt: skip
    assert refused.returncode == 2 and "--force" in refused.stderr
    assert refused.stderr.count("\n") == 1 and "Traceback" not in refused.stderr


def test_demo_refuses_a_folder_that_cannot_be(refusal, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert "taken: cannot make this folder" in refusal("demo", "--out", "taken")
    assert (tmp_path / "taken").read_text() == "a file"
