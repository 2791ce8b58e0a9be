"""Plain training stays plain, to the bit; evaluation, checkpoints and the rest of TRL stay as they are."""

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
from counterpoise_adapters.trl import RobustConfig  # noqa: E402

UNIFORM = [
    {"objective": "erm"},
    {"objective": "kl_dro", "penalty": math.inf},
    {"objective": "worst_case", "divergence": "chi_square", "penalty": math.inf, "scope": "step"},
    {"objective": "weighted", "weight_column": "ones"},
    {"objective": "dora", "ratio_column": "ones", "penalty": math.inf},
]
TRAINERS = [
    ("DPO", {"loss_type": ["sigmoid", "ipo"], "loss_weights": [1.0, 0.5]}), ("DPO", {"loss_type": ["sigmoid", "sft"]}),
    ("Reward", {}), ("KTO", {}), ("ORPO", {}), ("CPO", {}), ("SFT", {}),
]  # fmt: skip
TIMES = ("runtime", "per_second", "_time", "flos")


def with_ones(data):
    return data.add_column("ones", [1.0] * len(data))


def records(made, leave=()):
    """Logs without timings and without what only a robust trainer writes."""
    return [
        {k: v for k, v in entry.items() if not k.startswith("robust/") and not any(t in k for t in (*TIMES, *leave))}
        for entry in made.state.log_history
    ]


def trained(tiny, folder, short, config, **options):
    made = tiny.trainer(short, folder, config, **{"max_steps": 20, "dtype": torch.float32, **options})
    made.train()
    return made


def assert_same(a, b, leave=()):
    assert records(a, leave) == records(b, leave)
    for (name, mine), (_, theirs) in zip(a.model.state_dict().items(), b.model.state_dict().items(), strict=True):
        assert torch.equal(mine, theirs), name


@pytest.mark.filterwarnings("ignore:.*stays unweighted")
@pytest.mark.parametrize(("short", "options"), TRAINERS, ids=[f"{s}{i}" for i, (s, _) in enumerate(TRAINERS)])
def test_uniform_weights_are_the_stock_trainer_to_the_bit(tiny, tmp_path, short, options):
    data = with_ones(tiny.rows(tiny.KINDS[short]))
    stock = trained(tiny, tmp_path, short, None, data=data, gradient_accumulation_steps=2, **options)
    for robust in UNIFORM if short == "DPO" else UNIFORM[1:4]:
        config = RobustConfig(**robust)
        made = trained(tiny, tmp_path, short, config, data=data, gradient_accumulation_steps=2, **options)
        assert_same(made, stock)
        assert made.state.log_history[0]["robust/max_weight"] == 1.0
    changed = RobustConfig("weighted")
    made = trained(tiny, tmp_path, short, changed, data=data, gradient_accumulation_steps=2, **options)
    assert records(made) != records(stock)  # this test would notice


def test_evaluation_is_left_alone_and_needs_no_columns(tiny, tmp_path):
    bare = tiny.rows("pair", 6, seed=9).remove_columns(["ratio", "weight", "log_odds", "group"])
    for held in (bare, tiny.rows("pair", 6, seed=9)):
        scores = []
        for config in (None, RobustConfig("dora", penalty=0.1), RobustConfig("kl_dro", penalty=0.1, scope="step")):
            made = tiny.trainer("DPO", tmp_path, config, eval_dataset=held)
            scores.append({k: v for k, v in made.evaluate().items() if not any(t in k for t in TIMES)})
        assert scores[0] == scores[1] == scores[2]
        assert "eval_loss" in scores[0]
    made = tiny.trainer("Reward", tmp_path, RobustConfig("kl_dro", penalty=0.1), eval_dataset=tiny.rows("pair", 6))
    stock = tiny.trainer("Reward", tmp_path, eval_dataset=tiny.rows("pair", 6))
    assert made.evaluate()["eval_loss"] == stock.evaluate()["eval_loss"]


def test_columns_reach_neither_evaluation_nor_the_reference_model(tiny, tmp_path):
    seen = []

    class Seeing(tiny.trl("DPOTrainer")):
        def prediction_step(self, model, inputs, *args, **kwargs):
            seen.append(set(inputs))
            return super().prediction_step(model, inputs, *args, **kwargs)

        def compute_ref_log_probs(self, *args):
            seen.extend(set(a) for a in args if isinstance(a, dict))
            return super().compute_ref_log_probs(*args)

    made = tiny.trainer(
        "DPO", tmp_path, RobustConfig("dora", penalty=0.1), trainer_class=Seeing, precompute_ref_log_probs=True,
        eval_dataset=tiny.rows("pair", 6),
    )  # fmt: skip
    made.train()
    made.evaluate()
    if "evaluate" in vars(tiny.trl("DPOTrainer")):  # since 1.x it prepares a new dataset
        made.evaluate(tiny.rows("pair", 6, seed=9))
    assert len(seen) >= 4 and not any("counterpoise_columns" in keys for keys in seen)


@pytest.mark.parametrize("scope", ["microbatch", "step", "running"])
def test_resuming_from_a_checkpoint_continues_the_run(tiny, tmp_path, scope):
    config = RobustConfig("dora", penalty=0.3, scope=scope, schedule="linear", final=0.05)
    how = {"gradient_accumulation_steps": 2, "max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = trained(tiny, tmp_path / "a", "DPO", config, **how)
    made = tiny.trainer("DPO", tmp_path / "b", config, dtype=torch.float32, **how)
    made.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    assert_same(made, whole, leave=("num_tokens", "train_loss"))  # the stock trainer counts these from the start
    for mine, theirs in zip(made.state.log_history[:6], whole.state.log_history[:6], strict=True):
        assert mine["robust/value"] == theirs["robust/value"]
