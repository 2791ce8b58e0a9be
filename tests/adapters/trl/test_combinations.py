"""With the rest of TRL: PEFT, checkpointing, half precision, compilation, formats, columns, generation, the CLI."""

import math
import warnings

import pytest

import counterpoise as cp

torch = pytest.importorskip("torch")
pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
from counterpoise_adapters.trl import RobustConfig, WeightPlot, robust  # noqa: E402

ROWS = [0, 3, 5, 6, 10]
DORA = RobustConfig("dora", penalty=0.05)


def reference(tiny, stock, penalty=0.05):
    single = [tiny.loss_and_gradient(stock, tiny.batch(stock, [i])) for i in ROWS]
    losses = torch.tensor([loss for loss, _ in single], dtype=torch.float64)
    ratio = torch.tensor([stock.train_dataset[i]["ratio"] for i in ROWS], dtype=torch.float64)
    weights = cp.dora(losses, ratio, penalty).weights
    return sum(w * g for w, (_, g) in zip(weights, single, strict=True))


def lora():
    peft = pytest.importorskip("peft")
    return peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"gradient_checkpointing": True}, 1e-6),
        ({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}, 1e-6),
        ({"peft": True}, 1e-6),
        ({"bf16": True, "dtype": torch.float32}, 3e-2),
        ({"dtype": torch.bfloat16}, 5e-2),
        ({"dtype": torch.float32}, 1e-4),
    ],
    ids=["checkpointing", "reentrant", "peft", "autocast", "bfloat16", "float32"],
)
def test_gradient_under(tiny, tmp_path, options, tolerance):
    options = dict(options)
    if options.pop("peft", False):
        options["peft_config"] = lora()

    def make(config):
        made = tiny.trainer("DPO", tmp_path, config, **options)
        made.model = made.accelerator.prepare_model(made.model)
        return made

    made = make(DORA)
    if options.get("gradient_checkpointing"):
        made.model.gradient_checkpointing_enable(options.get("gradient_checkpointing_kwargs"))
        made.model.enable_input_require_grads()
    _, got = tiny.loss_and_gradient(made, tiny.batch(made, ROWS))
    want = reference(tiny, make(None))
    assert (got - want).norm() <= tolerance * want.norm()


@pytest.mark.slow
@pytest.mark.parametrize(("scope", "lengths"), [("microbatch", "equal"), ("step", "unequal")])
def test_a_compiled_model_trains_the_same_and_is_compiled_once(tiny, tmp_path, scope, lengths):
    """Rows of unequal lengths are compiled once more, with sizes as symbols, which takes three times as long."""
    config, data, logs = RobustConfig("dora", penalty=0.05, scope=scope), tiny.rows("pair"), []
    if lengths == "equal":
        data = data.map(
            lambda row: {key: " the cat sat on" for key in ("prompt", "rejected")} | {"chosen": " a big dog ran"}
        )

    def make(config, **options):
        one_layer = tiny.model(num_hidden_layers=1)  # another would only be compiled as well
        return tiny.trainer("DPO", tmp_path, config, data, policy=one_layer, gradient_accumulation_steps=2, **options)

    compiled = {"torch_compile": True, "torch_compile_backend": "aot_eager"}
    for options in ({}, compiled):
        made = make(config, **options)
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        made.train()
        logs.append([entry["robust/value"] for entry in made.state.log_history[:3]])
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
    plain = make(None, **compiled)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain.train()
    own = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert 0 < graphs <= own * (2 if scope == "step" else 1)  # evaluation mode is a graph of its own


def test_conversations_truncation_and_filtered_rows_keep_their_columns(tiny, tmp_path):
    for kind in ("pair", "chat"):
        data = tiny.rows(kind)
        made = tiny.trainer("DPO", tmp_path, DORA, data=data, max_length=5)
        kept = made.train_dataset
        if hasattr(made, "_precompute_model_hash"):  # since 1.x, rows whose prompt fills max_length are dropped
            assert 3 < len(kept) < 16 or kind == "chat"
        tiny.loss_and_gradient(made, tiny.batch(made, range(3)))
        by_prompt = {str(row["prompt"]): row for row in data}
        for name in ("ratio", "weight", "log_odds", "group"):
            want = [float(by_prompt[str(kept[i]["prompt"])][name]) for i in range(3)]
            assert made.weighed.columns[name].tolist() == want, name


def test_streams_and_renamed_columns(tiny, tmp_path):
    data = tiny.rows("pair").rename_column("ratio", "h")
    config = RobustConfig("dora", penalty=0.05, ratio_column="h", scope="step")
    whole = tiny.trainer("DPO", tmp_path, config, data=data)
    stream = tiny.trainer("DPO", tmp_path, config, data=data.to_iterable_dataset())
    for made in (whole, stream):
        made.train()
        assert len(made.weighed.columns["h"]) == 4
    bad = data.remove_columns("h").add_column("h", [1.0] * 15 + [None]).to_iterable_dataset()
    with pytest.raises(ValueError, match="column 'h' is .*nan.* numbers >= 0 are needed"):
        tiny.trainer("DPO", tmp_path, config, data=bad, max_steps=4).train()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "needs the column 'ratio'; the training dataset has .*prompt.*counterpoise weigh"),
        ([1.0] * 7 + [None] + [1.0] * 8, "is None in row 7 \\(1 such rows of 16\\)"),
        ([1.0] * 15 + [-2.0], "is -2.0 in row 15"),
        ([float("nan")] * 16, "is nan in row 0 \\(16 such"),
        ([0.0] * 16, "0 in every row"),
        (["human"] * 16, "is 'human' in row 0"),
    ],
)
def test_a_missing_or_unusable_column_is_an_error_at_construction(tiny, tmp_path, values, message):
    data = tiny.rows("pair").remove_columns("ratio")
    data = data if values is None else data.add_column("ratio", values)
    with pytest.raises(ValueError, match=message):
        tiny.trainer("DPO", tmp_path, DORA, data=data)


@pytest.mark.parametrize(
    ("short", "options", "message"),
    [
        ("DPO", {"loss_type": ["sigmoid", "aot"]}, "'aot'} sorts the batch"),
        ("DPO", {"loss_type": ["aot_unpaired"]}, "sorts the batch"),
        ("SFT", {"packing": True, "max_length": 16}, "packing"),
        ("SFT", {"padding_free": True}, "padding_free"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_weighed_is_refused_at_construction(tiny, tmp_path, short, options, message):
    with pytest.raises(ValueError, match=message):
        tiny.trainer(short, tmp_path, RobustConfig("kl_dro", penalty=1.0), **options)


def test_a_loss_that_is_not_recognised_stops_training(tiny, tmp_path):
    class Coupled(tiny.trl("DPOTrainer")):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            return model(input_ids=inputs["input_ids"]).logits.logsumexp(dim=(0, 1, 2))

    made = tiny.trainer("DPO", tmp_path, DORA, trainer_class=Coupled)
    before = tiny.gradients(made.model)
    with pytest.raises(RuntimeError, match="RobustCoupled reduced no tensor of 4 examples.*release of the trainer"):
        made.train()
    assert torch.equal(before, tiny.gradients(made.model))
    made = tiny.trainer("DPO", tmp_path, DORA)
    made.data_collator = made.data_collator.collator
    with pytest.raises(RuntimeError, match="pass data_collator to the constructor"):
        made.train()
    made = tiny.trainer("DPO", tmp_path, RobustConfig("kl_dro", penalty=1.0, scope="step"))
    with pytest.raises(RuntimeError, match="get_batch_samples did not announce"):
        tiny.loss_and_gradient(made, tiny.batch(made, ROWS))


def test_one_example_a_micro_batch_warns_and_says_what_to_do(tiny, tmp_path):
    with pytest.warns(UserWarning, match="over one example tilts nothing; use scope='step'"):
        tiny.trainer("Reward", tmp_path, RobustConfig("kl_dro", penalty=1.0), per_device_train_batch_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for config in (
            RobustConfig("kl_dro", penalty=1.0, scope="step"),
            RobustConfig("weighted"),
            RobustConfig("erm"),
        ):
            tiny.trainer("Reward", tmp_path, config, per_device_train_batch_size=1)


def test_logs_carry_the_objective_through_schedules(tiny, tmp_path):
    config = RobustConfig("dora", penalty=1.0, schedule="linear", final=0.5)
    made = tiny.trainer("DPO", tmp_path, config)
    made.train()
    history = made.state.log_history[:3]
    assert [entry["robust/penalty"] for entry in history] == pytest.approx([1.0, 0.75, 0.5])
    for entry in history:
        assert entry["robust/value"] == pytest.approx(entry["loss"], rel=1e-5)
        assert 1 <= entry["robust/ess"] < 4 and 0 < entry["robust/max_weight"] < 4
        assert entry["robust/erm_loss"] != entry["robust/value"]
    held = tiny.trainer("DPO", tmp_path, RobustConfig("kl_dro", target_ess=0.5))
    held.train()
    assert [entry["robust/ess"] for entry in held.state.log_history[:3]] == pytest.approx([2.0] * 3, rel=0.02)


def test_the_plot_shows_the_weights_of_every_step(tiny, tmp_path):
    plot = WeightPlot(tmp_path / "weights.svg")
    tiny.trainer("DPO", tmp_path, RobustConfig("weighted"), callbacks=[plot]).train()
    assert plot.steps == [1, 2, 3] and "<svg" in (tmp_path / "weights.svg").read_text()
    low, *_, high = plot.quantiles[0]
    weights = tiny.rows("pair")["weight"]
    assert min(weights) - 1e-9 <= low < high <= max(weights) + 1e-9
    with pytest.raises(RuntimeError, match="callbacks of a robust trainer"):
        tiny.trainer("DPO", tmp_path, callbacks=[WeightPlot()]).train()


def test_running_scope_has_the_direction_of_the_whole_step(tiny, tmp_path):
    fast = {"max_steps": 1, "max_grad_norm": 0.0}
    whole, _ = tiny.first_gradient(tiny.trainer("DPO", tmp_path, DORA, **fast, per_device_train_batch_size=16))
    config = RobustConfig("dora", penalty=0.05, scope="running")
    made = tiny.trainer("DPO", tmp_path, config, **fast, gradient_accumulation_steps=4)
    parts, _ = tiny.first_gradient(made)
    cosine = (parts @ whole) / (parts.norm() * whole.norm())
    assert 1 - cosine < 1e-8 and abs(parts.norm() / whole.norm() - 1) > 1e-3
    assert math.isfinite(made.state.stateful_callbacks["counterpoise"]["shift"])


def test_the_config_reads_from_the_command_line_and_from_yaml(tiny, tmp_path):
    from trl import TrlParser

    (tmp_path / "run.yaml").write_text("objective: worst_case\ndivergence: chi_square\nradius: 0.5\nscope: step\n")
    for short in ("DPO", "Reward", "SFT", "GRPO", "KTO", "ORPO", "CPO"):
        parser = TrlParser((tiny.trl(f"{short}Config"), RobustConfig))
        there = ["--output_dir", str(tmp_path), "--bf16", "false", "--use_cpu", "true"]
        _, config = parser.parse_args_and_config([*there, "--objective", "dora", "--penalty", "inf"])
        assert config == RobustConfig("dora", penalty=math.inf)
        _, config = parser.parse_args_and_config([*there, "--config", str(tmp_path / "run.yaml")])
        assert config == RobustConfig("worst_case", divergence="chi_square", radius=0.5, scope="step")


@pytest.mark.parametrize("short", ["GRPO", "RLOO"])
def test_generated_completions_are_weighed_by_their_advantages(tiny, tmp_path, short):
    stock = tiny.trl(f"{short}Trainer")
    data = tiny.rows("pair").select_columns(["prompt", "weight", "ratio"])

    def run(config, data=data):
        options = {**tiny.DEFAULTS, "max_steps": 1, "max_grad_norm": 0.0, "num_generations": 4, "beta": 0.0}
        kwargs = {} if config is None else {"robust_config": config}
        made = (stock if config is None else robust(stock))(
            model=tiny.model(0, torch.float32), processing_class=tiny.tokenizer(), train_dataset=data,
            reward_funcs=lambda completions, **_: [float(len(set(c.split()))) for c in completions],
            args=tiny.trl(f"{short}Config")(output_dir=str(tmp_path), max_completion_length=6, **options),
            **kwargs,
        )  # fmt: skip
        return made, *tiny.first_gradient(made)

    _, plain, logs = run(None)
    made, weighed, logs_of_weighed = run(RobustConfig("weighted"))
    weight = made.weighed.weights
    assert plain.norm() > 0 and weight.std() == 0 and weight[0] != 1  # one prompt a step, so one weight
    torch.testing.assert_close(weighed, plain * weight[0], rtol=1e-4, atol=1e-7)
    assert logs_of_weighed["reward"] == logs["reward"] and logs_of_weighed["robust/ess"] == pytest.approx(4)
    with pytest.raises(ValueError, match="has advantages instead of per-example losses.*'weighted'"):
        run(DORA)
    with pytest.raises((ValueError, NotImplementedError), match="column 'weight' is .*nan|Iterable datasets are not"):
        bad = data.remove_columns("weight").add_column("weight", [None] * 16)
        run(RobustConfig("weighted"), bad.to_iterable_dataset())
