"""RobustConfig without a trainer: which weights it gives, what it refuses; and the list format of DoRA's code."""

import math

import pytest

import counterpoise as cp

torch = pytest.importorskip("torch")
from counterpoise_adapters._lists import pairs_from_lists  # noqa: E402
from counterpoise_adapters.pytorch.config import RobustConfig, Running  # noqa: E402

LOSSES = torch.tensor([0.3, 1.2, -0.4, 2.0, 0.9], dtype=torch.float64)
RATIO = torch.tensor([0.5, 1.5, 1.0, 0.2, 1.8], dtype=torch.float64)
GROUPS = torch.tensor([0.0, 1.0, 1.0, 0.0, 2.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("config", "side", "want"),
    [
        ({"objective": "kl_dro", "penalty": 0.7}, None, lambda: cp.kl_dro(LOSSES, 0.7)),
        ({"objective": "dora", "penalty": 0.7}, RATIO, lambda: cp.dora(LOSSES, RATIO, 0.7)),
        ({"objective": "dora", "penalty": math.inf}, RATIO, lambda: cp.dora(LOSSES, RATIO, math.inf)),
        ({"objective": "reweighted"}, RATIO, lambda: cp.reweighted(LOSSES, RATIO)),
        ({"objective": "target_dro", "penalty": 0.7}, RATIO,
         lambda: cp.target_dro(LOSSES, RATIO, cp.KL(), penalty=0.7)),
        ({"objective": "target_dro", "radius": 0.2, "divergence": "hellinger"}, RATIO,
         lambda: cp.target_dro(LOSSES, RATIO, cp.Hellinger(), radius=0.2)),
        ({"objective": "cvar", "level": 0.5}, None, lambda: cp.cvar(LOSSES, 0.5)),
        ({"objective": "worst_case", "radius": 0.3, "divergence": "chi_square"}, None,
         lambda: cp.constrained(LOSSES, cp.ChiSquare(), 0.3)),
        ({"objective": "worst_case", "penalty": 0.3}, None, lambda: cp.penalized(LOSSES, cp.KL(), 0.3)),
        ({"objective": "group_dro"}, GROUPS, lambda: cp.group_dro(LOSSES, GROUPS.long(), n_groups=3)),
        ({"objective": "group_dro", "divergence": "kl", "radius": 0.1}, GROUPS,
         lambda: cp.group_dro(LOSSES, GROUPS.long(), n_groups=3, divergence=cp.KL(), radius=0.1)),
        ({"objective": "erm"}, None, lambda: cp.erm(LOSSES)),
    ],
)  # fmt: skip
def test_weights_are_the_objective_s_in_units_of_uniform(config, side, want):
    tilt, expected = RobustConfig(**config).tilt(LOSSES, side), want()
    torch.testing.assert_close(tilt.weights / 5, expected.weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tilt.value, expected.value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("objective", ["kl_dro", "dora", "worst_case", "target_dro"])
@pytest.mark.parametrize("share", [0.3, 0.55])
def test_a_target_ess_is_met(objective, share):
    losses = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e3
    ratio = torch.linspace(0.5, 1.5, 200, dtype=torch.float64)
    config = RobustConfig(objective, target_ess=share)
    tilt = config.tilt(losses, ratio if config.column else None)
    assert cp.effective_sample_size(tilt.weights).item() == pytest.approx(share * 200, rel=1e-2)


def test_schedules_go_from_the_first_amount_to_the_last():
    linear = RobustConfig("cvar", level=0.9, schedule="linear", final=0.5)
    cosine = RobustConfig("dora", penalty=2.0, schedule="cosine", final=1.0)
    assert [linear.amount(x) for x in (0.0, 0.25, 1.0)] == pytest.approx([0.9, 0.8, 0.5])
    assert [cosine.amount(x) for x in (0.0, 0.25, 1.0)] == pytest.approx([2.0, 1.5 + math.sqrt(0.125), 1.0])


def test_a_running_shift_is_that_of_the_data_in_the_end():
    config = RobustConfig("dora", penalty=0.5, scope="running", memory=0.5)
    running, held = Running(config), {}
    want = cp.dora(LOSSES, RATIO, 0.5)
    far = running(LOSSES + 1.0, RATIO, held, steps=1)
    for _ in range(60):
        shift = running(LOSSES, RATIO, held, steps=1)
    assert far > shift and shift == pytest.approx(want.value.item(), rel=1e-9)
    tilt = config.tilt(LOSSES, RATIO, shift=shift)
    torch.testing.assert_close(tilt.weights / 5, want.weights, rtol=1e-8, atol=1e-10)
    for off in (-0.3, 0.3):  # any other shift: the same direction, by a known factor
        other = config.tilt(LOSSES, RATIO, shift=shift + off)
        torch.testing.assert_close(other.weights, tilt.weights * math.exp(-off / 0.5))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_running_shift_does_not_take_up_what_it_would_never_be_rid_of(bad):
    running, held = Running(RobustConfig("dora", penalty=0.5, scope="running")), {}
    running(LOSSES, RATIO, held, steps=1)
    before = dict(held)
    spoilt = LOSSES.clone()
    spoilt[1] = bad
    with pytest.raises(RuntimeError, match=f"the loss of example 1 is {bad}"):
        running(spoilt, RATIO, held, steps=1)
    assert held == before
    assert math.isfinite(running(LOSSES, RATIO, held, steps=1))
    spoilt[1] = -math.inf  # a mask
    assert math.isfinite(running(spoilt, RATIO, held, steps=1))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"objective": "dpo"}, "objective is 'dpo'; it is one of erm, weighted"),
        ({"objective": "kl_dro"}, "takes penalty; given: none"),
        ({"objective": "erm", "penalty": 1.0}, "takes no amount; given: penalty"),
        ({"objective": "weighted", "radius": 1.0}, "'weighted' takes no amount; given: radius"),
        ({"objective": "dora", "penalty": -1.0}, "penalty is -1.0; a float >= 0"),
        ({"objective": "dora", "penalty": 1.0, "divergence": "kl"}, "objective 'dora' takes none"),
        ({"objective": "worst_case", "penalty": 1.0, "divergence": "renyi"}, "divergence is 'renyi'; it is one of"),
        ({"objective": "group_dro", "penalty": 1.0}, "with a divergence only"),
        ({"objective": "dora", "penalty": 1.0, "scope": "epoch"}, "scope is 'epoch'"),
        ({"objective": "dora", "penalty": 1.0, "schedule": "linear"}, "give both or neither"),
        ({"objective": "dora", "penalty": 1.0, "final": 2.0}, "give both or neither"),
        ({"objective": "dora", "penalty": 1.0, "schedule": "linear", "final": math.inf}, "two finite amounts"),
        ({"objective": "cvar", "level": 0.5, "schedule": "linear", "final": 2.0}, "level is 2.0"),
        ({"objective": "erm", "schedule": "linear", "final": 2.0}, "two finite amounts"),
        ({"objective": "kl_dro", "target_ess": 1.5}, "share in \\(0, 1\\)"),
        ({"objective": "kl_dro", "target_ess": 0.5, "penalty": 1.0}, "given with penalty"),
        ({"objective": "cvar", "target_ess": 0.5}, "'cvar'"),
        ({"objective": "cvar", "level": 0.5, "scope": "running"}, "scope 'running' is for 'kl_dro' and 'dora'"),
        ({"objective": "dora", "penalty": 1.0, "scope": "running", "memory": 1.0}, "memory is 1.0"),
        (
            {"objective": "dora", "penalty": 1.0, "scope": "running", "schedule": "linear", "final": 0.0},
            "with a penalty that is positive",
        ),
    ],
)
def test_wrong_configs_say_what_is_wanted(config, message):
    with pytest.raises(ValueError, match=message):
        RobustConfig(**config)


LIST = {
    "prompt": "p",
    "responses": ["a", "b", "c", "d"],
    "scores": [0.85, 0.6, 0.6, 1.5],
    "probs": [0.9, 0.5, 0.0, 1.0],
}


def test_lists_become_all_pairs_of_unequal_scores_with_bounded_ratios():
    pairs = list(pairs_from_lists([{**LIST, "source": 3}], target_share=0.25))
    assert [(p["chosen"], p["rejected"]) for p in pairs] == [("d", "a"), ("d", "b"), ("d", "c"), ("a", "b"), ("a", "c")]
    h = {"a": 1 / (0.25 + 0.75 / 9), "b": 1.0, "c": 0.0, "d": 4.0}
    for p in pairs:
        assert p["ratio"] == pytest.approx((h[p["chosen"]] + h[p["rejected"]]) / 2, rel=1e-9) and p["source"] == 3
    (best,) = pairs_from_lists([LIST], target_share=0.25, which="extremes", pair="product")
    assert best == {"prompt": "p", "chosen": "d", "rejected": "c", "ratio": 0.0}
    (first, *_) = pairs_from_lists([LIST], target_share=0.25, pair="product")
    assert first["ratio"] == pytest.approx(h["d"] * h["a"], rel=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": [1.0]}, "row 0 has 4 responses, 1 scores, 4 probs"),
        ({"probs": [0.1, 0.2, 0.3, 1.3]}, "row 0.*probs in \\[0, 1\\]"),
        ({"scores": [0.1, 0.2, 0.3, math.nan]}, "row 0: scores have to be finite"),
    ],
)
def test_bad_lists_name_the_row(change, message):
    with pytest.raises(ValueError, match=message):
        list(pairs_from_lists([{**LIST, **change}], target_share=0.5))
    with pytest.raises(ValueError, match="row 0 has no probs; its fields are prompt"):
        list(pairs_from_lists([{k: v for k, v in LIST.items() if k != "probs"}], target_share=0.5))
    with pytest.raises(ValueError, match="target_share is 0"):
        list(pairs_from_lists([LIST], target_share=0))
