"""Token-level DPO of a small GPT that is trained from scratch, on real answers: judged by people, or by token overlap.

The reference is the GPT after learning to write the training pairs' chosen answers. A pair's margin is DPO's; the last
arm weighs each token of the margin by its own ratio (`ratio_at_level`, "token") in place of the pair.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import counterpoise as cp

from .arms import Columns, arm
from .real import Pair, features, splits, summary
from .training import columns_of

__all__ = ["GPT_ARMS", "TOKENS", "run"]

Floats = NDArray[np.float64]
DATASET = "evouna judge"
VOCABULARY, LENGTH, WIDTH, HEADS, LAYERS = 400, 24, 32, 2, 2
BATCH, SFT_STEPS, DPO_STEPS, RATE, BETA = 32, 120, 90, 3e-3, 0.5
TOKENS = "reweighting, tokens"
GPT_ARMS = (
    "ERM", "target only", "KL-DRO", "reweighting", "DoRA, paper", "DoRA, λ = 1", "DoRA, scaled", TOKENS
)  # fmt: skip


class GPT(nn.Module):
    """A decoder of a few thousand weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(LENGTH - 1))

    def forward(self, ids: Tensor) -> Tensor:
        """Return log-probabilities of tokens 1.. given what stands before them, (n, LENGTH - 1); padding has 0."""
        x = self.tokens(ids[:, :-1]) + self.places.weight[: LENGTH - 1]
        x = self.norm(self.body(x, mask=self.causal, is_causal=True))
        logits = x @ self.tokens.weight.T
        found = -nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return found.reshape(len(ids), -1) * (ids[:, 1:] != 0)


def run(models: int) -> dict[str, Any]:
    """Train every arm from the same reference, on fresh splits.

    Parameters
    ----------
    models : int
        Splits, each with its own GPT.
    """
    right, loss, columns, tests = [], [], [], []
    for train, test, seed in splits(DATASET, models):
        torch.manual_seed(seed)
        known, token_ratio, ids, test_ids = _prepared(train, test, seed)
        reference = _pretrained(ids)
        found = [_dpo(copy.deepcopy(reference), reference, known, token_ratio, ids, test_ids, how) for how in GPT_ARMS]
        right.append([one[0] for one in found])
        loss.append([one[1] for one in found])
        columns.append(known)
        tests.append(np.zeros(len(test_ids)))
    joined = Columns(**{k: np.stack([getattr(c, k) for c in columns])[:, None] for k in vars(columns[0])})
    return summary(list(GPT_ARMS), np.array(right), np.array(loss), joined, tests)


def _prepared(train: list[Pair], test: list[Pair], seed: int) -> tuple[Columns, Floats, Tensor, Tensor]:
    """Return what is known of the training pairs, each token's ratio, and the tokens of both sides, (n, 2, LENGTH)."""
    source = np.array([pair.source for pair in train])
    groups = np.unique([pair.key for pair in train], return_inverse=True)[1]
    items, _ = features(train, test[:2], seed)
    aware, blind = (cp.pair_features(items[:, 0], items[:, 1], label_aware=a) for a in (True, False))
    known = columns_of(aware, blind, items, source, seed=seed, groups=groups)
    words = Counter(w for pair in train for text in (pair.chosen, pair.rejected) for w in _words(text))
    number = {word: i for i, (word, _) in enumerate(words.most_common(VOCABULARY - 3), start=3)}
    ids, test_ids = (
        torch.tensor([[_encode(p.chosen, number), _encode(p.rejected, number)] for p in pairs])
        for pairs in (train, test[:600])
    )
    return known, _token_ratio(ids.numpy(), source == 0), ids, test_ids


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+|[^\sa-z0-9]", text.lower())


def _encode(text: str, number: dict[str, int]) -> list[int]:
    """Encode with 0 for padding, 1 for the start, 2 for an unknown word."""
    ids = [1, *(number.get(word, 2) for word in _words(text)[: LENGTH - 1])]
    return ids + [0] * (LENGTH - len(ids))


def _token_ratio(ids: NDArray[np.int64], mine: NDArray[np.bool_]) -> Floats:
    """Return dTarget/dTrain of each token in its role, chosen or rejected: smoothed shares of words, capped at 5."""
    ratio = np.ones((*ids.shape[:2], LENGTH - 1))
    for role in (0, 1):
        counts = [np.bincount(ids[rows, role].ravel(), minlength=VOCABULARY) for rows in (mine, ~mine)]
        counts = [c + 20.0 * (counts[0] + counts[1] + 1.0) / (counts[0] + counts[1] + 1.0).sum() * 50 for c in counts]
        shares = [c / c.sum() for c in counts]
        log_ratio = (np.log(shares[0]) - np.log(shares[1]))[ids[:, role, 1:]]
        mask = ids[:, role, 1:] != 0
        ratio[:, role] = cp.truncated_ratio(cp.ratio_at_level(log_ratio, level="token", mask=mask), cap=5.0)
    return ratio / ratio[ids[..., 1:] != 0].mean()


def _pretrained(ids: Tensor) -> GPT:
    model = GPT()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    for step in range(SFT_STEPS):
        chosen = ids[_batch(len(ids), step), 0]
        loss = -model(chosen).sum() / (chosen[:, 1:] != 0).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval().requires_grad_(False)


def _batch(n: int, step: int) -> Tensor:
    """Return a batch of the shuffled rows; epochs follow one another, the same for every arm."""
    per_epoch = max(1, n // BATCH)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(step // per_epoch))
    place = step % per_epoch * BATCH
    return order[place : place + BATCH]


def _dpo(
    model: GPT, reference: GPT, known: Columns, token_ratio: Floats, ids: Tensor, test_ids: Tensor, name: str
) -> tuple[float, float]:
    model.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE / 4)
    columns = {k: torch.tensor(v, dtype=torch.float32) for k, v in vars(known).items()}
    by_token = torch.tensor(token_ratio, dtype=torch.float32)
    how = arm("ERM" if name == TOKENS else name)
    for step in range(DPO_STEPS):
        rows = _batch(len(ids), step)
        weights = by_token[rows] if name == TOKENS else None
        losses = nn.functional.softplus(-_margins(model, reference, ids[rows], weights))
        here = Columns(**{k: v[rows] for k, v in columns.items()})
        if name == "target only" and not here.target.any():
            continue
        amount = 2.0 if name == "DoRA, scaled" else None
        found = cp.raise_on_failure(how.evaluate(losses.detach(), here, torch.ones_like(losses), amount))
        optimiser.zero_grad()
        (found.weights * losses).sum().backward()
        optimiser.step()
    with torch.no_grad():
        margins = _margins(model.eval(), reference, test_ids, None).double().numpy()
    return float((margins > 0).mean() + 0.5 * (margins == 0).mean()), float(np.logaddexp(0.0, -margins).mean())


def _margins(model: GPT, reference: GPT, ids: Tensor, weights: Tensor | None) -> Tensor:
    """Return β Σ_t w_t (log π - log π_ref)(chosen) minus the same of the rejected."""
    flat = ids.flatten(0, 1)
    with torch.no_grad():
        before = reference(flat)
    rewards = (model(flat) - before).reshape(len(ids), 2, -1)
    rewards = (rewards if weights is None else weights * rewards).sum(dim=-1)
    return BETA * (rewards[:, 0] - rewards[:, 1])
