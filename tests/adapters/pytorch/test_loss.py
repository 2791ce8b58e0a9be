"""RobustLoss in a loop: the objective it reports, the gradient it gives, and what it says to a wrong call."""

import warnings

import numpy as np
import pytest

import counterpoise as cp

torch = pytest.importorskip("torch")
from counterpoise_adapters.pytorch import Recipe, RobustLoss, robust_loss  # noqa: E402

LOSSES = torch.tensor([0.3, 1.2, -0.4, 2.0, 0.9], dtype=torch.float64)
RATIO = torch.tensor([0.5, 1.5, 1.0, 0.2, 1.8], dtype=torch.float64)
RECIPES = [
    ({"objective": "erm"}, lambda x, r, p: cp.erm(x, prior=p)),
    ({"objective": "reweighted"}, lambda x, r, p: cp.reweighted(x, r, prior=p)),
    ({"objective": "kl_dro", "penalty": 0.7}, lambda x, r, p: cp.kl_dro(x, 0.7, prior=p)),
    ({"objective": "dora", "penalty": 0.7}, lambda x, r, p: cp.dora(x, r, 0.7, prior=p)),
    ({"objective": "target_dro", "radius": 0.1}, lambda x, r, p: cp.target_dro(x, r, cp.KL(), radius=0.1, prior=p)),
    ({"objective": "target_dro", "penalty": 1.0, "divergence": cp.ChiSquare()},
     lambda x, r, p: cp.target_dro(x, r, cp.ChiSquare(), penalty=1.0, prior=p)),
    ({"objective": "cvar", "level": 0.4}, lambda x, r, p: cp.cvar(x, 0.4, prior=p)),
    ({"objective": cp.Hellinger(), "radius": 0.05}, lambda x, r, p: cp.constrained(x, cp.Hellinger(), 0.05, prior=p)),
    ({"objective": cp.ChiSquare(), "penalty": 0.5}, lambda x, r, p: cp.penalized(x, cp.ChiSquare(), 0.5, prior=p)),
]  # fmt: skip
IDS = [str(recipe["objective"]) + str(i) for i, (recipe, _) in enumerate(RECIPES)]


def ratio_for(recipe):
    return RATIO if Recipe(**recipe).needs_ratio else None


@pytest.mark.parametrize("prior", [None, torch.tensor([1.0, 0.0, 2.0, 1.0, 3.0], dtype=torch.float64)])
@pytest.mark.parametrize(("recipe", "expected"), RECIPES, ids=IDS)
def test_value_is_the_objective_and_gradient_its_weights(recipe, expected, prior):
    losses = LOSSES.clone().requires_grad_()
    value = RobustLoss(**recipe)(losses, ratio_for(recipe), prior=prior)
    value.backward()
    want = expected(LOSSES, RATIO, prior)
    torch.testing.assert_close(value.detach(), want.value, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(losses.grad, want.weights, rtol=1e-14, atol=1e-14)
    same = robust_loss(LOSSES, ratio_for(recipe), prior=prior, **recipe)
    torch.testing.assert_close(same, want.value, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("recipe", "expected"), RECIPES, ids=IDS)
def test_danskin_gradient_is_that_of_the_value(recipe, expected):
    step = 1e-6
    ratio = ratio_for(recipe)
    gradient = expected(LOSSES, RATIO, None).weights
    for i in range(len(LOSSES)):
        ahead, behind = LOSSES.clone(), LOSSES.clone()
        ahead[i] += step
        behind[i] -= step
        slope = (robust_loss(ahead, ratio, **recipe) - robust_loss(behind, ratio, **recipe)) / (2 * step)
        assert abs(slope - gradient[i]) < 1e-7


@pytest.mark.parametrize(("recipe", "_"), RECIPES, ids=IDS)
def test_a_step_of_uneven_microbatches_has_the_gradient_of_one_batch(recipe, _):
    model = torch.nn.Linear(3, 1, dtype=torch.float64)
    inputs = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ratio = torch.rand(12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1
    uses_ratio = Recipe(**recipe).needs_ratio

    def losses_of(rows):
        losses = model(inputs[rows]).squeeze(-1) ** 2
        return (losses, ratio[rows]) if uses_ratio else losses

    def gradients(loss, parts):
        model.zero_grad()
        values = []
        for value in loss.over(parts, losses_of):
            (value / len(parts)).backward()
            values.append(value.detach())
        return values, [p.grad.clone() for p in model.parameters()]

    rows = torch.arange(12)
    (whole,), one = gradients(RobustLoss(**recipe), [rows])
    parts = [rows[:1], rows[1:6], rows[6:8], rows[8:]]
    loss = RobustLoss(**recipe, scope="step")
    for _step in range(2):  # the second step must not remember the first
        values, several = gradients(loss, parts)
        for value in values:
            torch.testing.assert_close(value, whole, rtol=1e-12, atol=0)
        for a, b in zip(one, several, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_micro_batches_may_be_written_over_once_they_are_observed():
    loss, parts = RobustLoss("dora", penalty=1.0, scope="step"), [LOSSES, LOSSES.flip(0) ** 2]
    buffer, ratio = torch.empty_like(LOSSES), torch.empty_like(LOSSES)
    for part in parts:
        loss.observe(buffer.copy_(part), ratio.copy_(1 + part))
    whole = robust_loss(torch.cat(parts), 1 + torch.cat(parts), objective="dora", penalty=1.0)
    for part in parts:
        torch.testing.assert_close(loss(part, 1 + part), whole)


def test_leading_axes_are_separate_problems():
    losses = torch.stack([LOSSES, 2 * LOSSES])
    value = robust_loss(losses, objective="kl_dro", penalty=1.0)
    rows = [robust_loss(row, objective="kl_dro", penalty=1.0) for row in losses]
    torch.testing.assert_close(value, sum(rows) / 2)


def test_a_tilt_over_one_example_warns_once_and_says_what_to_do():
    loss = RobustLoss("dora", penalty=1.0)
    with pytest.warns(UserWarning, match="single example.*scope='step'"):
        loss(LOSSES[:1], RATIO[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(LOSSES[:1], RATIO[:1])
        RobustLoss("erm")(LOSSES[:1])  # no tilt, nothing to warn about
        RobustLoss("kl_dro", penalty=float("inf"))(LOSSES[:1])


def test_masked_losses_may_be_anything():
    losses = torch.tensor([0.0, 1.0, float("nan")], dtype=torch.float64, requires_grad=True)
    value = RobustLoss("kl_dro", penalty=1.0)(losses, prior=torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(losses.grad).all()


def test_large_losses_do_not_overflow_in_float32():
    losses = torch.tensor([0.0, 1e4], requires_grad=True)
    value = RobustLoss("kl_dro", penalty=1.0)(losses)
    value.backward()
    assert value.item() == pytest.approx(1e4 - 0.693147, rel=1e-6)
    assert losses.grad.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"objective": "nonsense"}, "'nonsense'; it is one of erm, reweighted"),
        ({"objective": "kl_dro"}, "takes penalty; given: none"),
        ({"objective": "kl_dro", "radius": 0.1}, "takes penalty; given: radius"),
        ({"objective": "erm", "penalty": 1.0}, "takes no amount; given: penalty"),
        ({"objective": "cvar", "level": 0.0}, r"level is 0.0; it lies in \(0, 1\]"),
        ({"objective": "dora", "penalty": -1.0}, "penalty is -1.0; a float >= 0"),
        ({"objective": "dora", "penalty": float("nan")}, "penalty is nan; a float >= 0"),
        ({"objective": "target_dro", "penalty": 1.0, "radius": 1.0}, "takes penalty or radius"),
        ({"objective": "dora", "penalty": 1.0, "divergence": cp.KL()}, "divergence belongs to"),
        ({"objective": "dora", "penalty": 1.0, "scope": "epoch"}, "scope is 'epoch'"),
    ],
)
def test_wrong_recipes_say_what_is_wanted(recipe, message):
    with pytest.raises(ValueError, match=message):
        RobustLoss(**recipe)


def test_wrong_calls_say_what_is_wanted():
    with pytest.raises(ValueError, match="no ratio was given"):
        RobustLoss("dora", penalty=1.0)(LOSSES)
    with pytest.raises(ValueError, match="does not use it"):
        RobustLoss("erm")(LOSSES, RATIO)
    with pytest.raises(RuntimeError, match="a loss is NaN"):
        RobustLoss("kl_dro", penalty=1.0)(torch.tensor([0.0, float("nan")]))
    with pytest.raises(RuntimeError, match="needs a first pass"):
        RobustLoss("kl_dro", penalty=1.0, scope="step")(LOSSES)
    with pytest.raises(RuntimeError, match="init_process_group"):
        loss = RobustLoss("kl_dro", penalty=1.0, scope="world")
        loss.observe(LOSSES)
        loss(LOSSES)
    with pytest.raises(RuntimeError, match="observes nothing"):
        RobustLoss("kl_dro", penalty=1.0).observe(LOSSES)


def test_a_step_out_of_order_is_noticed_and_can_be_dropped():
    loss = RobustLoss("kl_dro", penalty=1.0, scope="step")
    loss.observe(LOSSES)
    loss.observe(LOSSES[:2])
    with pytest.raises(RuntimeError, match=r"shape \(2,\), but \(5,\)"):
        loss(LOSSES[:2])
    loss(LOSSES)
    with pytest.raises(RuntimeError, match="after 1 of 2 micro-batches"):
        loss.observe(LOSSES)
    loss.reset()
    loss.observe(LOSSES)
    torch.testing.assert_close(loss(LOSSES), robust_loss(LOSSES, objective="kl_dro", penalty=1.0))


def test_losses_are_a_tensor_and_amounts_may_be_numpy_s():
    with pytest.raises(TypeError, match="losses is a ndarray; a torch tensor"):
        robust_loss(np.zeros(3), objective="kl_dro", penalty=1.0)
    with pytest.raises(TypeError, match="losses is a list; a torch tensor"):
        RobustLoss("kl_dro", penalty=1.0)([0.0, 1.0])
    losses = torch.tensor([0.0, 1.0])
    assert robust_loss(losses, objective="kl_dro", penalty=np.float32(0.5)) == robust_loss(
        losses, objective="kl_dro", penalty=0.5
    )
