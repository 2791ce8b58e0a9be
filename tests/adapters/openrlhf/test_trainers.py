"""Real trainers' `fit` on a tiny model: gradients, columns, logs, and the trainer as it was found."""

import math

import pytest
import torch
from counterpoise_adapters.openrlhf import Batch, RobustConfig, attach, patched, with_columns

KINDS = ("DPO", "RM", "SFT")
OBJECTIVES = [
    {"objective": "dora", "penalty": 0.5},
    {"objective": "kl_dro", "penalty": 0.1},
    {"objective": "reweighted"},
    {"objective": "target_dro", "radius": 0.1},
    {"objective": "cvar", "level": 0.3},
    {"objective": "worst_case", "divergence": "chi_square", "penalty": 0.02},
    {"objective": "group_dro"},
    {"objective": "kl_dro", "target_ess": 0.4},
    {"objective": "weighted"},
]
SCOPES = ("microbatch", "step", "world")


def close(a, b, relative):
    return (a - b).norm() <= relative * b.norm() and b.norm() > 0


def train(tiny, folder, kind, robust, **options):
    """Train with weights; return the first step's gradient, what was attached, and the trainer."""
    config = RobustConfig(**robust)
    made = tiny.trainer(kind, folder, config, **options)
    with attach(made, config) as attached:
        gradient = tiny.fit(made)
    return gradient, attached, made


def one_by_one(tiny, folder, kind):
    """Each example's loss and gradient, alone through the trainer's own parts, and the data's rows."""
    made = tiny.trainer(kind, folder, micro=1, batch=16)
    losses, gradients, tokens = [], [], []
    for batch in made.train_dataloader:
        fields = [field.squeeze(1) for field in batch[:4]]
        made.model.zero_grad()
        if kind == "SFT":
            logps = made.model(fields[0], attention_mask=fields[1], return_logprobs=True)
            loss = -(logps * fields[2][:, :-1]).sum()
            tokens.append(float(fields[2][:, :-1].sum()))
        elif kind == "DPO":
            chosen, rejected, *_ = made.concatenated_forward(made.model, *fields, batch[4])
            with torch.no_grad():
                old_chosen, old_rejected, *_ = made.concatenated_forward(made.ref_model, *fields, batch[4])
            loss = -torch.nn.functional.logsigmoid(made.beta * (chosen - rejected - old_chosen + old_rejected)).mean()
        else:
            chosen, rejected, _ = made.concatenated_forward(made.model, *fields)
            loss = -torch.nn.functional.logsigmoid(chosen - rejected - torch.tensor(batch[4])).mean()
        loss.backward()
        losses.append(loss.detach().double())
        gradients.append(tiny.gradients(made.model).double())
    losses, gradients = torch.stack(losses), torch.stack(gradients)
    if kind == "SFT":  # an example's loss is its tokens', scaled so that their mean is the mean over tokens
        scale = len(losses) / sum(tokens)
        losses, gradients = losses * scale, gradients * scale
    return losses, gradients


def by_hand(losses, robust, columns):
    """The objective's weights, mean 1 where the objective has it so, from formulas."""
    ratio = columns["ratio"]
    if robust["objective"] == "dora":
        return len(losses) * ratio * torch.softmax(ratio * losses / robust["penalty"], 0)
    if robust["objective"] == "kl_dro":
        return len(losses) * torch.softmax(losses / robust["penalty"], 0)
    if robust["objective"] == "weighted":
        return columns["weight"]
    if robust["objective"] == "reweighted":
        return ratio / ratio.mean()
    level = robust["level"] * len(losses)  # cvar: the worst ones, and a part of the next
    weights = torch.zeros_like(losses)
    for turn, place in enumerate(losses.argsort(descending=True).tolist()):
        weights[place] = min(1.0, max(level - turn, 0.0)) * len(losses) / level
    return weights


BY_HAND = [
    {"objective": "dora", "penalty": 0.5},
    {"objective": "kl_dro", "penalty": 0.1},
    {"objective": "cvar", "level": 0.3},
    {"objective": "reweighted"},
    {"objective": "weighted"},
]


@pytest.mark.parametrize("robust", BY_HAND, ids=lambda r: r["objective"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", ["DPO", "RM"])
def test_gradients_are_those_of_a_reference_by_hand(tiny, tmp_path, kind, scope, robust):
    losses, gradients = one_by_one(tiny, tmp_path, kind)
    columns = {name: torch.tensor(tiny.rows(kind)[name]) for name in ("ratio", "weight")}
    if scope == "microbatch":
        parts = [
            by_hand(losses[i : i + 4], robust, {k: v[i : i + 4] for k, v in columns.items()}) for i in (0, 4, 8, 12)
        ]
        weights = torch.cat(parts)
    else:
        weights = by_hand(losses, robust, columns)
    got, attached, _ = train(tiny, tmp_path, kind, {"scope": scope, **robust})
    # norms, and log-probabilities, are float32 inside the model, and depend on the padding
    assert close(got, (weights[:, None] * gradients).mean(0), 3e-6)
    assert attached.weighed.weights.tolist() == pytest.approx(weights[12:].tolist(), rel=1e-5)
    if robust["objective"] not in ("weighted", "reweighted"):
        assert not close(got, gradients.mean(0), 1e-3)


@pytest.mark.parametrize("scope", ["step", "world"])
def test_texts_have_losses_whose_mean_is_the_token_mean(tiny, tmp_path, scope):
    losses, gradients = one_by_one(tiny, tmp_path, "SFT")
    robust = {"objective": "kl_dro", "penalty": 1.0}
    got, attached, _ = train(tiny, tmp_path, "SFT", {"scope": scope, **robust})
    assert close(got, (by_hand(losses, robust, {"ratio": losses})[:, None] * gradients).mean(0), 1e-5)
    assert attached.metrics["robust/erm_loss"] == pytest.approx(float(losses.mean()), rel=1e-6)


@pytest.mark.parametrize("robust", [{"objective": "erm"}, {"objective": "kl_dro", "penalty": math.inf}])
@pytest.mark.parametrize("kind", KINDS)
def test_uniform_weights_are_the_stock_run_to_the_bit(tiny, tmp_path, kind, robust):
    stock = tiny.trainer(kind, tmp_path, epochs=2, shuffle=True)
    tiny.fit(stock)
    _, _, ours = train(tiny, tmp_path, kind, {"scope": "world", **robust}, epochs=2, shuffle=True)
    assert len(ours.strategy.caught) == len(stock.strategy.caught) == 2
    assert all(torch.equal(a, b) for a, b in zip(ours.strategy.caught, stock.strategy.caught, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), stock.model.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_one_are_the_stock_run_to_the_bit(tiny, tmp_path, kind):
    stock = tiny.trainer(kind, tmp_path)
    whole = tiny.fit(stock)
    data = tiny.rows(kind).remove_columns("weight").add_column("weight", [1.0] * 16)
    got, _, _ = train(tiny, tmp_path, kind, {"objective": "weighted"}, data=data)
    assert torch.equal(got, whole)


@pytest.mark.parametrize("robust", OBJECTIVES, ids=lambda r: "-".join(map(str, r.values())))
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_micro_batches_has_the_gradient_of_one_batch(tiny, tmp_path, kind, robust):
    whole, _, _ = train(tiny, tmp_path, kind, robust, micro=16)
    parts, attached, _ = train(tiny, tmp_path, kind, {"scope": "step", **robust})
    assert close(parts, whole, 1e-10)
    if robust["objective"] != "weighted":
        naive, _, _ = train(tiny, tmp_path, kind, robust)
        assert not close(naive, whole, 1e-3)  # this test would notice
    value = attached.metrics["robust/value"]
    assert math.isfinite(value)
    assert attached.metrics[f"robust/{attached.config.amount_name}"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_steps_decrease_the_objective(tiny, tmp_path, kind):
    values = []
    config = RobustConfig("dora", penalty=0.5, scope="step")
    made = tiny.trainer(kind, tmp_path, config, epochs=20, lr=0.5)
    made.save_logs_and_checkpoints = lambda args, step, bar, logs=None, states=None: values.append(logs)
    with attach(made, config):
        made.fit(made.args)
    assert len(values) == 20
    assert values[-1]["robust/value"] < 0.97 * values[0]["robust/value"]
    assert values[0]["loss_mean"] == pytest.approx(values[0]["robust/value"], rel=1e-6) or kind == "SFT"


@pytest.mark.parametrize("kind", KINDS)
def test_detaching_leaves_the_trainer_as_it_was_found(tiny, tmp_path, kind):
    config = RobustConfig("kl_dro", penalty=0.1, scope="step")
    made = tiny.trainer(kind, tmp_path)
    made.save_logs_and_checkpoints = kept = lambda *args, **kwargs: None
    before = dict(vars(made))
    attached = attach(made, config)
    with pytest.raises(RuntimeError, match="attached to this .*Trainer already; detach"):
        attach(made, config)
    tiny.fit(made)
    attached.detach()
    attached.detach()
    after = vars(made)
    assert after.keys() - before.keys() <= {"num_update_steps_per_epoch"}  # which the reward trainer's fit sets
    assert all(after[name] is value for name, value in before.items())
    assert made.save_logs_and_checkpoints is kept
    assert made.fit.__func__ is type(made).fit
    stock = tiny.trainer(kind, tmp_path)
    assert not close(attached.stock_loss and made.strategy.caught[0], tiny.fit(stock), 1e-3)
    fresh = tiny.trainer(kind, tmp_path)
    attach(fresh, config).detach()
    assert torch.equal(tiny.fit(fresh), stock.strategy.caught[0])


@pytest.mark.parametrize("kind", KINDS)
def test_columns_keep_to_their_rows(tiny, tmp_path, kind):
    config = RobustConfig("dora", penalty=0.5)
    data = tiny.rows(kind, 12)
    long = " ".join(["cat"] * 70)
    field = "input" if kind == "SFT" else "prompt"
    texts = [long if i in (2, 7) else text for i, text in enumerate(data[field])]  # too long: filtered, except by RM
    data = data.remove_columns(field).add_column(field, texts)
    made = tiny.trainer(kind, tmp_path, config, data=data, micro=2, batch=2, shuffle=True)
    dataset = made.train_dataloader.dataset
    kept = range(12) if kind == "RM" else [i for i in range(12) if i not in (2, 7)]
    assert dataset.columns["ratio"] == [data["ratio"][i] for i in kept]
    assert dataset.columns["group"] == [data["group"][i] for i in kept]
    first = {texts[i].split()[0]: None for i in kept}
    assert first
    stock = tiny.dataset(kind, data, made.strategy)
    assert len(stock) == len(dataset)
    seen = []
    for batch in made.train_dataloader:
        plain = stock.collate_fn([stock[i] for i in range(len(stock))])
        assert len(list(batch)) == len(plain)
        for row in range(2):
            ratio = float(batch.columns["ratio"][row])
            place = dataset.columns["ratio"].index(ratio)
            mine, theirs = batch[0][row].flatten(), stock[place][0].flatten()
            assert [i for i in mine.tolist() if i] == [i for i in theirs.tolist() if i]
            seen.append(place)
    assert sorted(seen) == list(range(len(dataset)))


def test_columns_come_through_workers_and_processes(tiny, tmp_path):
    config = RobustConfig("dora", penalty=0.5, scope="step")
    plain, _, _ = train(tiny, tmp_path, "DPO", vars(config))
    made = tiny.trainer("DPO", tmp_path, config, workers=2)
    with attach(made, config):
        assert torch.equal(tiny.fit(made), plain)
    many = with_columns(tiny.RewardDataset, config)(
        tiny.rows("DPO"), tiny.tokenizer(), 64, made.strategy, is_dpo=True, num_processors=2
    )
    assert many.columns == made.train_dataloader.dataset.columns


def test_a_batch_pins_its_tensors_and_keeps_its_columns(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)  # which needs a GPU
    columns = {"ratio": torch.ones(2)}
    batch = Batch([torch.zeros(2), [3, 4]], columns).pin_memory()
    first, second = batch
    assert (first.tolist(), second, batch.columns) == ([1.0, 1.0], [3, 4], columns)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_stock_and_needs_no_columns(tiny, tmp_path, kind):
    config = RobustConfig("dora", penalty=0.5, scope="step")
    seen = {}
    for name, of in (("stock", None), ("robust", config)):
        made = tiny.trainer(kind, tmp_path, config, evaluate=True, lr=0.0)
        calls = []
        plain = made.strategy.all_reduce
        made.strategy.all_reduce = lambda data, op="mean", calls=calls, plain=plain: calls.append(data) or plain(data)
        if of is not None:
            attach(made, of)
        made.args.eval.steps = 1
        made.fit(made.args)
        seen[name] = [{k: v for k, v in c.items() if k in ("eval_loss", "eval gpt_loss")} for c in calls]
    stock, robust = ([c for c in seen[name] if c] for name in ("stock", "robust"))
    assert stock == robust and stock


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_look_has_no_dropout_and_leaves_the_mode_alone(tiny, tmp_path, kind):
    policy = tiny.model(kind, attention_dropout=0.5)
    config = RobustConfig("kl_dro", penalty=0.5, scope="step")
    made = tiny.trainer(kind, tmp_path, config, policy=policy, micro=8)
    seen = []
    backbone = policy.model if kind == "RM" else policy.model.model
    backbone.layers[0].register_forward_pre_hook(lambda m, args: seen.append((m.training, torch.is_grad_enabled())))
    with attach(made, config):
        made.fit(made.args)
    assert seen == [(False, False)] * 2 + [(True, True)] * 2
    assert all(module.training for module in policy.modules())


def test_the_first_look_of_a_normalising_reward_model_does_not_normalise(tiny, tmp_path):
    policy = tiny.model("RM")
    policy.normalize_reward = True
    policy.std.fill_(0.01)
    whole, _, _ = train(tiny, tmp_path, "RM", {"objective": "kl_dro", "penalty": 0.1}, micro=16)
    parts, _, _ = train(tiny, tmp_path, "RM", {"objective": "kl_dro", "penalty": 0.1, "scope": "step"}, policy=policy)
    assert close(parts, whole, 1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_step_at_the_end_of_an_epoch(tiny, tmp_path, kind):
    # 20 rows, 8 a step: with a look ahead each epoch has two steps; without, micro-batches go on into the next
    config = {"objective": "kl_dro", "penalty": 0.5}
    _, _, made = train(tiny, tmp_path, kind, {"scope": "step", **config}, data=tiny.rows(kind, 20), batch=8, epochs=2)
    assert len(made.strategy.caught) == 4
    _, _, made = train(tiny, tmp_path, kind, config, data=tiny.rows(kind, 20), batch=8, epochs=2)
    assert len(made.strategy.caught) == 5
    stale = RobustConfig(**config)
    made = tiny.trainer(kind, tmp_path, stale, data=tiny.rows(kind, 20), batch=8)
    with attach(made, stale):
        made.fit(made.args)
        made.fit(made.args)  # begins anew, with no batch of the first left


@pytest.mark.parametrize(("consumed", "expected"), [(0, [2.0, 1.75, 1.5, 1.25, 1.0]), (3 * 16, [1.25, 1.0])])
def test_schedules_follow_the_steps_also_of_a_run_that_goes_on(tiny, tmp_path, consumed, expected):
    config = RobustConfig("kl_dro", penalty=2.0, schedule="linear", final=1.0, scope="step")
    made = tiny.trainer("DPO", tmp_path, config, epochs=5)
    found = []
    made.save_logs_and_checkpoints = lambda args, step, bar, logs=None, states=None: found.append(logs)
    with attach(made, config):
        made.fit(made.args, consumed, 1)
    assert [logs["robust/penalty"] for logs in found] == pytest.approx(expected)


def test_running_weights_have_the_direction_of_the_step_and_are_saved(tiny, tmp_path):
    robust = {"objective": "dora", "penalty": 0.5}
    exact, _, _ = train(tiny, tmp_path, "DPO", {"scope": "step", **robust})
    config = RobustConfig(scope="running", **robust)
    made = tiny.trainer("DPO", tmp_path, config)
    saved = []
    made.save_logs_and_checkpoints = lambda args, step, bar, logs=None, states=None: saved.append(states)
    losses, _ = one_by_one(tiny, tmp_path, "DPO")
    scaled = torch.tensor(tiny.rows("DPO")["ratio"]) * losses / 0.5
    state = {"shift": 0.5 * float(torch.logsumexp(scaled, 0) - math.log(16))}  # the step's own
    with attach(made, config, state=state) as attached:
        got = tiny.fit(made)
    assert close(got, exact, 1e-5)
    assert saved == [{"consumed_samples": 16, "counterpoise": attached.state}]


def test_logs_arrive_in_tensorboard(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = RobustConfig("cvar", level=0.3, scope="step")
    made = tiny.trainer("DPO", tmp_path, config, logger__tensorboard_dir=str(tmp_path))
    with attach(made, config) as attached:
        made.fit(made.args)
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    logged = {name: events.Scalars(name)[0].value for name in events.Tags()["scalars"] if "robust" in name}
    assert set(logged) == {f"train/robust/{name}" for name in ("value", "erm_loss", "ess", "max_weight", "level")}
    assert logged["train/robust/ess"] == pytest.approx(attached.metrics["robust/ess"])


def test_unweighted_parts_are_warned_of_and_stay(tiny, tmp_path):
    config = RobustConfig("kl_dro", penalty=0.1, scope="step")
    made = tiny.trainer("DPO", tmp_path, config, model__nll_loss_coef=0.5)
    with pytest.warns(UserWarning, match="DPOTrainer: nll_loss is a mean over tokens and stays unweighted"):
        attach(made, config)
    both = tiny.fit(made)
    alone, _, _ = train(tiny, tmp_path, "DPO", vars(config))
    stock = tiny.fit(tiny.trainer("DPO", tmp_path))
    nll = tiny.fit(tiny.trainer("DPO", tmp_path, model__nll_loss_coef=0.5)) - stock
    assert close(both, alone + nll, 1e-6)


def test_one_example_at_a_time_is_warned_of(tiny, tmp_path):
    config = RobustConfig("kl_dro", penalty=0.1)
    with pytest.warns(UserWarning, match="over one example tilts nothing"):
        attach(tiny.trainer("RM", tmp_path, config, micro=1), config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ds__packing_samples": True}, "packing_samples needs flash-attn"),
        ({"carry": False}, "needs the column 'ratio', and OpenRLHF's datasets drop columns: .*with_columns"),
    ],
)
def test_what_cannot_be_weighed_is_refused(tiny, tmp_path, changes, message):
    config = RobustConfig("dora", penalty=0.5)
    with pytest.raises(ValueError, match=message):
        attach(tiny.trainer("DPO", tmp_path, config, **changes), config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "needs the column 'ratio'; the training dataset has weight, group"),
        ([1.0] * 15 + [math.nan], "column 'ratio' of the training dataset is nan in row 15"),
        ([1.0] * 15 + [-1.0], "is -1.0 in row 15"),
        (["high"] * 16, "is 'high' in row 0"),
        ([0.0] * 16, "is 0 in every row"),
    ],
)
def test_bad_columns_are_refused(tiny, tmp_path, values, message):
    config = RobustConfig("dora", penalty=0.5)
    data = tiny.rows("DPO").remove_columns("ratio")
    data = data if values is None else data.add_column("ratio", values)
    with pytest.raises(ValueError, match=message):
        attach(tiny.trainer("DPO", tmp_path, config, data=data), config)


def test_ring_attention_strangers_and_stray_batches_are_refused(tiny, tmp_path):
    config = RobustConfig("kl_dro", penalty=0.1)
    made = tiny.trainer("DPO", tmp_path)
    made.strategy.ring_attn_size = 2
    with pytest.raises(ValueError, match="ring attention"):
        attach(made, config)
    with pytest.raises(TypeError, match="a Namespace is no trainer of OpenRLHF that can be weighed: DPOTrainer, "):
        import argparse

        attach(argparse.Namespace(), config)
    with pytest.raises(TypeError, match="config is a dict"):
        attach(made, {"objective": "kl_dro"})
    with pytest.raises(ValueError, match="only experiences are weighed over"):
        attach(made, config, over="prompt")
    with pytest.raises(TypeError, match="has no process_data"):
        with_columns(dict, config)
    made.strategy.ring_attn_size = 1
    attach(made, config)
    with pytest.raises(RuntimeError, match="train_dataloader did not give"):
        made.loss_fn(*[torch.zeros(2, requires_grad=True) for _ in range(4)])
    dora = RobustConfig("dora", penalty=1.0)
    made = tiny.trainer("DPO", tmp_path, dora)
    made.train_dataloader.collate_fn = tiny.dataset("DPO", tiny.rows("DPO"), made.strategy).collate_fn
    loader = made.train_dataloader
    plain = [[row for row, _ in (loader.dataset[i] for i in range(4))]]
    attached = attach(made, dora)
    with pytest.raises(ValueError, match="a training batch lacks the column 'ratio'"):
        attached.announce([loader.collate_fn(plain[0])])


@pytest.mark.parametrize("kind", KINDS)
def test_inside_patched_every_new_trainer_is_attached_to(tiny, tmp_path, kind):
    import openrlhf.datasets

    config = RobustConfig("dora", penalty=0.5, scope="step")
    expected, _, _ = train(tiny, tmp_path, kind, vars(config))
    stock = openrlhf.datasets.RewardDataset
    with patched(config):
        assert openrlhf.datasets.RewardDataset.__mro__[2] is stock
        made = tiny.trainer(kind, tmp_path, config)
        assert torch.equal(tiny.fit(made), expected)
    assert openrlhf.datasets.RewardDataset is stock
    assert "fit" not in vars(tiny.trainer(kind, tmp_path))
