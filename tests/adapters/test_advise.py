"""Advice: exact policies, an honest test of the labels, one standard error, and what wrong input gets."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from counterpoise_adapters.advise import Candidate, LabelBias, Labelled, Pairs, Score, advise, label_bias
from counterpoise_adapters.advise._advice import DEFAULTS, STEPS, choose, score_arms
from counterpoise_adapters.advise._candidates import ARMS, CANDIDATES, held_out_margins, tilt_of
from counterpoise_adapters.advise._data import prepare
from counterpoise_adapters.advise._linear import Tilt, fit_linear, log_loss
from counterpoise_adapters.advise._sentences import _of_scores
from counterpoise_adapters.cli.arms import ARMS as COMPARED
from counterpoise_adapters.cli.policy import fit_policy
from counterpoise_adapters.cli.worlds import BIASED, SAME, draw_pairs
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("candidate", CANDIDATES[1::4], ids=lambda c: f"{c.arm} {c.power or c.penalty or ''}")
def test_every_candidate_minimises_the_objective_that_compare_minimises(candidate):
    """An independent solver (L-BFGS on counterpoise's own objectives) ends where Newton's method does."""
    items, source = draw_pairs(BIASED, (20, 30, 30), seed=0)
    ratio = np.random.default_rng(0).uniform(0.2, 2.0, len(items))
    names = {arm.name: arm for arm in COMPARED}
    power = 1.0 if candidate.power is None else candidate.power
    parts = ("target only", "reweighting") if candidate.arm == "target + weighted" else (candidate.arm,)
    penalty = candidate.penalty or float("nan")

    def objective(losses):
        found = [names[part].evaluate(losses, ratio**power, source == 0, penalty) for part in parts]
        value, weights = (sum(getattr(one, what) for one in found) / len(found) for what in ("value", "weights"))
        return found[0]._replace(value=value, weights=weights)

    wanted = fit_policy(items, objective, l2=candidate.l2)
    found = fit_linear(items[:, 0] - items[:, 1], tilt_of(candidate, ratio, source == 0), l2=candidate.l2)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert set(ARMS) - {"target + weighted"} <= set(names)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), penalty=st.sampled_from([0.1, 1.0, np.inf]), l2=st.floats(1e-4, 10.0))
def test_the_fit_is_stationary_wherever_it_starts(seed, penalty, l2):
    generator = np.random.default_rng(seed)
    x, scale = generator.normal(size=(30, 3)) * 3, generator.uniform(0, 3, 30) * (generator.random(30) < 0.8)
    tilt = Tilt(generator.dirichlet(np.ones(30)), scale, penalty)

    def value(theta):
        scaled = scale * log_loss(x @ theta)
        tilted = tilt.prior @ scaled if np.isinf(penalty) else penalty * np.log(tilt.prior @ np.exp(scaled / penalty))
        return tilted + l2 / 2 * theta @ theta

    theta = fit_linear(x, tilt, l2=l2)
    far = fit_linear(x, tilt, l2=l2, start=generator.normal(size=3) * 3)
    assert value(far) == pytest.approx(value(theta), abs=1e-7)
    for _ in range(10):  # strong convexity
        other = theta + generator.normal(size=3) * 10.0 ** generator.uniform(-3, 0)
        assert value(other) >= value(theta) + l2 / 2 * (other - theta) @ (other - theta) - 1e-7


def labels_world(seed, *, bias, shift, misfit=0.0, n=(50, 250), d=5):
    """Pairs whose non-target features are shifted and whose labels follow another taste by ``bias``."""
    generator = np.random.default_rng(seed)
    source = np.repeat([0, 1], n)
    items = generator.normal(size=(sum(n), 2, d)) + shift * source[:, None, None] * np.eye(d)[-1]
    taste = np.stack([np.eye(d)[0], (np.eye(d)[0] + bias * np.eye(d)[1]) / np.hypot(1, bias)])[source]
    score = 1.5 * np.einsum("nkd,nd->nk", items, taste) + misfit * (items[..., -1] ** 2 + np.sin(2 * items[..., 2]))
    first = generator.random(sum(n)) < 1 / (1 + np.exp(score[:, 1] - score[:, 0]))
    items = np.where(first[:, None, None], items, items[:, ::-1])
    exact = -shift * items[..., -1].sum(axis=1)  # log target/others of the two responses, up to a constant
    return items[:, 0] - items[:, 1], source == 0, exact


@pytest.mark.parametrize(("shift", "misfit"), [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)])
def test_equal_labels_are_rarely_called_different(shift, misfit):
    worlds = (labels_world(seed, bias=0.0, shift=shift, misfit=misfit) for seed in range(100))
    p = np.array([label_bias(*world, draws=99).p_value for world in worlds])
    # at most 5 % of them: 5 of 100, with deviation 2.2; strata leave a little shift inside
    assert (p <= 0.05).sum() <= 14
    assert 0.3 < p.mean() < 0.7


def test_different_labels_are_found():
    found = [label_bias(*labels_world(seed, bias=2.0, shift=0.5), draws=99).p_value for seed in range(20)]
    assert np.median(found) <= 0.05


def test_labels_are_not_compared_where_nothing_is_alike():
    x, is_target, _ = labels_world(0, bias=2.0, shift=0.0)
    for apart in (np.where(is_target, 1.0, 0.0), np.where(is_target, 1.0, 2.0)):
        found = label_bias(x, is_target, apart)
        assert found.comparable == 0.0 and found.p_value == 1.0 and np.isnan(found.statistic)


def test_rows_of_one_group_are_not_independent():
    x, is_target, score = labels_world(0, bias=0.0, shift=0.0)
    many = [np.repeat(v, 6, axis=0) for v in (x, is_target, score)]
    alone = label_bias(x, is_target, score).p_value
    assert label_bias(*many).p_value < 0.05 < alone  # copies taken for new rows
    assert label_bias(*many, group=np.repeat(np.arange(len(x)), 6)).p_value == pytest.approx(alone, abs=0.15)


def test_scores_are_paired_and_errors_count_groups():
    generator = np.random.default_rng(0)
    margins = generator.normal(size=(2, len(CANDIDATES), 30))
    scores = score_arms(margins, np.arange(30))
    losses = np.logaddexp(0, -margins).mean(axis=0)
    plain = CANDIDATES.index(scores[0].candidate)
    for score in scores[1:]:
        mine = CANDIDATES.index(score.candidate)
        difference = losses[plain] - losses[mine]
        assert score.gain == pytest.approx(difference.mean())
        assert score.standard_error == pytest.approx(difference.std(ddof=1) / np.sqrt(30))
        rivals = [losses[i].mean() for i, c in enumerate(CANDIDATES) if c.arm == score.candidate.arm]
        assert score.log_loss == pytest.approx(min(rivals))
    doubled = score_arms(np.repeat(margins, 2, axis=2), np.repeat(np.arange(30), 2))
    assert [s.standard_error for s in doubled] == pytest.approx([s.standard_error for s in scores])
    assert scores[0].gain == 0.0 and 0.0 in [s.lead for s in scores if s.candidate.arm in DEFAULTS]


def score_of(arm, log_loss=0.6, lead=0.0, lead_error=0.0):
    return Score(Candidate(arm, 0.1), log_loss, 0.5, 0.0, 0.0, lead, lead_error)


ALIKE, DIFFERENT = (LabelBias(1.0, p, 1.0, 999) for p in (0.05, 0.049))


def test_a_gain_that_is_told_is_no_zero():
    plain, better = (
        Score(candidate, loss, 1.0, 3e-4 - loss, 2e-5, 0.0, 0.0)
        for candidate, loss in zip(CANDIDATES[:2], (3e-4, 1e-4), strict=True)
    )
    assert "2e-04 ± 2e-05 below plain training's 3e-04" in _of_scores(better, (plain, better))
    assert "less log-loss on held-out target rows than plain training's 3e-04." in _of_scores(plain, (plain, plain))


def test_the_best_default_is_left_only_for_a_lead_beyond_doubt():
    plain, both, alone = (score_of(arm, 0.6 - 0.05 * i) for i, arm in enumerate(DEFAULTS))
    assert choose((plain, both, alone), ALIKE) is alone
    assert choose((plain, both), ALIKE) is both
    assert choose((score_of("ERM", 0.5), both, alone), ALIKE).candidate.arm == "ERM"  # a tie falls to the plain way
    ahead = score_of("DoRA", 0.40, lead=0.100, lead_error=0.026)
    assert choose((plain, both, ahead), ALIKE) is both
    beyond = score_of("DoRA", 0.40, lead=0.100, lead_error=0.024)
    assert choose((plain, both, ahead, beyond), ALIKE) is beyond
    assert choose((plain, both, score_of("reweighting", 0.3, lead=0.2, lead_error=0.04), beyond), ALIKE).lead == 0.2


def test_no_lead_of_a_ratio_that_must_know_the_labels_is_believed():
    plain, both = score_of("ERM", 0.6), score_of("target + weighted", 0.5)
    leads = [score_of(arm, 0.1, lead=0.4, lead_error=0.001) for arm in ARMS if arm not in DEFAULTS]
    assert choose((plain, both, *leads), ALIKE) is leads[0]
    assert choose((plain, both, *leads), DIFFERENT) is both


def test_no_policy_is_judged_by_rows_of_a_group_that_it_saw():
    """Each group has a feature of its own that gives its labels away: held out, it is worth nothing."""
    key = np.repeat(np.arange(40), 5)
    sign = np.random.default_rng(0).choice([-1.0, 1.0], 40)
    x = (np.eye(40) * sign)[key]
    is_target = np.arange(200) < 100
    margins = held_out_margins(x, is_target, np.ones(200), key, folds=5, repeats=2, seed=0, advance=lambda: None)
    assert margins.shape == (2, len(CANDIDATES), 100) and np.abs(margins).max() < 1e-9


def pairs_of(world, seed, counts=(60, 300, 300)):
    items, source = draw_pairs(world, counts, seed)
    return Pairs(items[:, 0], items[:, 1]), source


def test_advice_weighs_where_labels_differ_and_not_where_nothing_does():
    ticks = []
    for seed in range(3):
        data, source = pairs_of(BIASED, seed)
        found = advise(data, target=source == 0, source=source, repeats=1, advance=lambda: ticks.append(1))
        assert (
            found.supported
            and found.recommended.candidate.arm not in ("ERM", "target only")
            and len(ticks) == (seed + 1) * STEPS
        )
        assert "Train with weights" in found.headline and found.evidence.auc > 0.6
    plain = [advise(data, target=source == 0, repeats=1) for data, source in (pairs_of(SAME, s) for s in range(3))]
    assert sum(not found.supported for found in plain) >= 2
    assert all("could only add noise" in " ".join(found.reasons) for found in plain if found.evidence.auc < 0.55)


def test_units_order_and_labels_do_not_matter():
    data, source = pairs_of(BIASED, 0, (40, 80, 80))
    ratio = np.where(source == 0, 2.0, 0.75)
    first = advise(data, target=source == 0, ratio=ratio, repeats=1)
    scaled = Pairs(np.asarray(data.preferred) * 1e4 + 7, np.asarray(data.other) * 1e4 + 7)
    again = advise(scaled, target=source == 0, ratio=ratio, repeats=1)
    assert again.recommended.candidate == first.recommended.candidate
    assert again.recommended.log_loss == pytest.approx(first.recommended.log_loss, rel=1e-4)
    x, y = np.asarray(data.preferred) - np.asarray(data.other), np.arange(200) % 2 == 0
    labelled = [Labelled(np.where(y[:, None], x, -x), label) for label in (y, y.astype(int), np.where(y, 1.0, -1.0))]
    found = [advise(d, target=source == 0, ratio=ratio, repeats=1) for d in labelled]
    assert found[0] == found[1] == found[2]


def test_advice_with_a_ratio_needs_numpy_only():
    code = (
        "import sys, numpy as np; sys.modules['sklearn'] = sys.modules['scipy'] = None\n"
        "from counterpoise_adapters.advise import Labelled, advise\n"
        "r = np.random.default_rng(0); x = r.normal(size=(90, 2)); t = np.arange(90) < 30\n"
        "print(advise(Labelled(x, x[:, 0] > 0), target=t, ratio=np.ones(90), repeats=1).headline)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "Train" in done.stdout, done.stderr


GOOD = np.random.default_rng(0).normal(size=(20, 2))
TARGET = np.arange(20) < 8


@pytest.mark.parametrize(
    ("data", "changes", "error", "says"),
    [
        (Labelled(np.full((20, 2), np.nan), TARGET), {}, ValueError, "NaN or infinite entry in row 0"),
        (Labelled(GOOD[:, 0], TARGET), {}, ValueError, "rows by at least one feature"),
        (Labelled(GOOD, np.arange(20)), {}, ValueError, "true and false, 0 and 1, or -1 and 1"),
        (Labelled(GOOD, TARGET[:3]), {}, ValueError, "one label for each of the 20 rows"),
        (Pairs(GOOD, GOOD[:, :1]), {}, ValueError, "they must be the same"),
        (Pairs(GOOD.astype(str), GOOD), {}, TypeError, "preferred has dtype <U"),
        (Pairs(GOOD, -GOOD), {"target": TARGET.astype(int)}, TypeError, "true or false, one per row"),
        (Pairs(GOOD, -GOOD), {"target": TARGET[:5]}, ValueError, "one value for each of the 20 rows"),
        (Pairs(GOOD, -GOOD), {"target": np.ones(20, bool)}, ValueError, "all of the 20 rows are target rows"),
        (Pairs(GOOD, -GOOD), {"target": np.zeros(20, bool)}, ValueError, "none of the 20 rows are target rows"),
        (Pairs(GOOD, -GOOD), {"target": np.arange(20) < 3}, ValueError, "3 groups, too few for 5 folds"),
        (Pairs(GOOD, -GOOD), {"group": np.zeros(20)}, ValueError, "1 groups, too few for 5 folds"),
        (Pairs(GOOD, -GOOD), {"folds": 1}, ValueError, "at least 2 and 1 are needed"),
        (Pairs(GOOD, -GOOD), {"ratio": np.full(20, -1.0)}, ValueError, "ratio is -1.0 in row 0"),
        (Pairs(GOOD, -GOOD), {"ratio": np.full(20, np.inf)}, ValueError, "finite and not negative: cap it"),
        (Pairs(GOOD, -GOOD), {"ratio": np.zeros(20)}, ValueError, "zero in every row"),
        (Pairs(GOOD, -GOOD), {"ratio": np.ones(3)}, ValueError, "one value for each of the 20 rows"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(data, changes, error, says):
    with pytest.raises(error, match=says):
        advise(data, **{"target": TARGET, "ratio": np.ones(20), **changes})


def test_what_the_ratio_of_pairs_sees_blindly_does_not_depend_on_the_preference():
    other = GOOD[::-1] ** 2
    ahead, behind = prepare(Pairs(GOOD, other)), prepare(Pairs(other, GOOD))
    np.testing.assert_allclose(ahead.blind, behind.blind, atol=1e-12)
    np.testing.assert_allclose(ahead.x, -behind.x, atol=1e-12)


# ---------------------------------------------------------------------------------------------- the command


def write_pairs(path, world=BIASED, counts=(40, 60, 60), **changes):
    items, source = draw_pairs(world, counts, seed=3)
    rows = [
        {"source": "human" if place == 0 else f"bot<{place}>", "chosen": pair[0], "rejected": pair[1],
         "ratio": 2.0 if place == 0 else 0.66, **changes}
        for pair, place in zip(items.tolist(), source.tolist(), strict=True)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.said = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}

    def handle_data(self, data):
        self.said += data


def test_the_command_prints_a_verdict_and_writes_a_page(command, tmp_path):
    name = "pairs[v2].jsonl"  # no markup
    write_pairs(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    first = ("advise", name, "--target", "source=human", "--numbers", "--repeats", 1)
    done = command(*first)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: 160 rows; target rows: 40 (source=human)")
    assert all(arm in done.stdout for arm in ARMS) and "Train" in done.stdout and "gain over ERM" in done.stdout
    page = Page()
    page.feed((tmp_path / "pairs[v2]-advice.html").read_text())
    assert "script" not in page.tags and "svg" in page.tags
    assert all(said in page.said for said in ("AUC", "Effective rows", "Mean of the ratio", "Different labels", *ARMS))
    refused = command(*first)
    assert refused.returncode == 2 and "exists already" in refused.stderr
    printed = command(*first, "--json", "--force")
    found = json.loads(printed.stdout)
    assert found["headline"] in done.stdout and found["headline"] in page.said
    assert [score["candidate"]["arm"] for score in found["scores"]] == list(ARMS)
    assert found["evidence"]["rows"] == 160 and found["evidence"]["n_target"] == 40
    assert (tmp_path / name).read_bytes() == before
    given_ratio = command(*first, "--ratio", "ratio", "--json", "--force")
    assert json.loads(given_ratio.stdout)["evidence"]["mean_ratio"] == pytest.approx((40 * 2 + 120 * 0.66) / 160)


def test_the_command_reads_samples_with_labels(command, tmp_path):
    generator = np.random.default_rng(0)
    words = ["plain", "warm", "odd", "short", "vivid", "smooth"]
    rows = [
        {"who": "us" if i % 3 == 0 else "them", "text": " ".join(generator.choice(words, 6)), "good": bool(i % 2)}
        for i in range(90)
    ]
    for row in rows:  # what a label means does not depend on who gives it
        row["text"] += " fine" if row["good"] else " poor"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--target", "who=us", "--label", "good", "--text", "text", "--repeats", 1, "--json")
    done = command("advise", "rows.jsonl", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["recommended"]["accuracy"] > 0.9 and found["evidence"]["bias"]["p_value"] > 0.05


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.jsonl", "--target", "source=human"], "missing.jsonl: no such file"),
        (["pairs.jsonl"], "--target COLUMN=VALUE"),
        (["pairs.jsonl", "--target", "source=robot", "--numbers"], "matches none of the 160 rows"),
        (["pairs.jsonl", "--target", "source=human"], "row 1: column 'chosen' is a list, not text"),
        (["pairs.jsonl", "--target", "source=human", "--numbers", "--folds", "50"], "too few for 50 folds"),
        (["pairs.jsonl", "--target", "source=human", "--numbers", "--ratio", "no"], "row 1: no column 'no'"),
        (["pairs.jsonl", "--target", "source=human", "--numbers", "--ratio", "chosen"], "a ratio is one number >= 0"),
        (["pairs.jsonl", "--target", "source=human", "--text", "chosen"], "--text and --features go with --label"),
        (["pairs.jsonl", "--target", "source=human", "--label", "source", "--numbers"], "--numbers are for pairs"),
        (["pairs.jsonl", "--target", "source=human", "--label", "source", "--features", "chosen"], "3 labels"),
        (["pairs.jsonl", "--target", "source=human", "--numbers", "--report", "no/a.html"], "does not exist"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, refusal, arguments, says):
    write_pairs(tmp_path / "pairs.jsonl")
    before = sorted(tmp_path.iterdir())
    assert says in refusal("advise", *arguments)
    assert sorted(tmp_path.iterdir()) == before
