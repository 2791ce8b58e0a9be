"""Two real processes on gloo, with uneven shards, against one process."""

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from counterpoise_adapters.pytorch import RobustLoss  # noqa: E402

SCRIPT = Path(__file__).with_name("two_ranks.py")
spec = importlib.util.spec_from_file_location("two_ranks", SCRIPT)
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)


@pytest.fixture(scope="module")
def ranks(in_ranks):
    return in_ranks(SCRIPT, 2)


@pytest.mark.parametrize("way", ["gathered", "reduced"])
@pytest.mark.parametrize("case", shared.CASES)
def test_sharded_weights_equal_those_of_one_process(ranks, case, way):
    losses, prior, *_ = shared.data()
    verb, how = shared.CASES[case]
    whole = verb(losses, *how, prior=prior)
    found = [[torch.tensor(part) for part in rank[f"{case}/{way}"]] for rank in ranks]
    weights = torch.cat([torch.tensor(rank[f"{case}/{way}"][0], dtype=torch.float64) for rank in ranks], dim=-1)
    assert (weights - whole.weights).abs().max() <= 1e-12
    for rank in found:
        assert rank[5].tolist() == whole.status.tolist()
    for rank in ranks:
        value = torch.tensor(rank[f"{case}/{way}"][1], dtype=torch.float64)
        spread = losses.amax(-1) - losses.amin(-1)
        assert ((value - whole.value).abs() <= 1e-12 * spread).all()


def test_a_step_over_the_world_has_the_gradient_of_one_batch(ranks):
    _, _, inputs, ratio = shared.data()
    rows = torch.arange(sum(shared.SIZES))
    (value,), gradient = shared.train(RobustLoss("dora", penalty=0.5), rows, [len(rows)], ratio, inputs)
    for rank in ranks:
        values, parts = rank["step"]
        assert values == pytest.approx([value] * len(values), rel=1e-12)
        for mine, whole in zip(parts, gradient, strict=True):
            assert mine == pytest.approx(whole, rel=1e-12, abs=1e-14)
