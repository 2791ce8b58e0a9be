"""The weighted gradient of every trainer against one pair at a time through the stock compute_loss."""

import pytest

import counterpoise as cp

torch = pytest.importorskip("torch")
pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
from counterpoise_adapters.trl import RobustConfig  # noqa: E402

ROWS = [0, 3, 5, 6, 10]
DPO = [
    {"loss_type": [kind]}
    for kind in (
        "sigmoid",
        "hinge",
        "ipo",
        "nca_pair",
        "robust",
        "bco_pair",
        "sppo_hard",
        "apo_zero",
        "apo_down",
        "discopop",
    )
] + [
    {"loss_type": ["exo_pair"], "label_smoothing": 0.1},
    {"loss_type": ["sigmoid"], "label_smoothing": 0.2},
    {"loss_type": ["robust"], "label_smoothing": 0.2},
    {"loss_type": ["sigmoid", "bco_pair", "hinge"], "loss_weights": [0.8, 0.2, 1.5]},
    {"use_weighting": True},
    {"ld_alpha": 0.5},
    {"f_divergence_type": "js_divergence"},
    {"precompute_ref_log_probs": True},
]
OTHERS = [
    ("Reward", {}),
    ("Reward", {"center_rewards_coefficient": 0.3}),
    ("KTO", {"loss_type": "apo_zero_unpaired"}),
    ("CPO", {"cpo_alpha": 0.0}),
    ("CPO", {"loss_type": "simpo", "cpo_alpha": 0.0}),
]
CASES = [("DPO", options) for options in DPO] + OTHERS


def reference(tiny, stock, losses_to_weights):
    """Σ w_i ∇l_i and the objective, from single examples."""
    single = [tiny.loss_and_gradient(stock, tiny.batch(stock, [i])) for i in ROWS]
    losses = torch.tensor([loss for loss, _ in single], dtype=torch.float64)
    value, weights = losses_to_weights(losses)
    return value.item(), sum(w * g for w, (_, g) in zip(weights, single, strict=True))


@pytest.mark.parametrize(("short", "options"), CASES, ids=lambda x: x if isinstance(x, str) else str(x))
def test_gradient_is_the_weighted_sum_of_single_gradients(tiny, tmp_path, short, options):
    stock = tiny.trainer(short, tmp_path, **options)
    made = tiny.trainer(short, tmp_path, RobustConfig("dora", penalty=0.05), **options)
    order = ROWS
    ratio = torch.tensor([stock.train_dataset[i]["ratio"] for i in order], dtype=torch.float64)
    value, want = reference(tiny, stock, lambda losses: cp.dora(losses, ratio, 0.05)[:2])
    loss, got = tiny.loss_and_gradient(made, tiny.batch(made, ROWS))
    assert (got - want).norm() <= 1e-6 * want.norm()
    assert loss == pytest.approx(value, rel=1e-6)
