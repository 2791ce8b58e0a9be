"""Trainers whose examples share something, against formulas written out here."""

import pytest

import counterpoise as cp

torch = pytest.importorskip("torch")
pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
from counterpoise_adapters.trl import RobustConfig  # noqa: E402

ROWS = [0, 3, 5, 6, 10]


def token_logps(model, prompts, answers):
    """Sums of answer tokens' log-probabilities, one sequence at a time."""
    sums = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt + answer])
        logps = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double(), -1)
        sums.append(logps.gather(-1, ids[0, 1:, None])[len(prompt) - 1 :].sum())
    return torch.stack(sums)


def gradient(model, scalar):
    return torch.cat([g.flatten() for g in torch.autograd.grad(scalar, list(model.parameters()))])


def test_kto(tiny, tmp_path):
    made = tiny.trainer("KTO", tmp_path, RobustConfig("dora", penalty=0.05), beta=0.5, undesirable_weight=0.7)
    loss, got = tiny.loss_and_gradient(made, tiny.batch(made, ROWS))
    if not hasattr(made, "_metrics"):
        pytest.skip("this release of TRL keeps its KL estimate elsewhere")
    (kl,) = made._metrics["train"]["kl"]
    rows = [made.train_dataset[i] for i in ROWS]
    sides = [[row[key] for row in rows] for key in ("prompt_ids", "completion_ids")]
    margin = token_logps(made.model, *sides) - token_logps(made.ref_model, *sides).detach() - kl
    label, ratio = (torch.tensor([row[key] for row in rows]) for key in ("label", "ratio"))
    losses = torch.where(label, 1 - torch.sigmoid(0.5 * margin), 0.7 * (1 - torch.sigmoid(-0.5 * margin)))
    want = cp.dora(losses.detach(), ratio.double(), 0.05)
    assert loss == pytest.approx(want.value.item(), rel=1e-6)
    expected = gradient(made.model, (want.weights * losses).sum())
    assert (got - expected).norm() <= 1e-6 * expected.norm()
    desirable = made.weighed.columns["ratio"][: int(label.sum())]
    torch.testing.assert_close(desirable.float(), ratio[label].float())  # columns follow the losses


@pytest.mark.parametrize("items", [None, 40])
def test_sft_parts_are_token_sums(tiny, tmp_path, items):
    made = tiny.trainer("SFT", tmp_path, RobustConfig("kl_dro", penalty=0.5), gradient_accumulation_steps=2)
    items = None if items is None else torch.tensor(items)
    loss, got = tiny.loss_and_gradient(made, tiny.batch(made, ROWS), num_items_in_batch=items)
    rows = [made.train_dataset[i] for i in ROWS]
    ids = [row["input_ids"] for row in rows]
    starts = [next(i for i, label in enumerate(row["labels"]) if label != -100) for row in rows]
    sums = -token_logps(made.model, [x[:s] for x, s in zip(ids, starts)], [x[s:] for x, s in zip(ids, starts)])  # noqa: B905
    tokens = sum(len(x) - s for x, s in zip(ids, starts)) if items is None else items  # noqa: B905
    micro = 1 if items is None else 2  # a sum over the step's micro-batches, or a mean over one
    losses = sums * len(ROWS) * micro / tokens
    want = cp.kl_dro(losses.detach(), 0.5)
    assert loss == pytest.approx(want.value.item() / micro, rel=1e-6)
    expected = gradient(made.model, (want.weights * losses).sum() / micro)
    assert (got - expected).norm() <= 1e-6 * expected.norm()
    torch.testing.assert_close(made.weighed.losses, losses.detach(), rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:.*stays unweighted")
@pytest.mark.parametrize("short", ["ORPO", "CPO"])
def test_odds_are_weighed_and_the_nll_is_not(tiny, tmp_path, short):
    made = tiny.trainer(short, tmp_path, RobustConfig("weighted"))
    stock = tiny.trainer(short, tmp_path)
    stock.model.train()
    parts = stock.concatenated_forward(stock.model, tiny.batch(stock, ROWS))
    losses = (stock.cpo_loss if short == "CPO" else stock.odds_ratio_loss)(parts[0], parts[1])[0]
    sign, nll = (1, made.args.cpo_alpha) if short == "CPO" else (-1, 1.0)
    weight = torch.tensor([made.train_dataset[i]["weight"] for i in ROWS], dtype=torch.float64)
    want = (sign * weight * losses).mean() + nll * parts[4]
    loss, got = tiny.loss_and_gradient(made, tiny.batch(made, ROWS))
    assert loss == pytest.approx(want.item(), rel=1e-6)
    expected = gradient(stock.model, want)
    assert (got - expected).norm() <= 1e-6 * expected.norm()


def test_the_sft_term_of_dpo_stays_a_token_mean(tiny, tmp_path):
    mixed = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}
    with pytest.warns(UserWarning, match="stays unweighted"):
        made = tiny.trainer("DPO", tmp_path, RobustConfig("weighted"), **mixed)
    stock = tiny.trainer("DPO", tmp_path, **mixed)
    plain = tiny.trainer("DPO", tmp_path)
    weighed = tiny.trainer("DPO", tmp_path, RobustConfig("weighted"))
    both, alone, robust, whole = (
        tiny.loss_and_gradient(each, tiny.batch(each, ROWS)) for each in (stock, plain, weighed, made)
    )
    assert whole[0] == pytest.approx(robust[0] + both[0] - alone[0], rel=1e-6)
    expected = robust[1] + both[1] - alone[1]
    assert (whole[1] - expected).norm() <= 1e-6 * expected.norm()
    one = tiny.trainer("DPO", tmp_path, RobustConfig("weighted"), **{**mixed, "per_device_train_batch_size": 1})
    assert one.weighed is None
    tiny.loss_and_gradient(one, tiny.batch(one, [5]))  # a batch of one: the sft term has a single row
    weight = one.train_dataset[5]["weight"]
    assert one.weighed.weights.item() == pytest.approx(weight, rel=1e-12)
    single = tiny.loss_and_gradient(plain, tiny.batch(plain, [5]))
    assert one.weighed.losses.item() == pytest.approx(single[0], rel=1e-6)
