"""An optimiser step of several micro-batches, and of two real processes, against one batch."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
from counterpoise_adapters.trl import RobustConfig  # noqa: E402

SCRIPT = Path(__file__).with_name("two_ranks.py")
spec = importlib.util.spec_from_file_location("trl_two_ranks", SCRIPT)
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
OBJECTIVES = [
    {"objective": "dora", "penalty": 0.05},
    {"objective": "kl_dro", "penalty": 0.02},
    {"objective": "reweighted"},
    {"objective": "target_dro", "radius": 0.1},
    {"objective": "cvar", "level": 0.3},
    {"objective": "worst_case", "divergence": "chi_square", "penalty": 0.05},
    {"objective": "group_dro"},
    {"objective": "kl_dro", "target_ess": 0.4},
    {"objective": "weighted"},
    {"objective": "erm"},
]
TRAINERS = [
    ("DPO", {"precompute_ref_log_probs": True}),
    ("Reward", {}),
    ("KTO", {"loss_type": "apo_zero_unpaired"}),
    ("SFT", {}),
    ("CPO", {}),
]


def step(tiny, folder, short, config, size, accumulation, **options):
    more = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation}
    return tiny.first_gradient(tiny.trainer(short, folder, config, **shared.FAST, **more, **options))


def close(a, b, relative=1e-6):
    return (a - b).norm() <= relative * b.norm() and b.norm() > 0


@pytest.mark.parametrize("robust", OBJECTIVES, ids=lambda r: "-".join(map(str, r.values())))
def test_a_step_of_micro_batches_has_the_gradient_of_one_batch(tiny, tmp_path, robust):
    whole, logs = step(tiny, tmp_path, "DPO", RobustConfig(**robust), 16, 1)
    parts, logs_of_parts = step(tiny, tmp_path, "DPO", RobustConfig(scope="step", **robust), 4, 4)
    assert close(parts, whole)
    world, _ = step(tiny, tmp_path, "DPO", RobustConfig(scope="world", **robust), 4, 4)
    assert torch.equal(world, parts)  # of one process
    for name in ("robust/value", "robust/erm_loss", "loss"):
        assert logs_of_parts[name] == pytest.approx(logs[name], rel=1e-5)
    if robust["objective"] not in ("weighted", "erm"):
        assert logs_of_parts["robust/ess"] == pytest.approx(logs["robust/ess"], rel=1e-6)
        naive, _ = step(tiny, tmp_path, "DPO", RobustConfig(**robust), 4, 4)
        assert not close(naive, whole, 1e-3)  # this test would notice


@pytest.mark.parametrize(("short", "options"), TRAINERS, ids=[short for short, _ in TRAINERS])
def test_every_trainer_takes_whole_steps(tiny, tmp_path, short, options):
    robust = {"objective": "dora", "penalty": 0.3}
    whole, logs = step(tiny, tmp_path, short, RobustConfig(**robust), 16, 1, **options)
    parts, logs_of_parts = step(tiny, tmp_path, short, RobustConfig(scope="step", **robust), 4, 4, **options)
    stock, logs_of_stock = step(tiny, tmp_path, short, None, 4, 4, **options)
    if short == "CPO":  # the nll term is a mean over a micro-batch's tokens, in the stock trainer too
        whole = whole - step(tiny, tmp_path, short, None, 16, 1, **options)[0]
        parts = parts - stock
    else:
        assert logs_of_parts["loss"] == pytest.approx(logs_of_parts["robust/value"], rel=1e-5)
    assert close(parts, whole)
    assert logs_of_parts["robust/value"] == pytest.approx(logs["robust/value"], rel=1e-6)
    for name in set(logs_of_stock) - {"loss", "grad_norm"}:  # the first look leaves no trace in TRL's metrics
        assert logs_of_parts[name] == logs_of_stock[name], name


def test_examples_of_an_uneven_last_step_count_alike(tiny, tmp_path):
    data = tiny.rows("pair", 10)
    robust = {"objective": "dora", "penalty": 0.05}
    whole, _ = step(tiny, tmp_path, "DPO", RobustConfig(**robust), 10, 1, data=data)
    parts, _ = step(tiny, tmp_path, "DPO", RobustConfig(scope="step", **robust), 4, 3, data=data)
    assert close(parts, whole)


def test_the_first_look_has_no_dropout_and_no_graph_in_the_model(tiny, tmp_path):
    made = tiny.trainer(
        "SFT", tmp_path, RobustConfig("kl_dro", penalty=1.0, scope="step"), policy=tiny.model(attention_dropout=0.5),
        **shared.FAST,
    )  # fmt: skip
    seen = []
    inner = made.model.model.layers[0]
    inner.register_forward_pre_hook(lambda layer, args: seen.append((layer.training, torch.is_grad_enabled())))
    made.train()
    assert seen == [(False, False), (True, True)]
    assert not any(made._metrics["eval"].values())  # nor does the next evaluation inherit from it
    quiet = {**shared.FAST, "logging_steps": 100, "gradient_accumulation_steps": 4}
    made = tiny.trainer("CPO", tmp_path, RobustConfig("kl_dro", penalty=1.0, scope="step"), cpo_alpha=0.0, **quiet)
    made.train()
    assert len(made._stored_metrics["train"]["rewards/chosen"]) == 4


@pytest.fixture(scope="module")
def ranks(in_ranks):
    return in_ranks(SCRIPT, 2)


@pytest.mark.parametrize("case", shared.CASES)
def test_a_step_of_two_ranks_has_the_gradient_of_one_batch(tiny, tmp_path, ranks, case):
    short, robust, options = shared.CASES[case]
    whole, logs = step(tiny, tmp_path, short, RobustConfig(**robust), 16, 1, **options)
    for rank in ranks:
        got = torch.tensor(rank[case]["gradient"], dtype=whole.dtype)
        if short == "ORPO":
            continue  # its nll term is a mean over a micro-batch's tokens
        assert close(got, whole, 1e-4 if whole.dtype == torch.float32 else 1e-6)
    for name, value in ranks[0][case]["logs"].items():
        if robust["objective"] == "weighted" and name in ("robust/ess", "robust/max_weight"):
            continue  # weights that need no losses are not exchanged, so these are means over ranks
        assert value == pytest.approx(logs[name], rel=1e-5), name
