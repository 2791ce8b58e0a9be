"""The same real preferences with a small neural policy, all splits at once, without early stopping."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from counterpoise_adapters.cli.policy import accuracy
from numpy.typing import NDArray
from torch import Tensor

import counterpoise as cp

from .arms import ARMS, Arm, Columns, arm
from .real import prepared, summary

__all__ = ["FIXED", "NEURAL_ARMS", "run_dataset"]

Floats = NDArray[np.float64]
HIDDEN, STEPS, RATE, DECAY = 32, 150, 1e-2, 1e-3
FIXED = {"target-centred DRO": 2.0, "DoRA, scaled": 2.0}
NEURAL_ARMS = (
    "ERM", "target only", "KL-DRO", "reweighting", "reweighting, ratio²", "target-centred DRO", "DoRA, paper",
    "DoRA, λ = 1", "DoRA, scaled",
)  # fmt: skip
assert set(NEURAL_ARMS) <= {one.name for one in ARMS}


def run_dataset(name: str, count: int) -> dict[str, Any]:
    """Train one network per split and arm; amounts are fixed, not chosen.

    Parameters
    ----------
    name : str
        Of `real.DATASETS`.
    count : int
        Splits.
    """
    problem, items, tests, _ = prepared(name, count)
    columns = Columns(**{k: torch.tensor(v[:, 0], dtype=torch.float32) for k, v in vars(problem.columns).items()})
    right, loss = [], []
    for label in NEURAL_ARMS:
        policy = _train(torch.tensor(items, dtype=torch.float32), columns, arm(label))
        found = [_judge(policy, split, test) for split, test in enumerate(tests)]
        right.append([one[0] for one in found])
        loss.append([one[1] for one in found])
    return summary(list(NEURAL_ARMS), np.array(right).T, np.array(loss).T, problem.columns, tests)


def _train(items: Tensor, columns: Columns, how: Arm) -> list[Tensor]:
    """Fit scores w·tanh(Wx + b) by Adam on the whole batch; the weights are exact and held constant (Danskin)."""
    seeds, pairs, _, d = items.shape
    generator = torch.Generator().manual_seed(0)
    shapes = [(seeds, d, HIDDEN), (seeds, 1, HIDDEN), (seeds, HIDDEN, 1)]
    policy = [(torch.randn(shape, generator=generator) / shape[1] ** 0.5).requires_grad_() for shape in shapes]
    optimiser = torch.optim.Adam(policy, lr=RATE, weight_decay=DECAY)
    flat = items.reshape(seeds, pairs * 2, d)
    prior = torch.ones(seeds, pairs)
    for _ in range(STEPS):
        scores = _scores(policy, flat).reshape(seeds, pairs, 2)
        losses = torch.nn.functional.softplus(scores[..., 1] - scores[..., 0])
        found = cp.raise_on_failure(how.evaluate(losses.detach(), columns, prior, FIXED.get(how.name)))
        optimiser.zero_grad()
        (found.weights * losses).sum().backward()
        optimiser.step()
    return [parameter.detach() for parameter in policy]


def _scores(policy: list[Tensor], flat: Tensor) -> Tensor:
    first, bias, last = policy
    return (torch.tanh(flat @ first + bias) @ last)[..., 0]


def _judge(policy: list[Tensor], split: int, test: Floats) -> tuple[float, float]:
    one = [parameter[split : split + 1] for parameter in policy]
    flat = torch.tensor(test, dtype=torch.float32).reshape(1, -1, test.shape[-1])
    scores = _scores(one, flat).reshape(-1, 2).double().numpy()
    return float(accuracy(scores).mean()), float(np.logaddexp(0.0, scores[:, 1] - scores[:, 0]).mean())
