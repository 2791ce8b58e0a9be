"""An optimiser step of two real DeepSpeed ranks, four micro-batches each, against one batch on one."""

import importlib.util
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_ranks.py")
spec = importlib.util.spec_from_file_location("openrlhf_two_ranks", SCRIPT)
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)


@pytest.fixture(scope="module")
def found(in_ranks):
    return {ranks: in_ranks(SCRIPT, ranks) for ranks in (1, 2)}


@pytest.mark.parametrize("case", shared.CASES)
def test_a_step_of_two_ranks_has_the_gradient_of_one_batch(found, case):
    whole = torch.tensor(found[1][0][case]["gradient"], dtype=torch.float64)
    for rank in found[2]:
        got = torch.tensor(rank[case]["gradient"], dtype=torch.float64)
        assert (got - whole).norm() <= 2e-5 * whole.norm()  # float32
        for name, value in rank[case]["metrics"].items():
            if "weighted" in case and name in ("robust/ess", "robust/max_weight"):
                continue  # weights that need no losses are not exchanged, so these are means over micro-batches
            assert value == pytest.approx(found[1][0][case]["metrics"][name], rel=1e-4), name


def test_the_cases_differ_from_plain_training(found):
    gradients = [torch.tensor(found[1][0][case]["gradient"]) for case in ("kl DPO", "dora DPO, ZeRO-3", "weighted DPO")]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert (gradients[a] - gradients[b]).norm() > 1e-2 * gradients[a].norm()


@pytest.mark.parametrize("kind", shared.STOCK)
def test_uniform_weights_are_the_stock_run_under_deepspeed(found, kind):
    assert all(rank[f"stock {kind}"] for ranks in found.values() for rank in ranks)
