"""What is hooked in TRL and transformers. Red here after an upgrade: read the release's diff before anything else."""

import inspect

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
import counterpoise_adapters.trl as adapter  # noqa: E402
from counterpoise_adapters.pytorch.watch import Watch, terms  # noqa: E402
from counterpoise_adapters.trl import RobustConfig  # noqa: E402
from counterpoise_adapters.trl.trainer import refuse  # noqa: E402

OFFLINE = ("DPO", "Reward", "KTO", "ORPO", "CPO", "SFT")


@pytest.mark.parametrize("short", [*OFFLINE, "GRPO", "RLOO"])
def test_every_ready_made_trainer_is_here_and_hooks_what_exists(tiny, short):
    stock = tiny.trl(f"{short}Trainer")
    made = getattr(adapter, f"Robust{short}Trainer")
    assert made is adapter.robust(stock) and issubclass(made, stock) and made.__name__ == f"Robust{short}Trainer"
    assert list(inspect.signature(stock.compute_loss).parameters)[:5] == [
        "self", "model", "inputs", "return_outputs", "num_items_in_batch",
    ]  # fmt: skip
    for name in ("get_batch_samples", "_set_signature_columns_if_needed", "log", "prediction_step"):
        assert callable(getattr(stock, name)), name
    assert hasattr(stock, "_generate_and_score_completions") == (short in ("GRPO", "RLOO"))


def test_trainer_announces_every_micro_batch_of_a_step_before_it():
    from transformers import Trainer

    source = inspect.getsource(Trainer)
    assert (
        "self.get_batch_samples(" in source
        and "self.current_gradient_accumulation_steps = len(batch_samples)" in source
    )
    assert list(inspect.signature(Trainer.get_batch_samples).parameters) == [
        "self", "epoch_iterator", "num_batches", "device",
    ]  # fmt: skip
    assert "stateful_callbacks" in inspect.signature(__import__("transformers").TrainerState).parameters


@pytest.mark.parametrize(
    ("short", "options", "tensors"),
    [
        ("DPO", {}, 1), ("DPO", {"loss_type": ["sigmoid", "hinge"]}, 2), ("Reward", {}, 1),
        ("Reward", {"center_rewards_coefficient": 0.1}, 2), ("KTO", {}, 1), ("ORPO", {}, 1), ("CPO", {}, 1),
        ("SFT", {}, 1),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*stays unweighted")
def test_each_loss_is_reduced_from_as_many_tensors_as_it_has_terms(tiny, tmp_path, short, options, tensors):
    made = tiny.trainer(short, tmp_path, RobustConfig("kl_dro", penalty=1.0), **options)
    inputs, columns = made._take(tiny.batch(made, [0, 3, 5, 6, 10]))
    with made._watch(made.model, columns) as watch:
        loss = super(adapter.RobustMixin, made).compute_loss(made.model, inputs)
    parts, rows = terms(loss, watch, short)
    assert len(rows) == tensors and parts.shape == (5,)
    if short not in ("ORPO", "CPO"):  # which have an nll besides
        assert parts.sum().item() == pytest.approx(loss.item(), rel=1e-6)


def test_columns_of_a_batch_have_a_key_that_trl_does_not_know(tiny, tmp_path):
    made = tiny.trainer("DPO", tmp_path, RobustConfig("weighted"))
    stock = tiny.trainer("DPO", tmp_path)
    batch, plain = tiny.batch(made, [0, 1]), tiny.batch(stock, [0, 1])
    assert set(batch) - set(plain) == {"counterpoise_columns"}
    assert batch["counterpoise_columns"].dtype == torch.int64


def test_sft_of_old_releases_is_refused(tiny, tmp_path):
    if tiny.sft_can_be_weighed():
        pytest.skip(f"trl {trl.__version__} reduces the SFT loss where it can be seen")
    with pytest.raises(ValueError, match="upgrade TRL"):
        adapter.RobustSFTTrainer(
            model=tiny.model(), args=trl.SFTConfig(output_dir=str(tmp_path), **tiny.DEFAULTS),
            train_dataset=tiny.rows("completion"), processing_class=tiny.tokenizer(),
            robust_config=RobustConfig("kl_dro", penalty=1.0),
        )  # fmt: skip


def test_a_fused_liger_loss_is_refused(tiny, tmp_path):
    if "_compute_loss_liger" not in inspect.getsource(trl.DPOTrainer):
        pytest.skip(f"DPO in trl {trl.__version__} has no fused loss")
    pytest.importorskip("liger_kernel", reason="liger-kernel is not installed: pip install liger-kernel")
    with pytest.raises(ValueError, match="a fused Liger loss reduces inside its kernel"):
        tiny.trainer("DPO", tmp_path, RobustConfig("kl_dro", penalty=1.0), use_liger_kernel=True)


@pytest.mark.parametrize("way", ["cp_size", "sp_size"])
def test_examples_that_are_cut_in_parts_are_refused(tiny, tmp_path, monkeypatch, way):
    config = pytest.importorskip("accelerate.parallelism_config").ParallelismConfig
    if way not in inspect.signature(config).parameters:
        pytest.skip("this release of accelerate has no such parallelism")
    made = tiny.trainer("DPO", tmp_path, RobustConfig("kl_dro", penalty=1.0))
    # of a mesh of two devices, which this process has not: what the trainer's accelerator would be given
    monkeypatch.setattr(made.accelerator.state, "parallelism_config", config(**{way: 2}))
    with pytest.raises(ValueError, match="context and sequence parallelism cut examples in parts"):
        refuse(made)


def test_unknown_names_and_classes_are_refused(tiny, tmp_path):
    with pytest.raises(AttributeError, match="no attribute 'RobustPPOTrainer'"):
        _ = adapter.RobustPPOTrainer
    with pytest.raises(TypeError, match="has no compute_loss"):
        adapter.robust(dict)
    with pytest.raises(TypeError, match="robust_config is a dict; a RobustConfig is needed"):
        tiny.trainer("DPO", tmp_path, {"objective": "erm"})


def test_the_watch_sees_only_reductions_of_examples_to_one_number():
    x = torch.arange(4.0, dtype=torch.float64).requires_grad_()
    model = torch.nn.Linear(4, 1, dtype=torch.float64)
    with Watch(4, [model]) as watch:
        y = 2 * x
        unrelated = y.sum()
        scalar = model(y.unsqueeze(0)).mean()  # one row
        expanded = scalar.expand(4).mean()
        masked = torch.stack([y, y])[torch.tensor([[True] * 4, [False] * 4])].mean()
        matrix = torch.stack([y, y**2], dim=1)
        loss = -(y**2).mean() + 3 * matrix.sum() + expanded + masked
        y.detach().mean()
        y.reshape(2, 2).sum()
    with Watch(4, []) as holes:
        mean = (x / torch.tensor([1.0, 1.0, 0.0, 1.0]) * torch.tensor([1.0, 1.0, 0.0, 1.0])).nanmean()
    assert terms(mean, holes, "test")[0].tolist() == pytest.approx([0.0, 1 / 3, 0.0, 1.0])  # NaN is left out, as there
    parts, rows = terms(loss, watch, "test")
    assert unrelated.requires_grad and len(watch.noted) == 3 and len(rows) == 2
    torch.testing.assert_close(parts, (-(y**2) / 4 + 3 * (y + y**2)).detach())
    with pytest.raises(RuntimeError, match="test reduced no tensor of 4 examples"):
        terms(unrelated * 0 + scalar, Watch(4, []), "test")
    assert not model._forward_hooks and not model._forward_pre_hooks
