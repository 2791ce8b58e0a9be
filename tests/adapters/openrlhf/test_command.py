"""OpenRLHF's own command line, started as the how-to says, on a CPU."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[2] / "docs" / "examples" / "openrlhf_dpo.py"


@pytest.fixture(scope="module")
def world(tiny, tmp_path_factory):
    """A model's folder, and weighed pairs in a file, all on disk."""
    folder = tmp_path_factory.mktemp("command")
    actor = tiny.model("DPO", dtype=tiny.torch.bfloat16)
    actor.model.save_pretrained(folder / "model")
    tiny.tokenizer().save_pretrained(folder / "model")
    tiny.rows("DPO", 24).to_json(folder / "weighed.jsonl")
    return folder


def options(folder):
    return [
        "--model.model_name_or_path", str(folder / "model"), "--data.dataset", str(folder / "weighed.jsonl"),
        "--data.prompt_key", "prompt", "--train.batch_size", "8", "--train.micro_batch_size", "2",
        "--ds.attn_implementation", "sdpa", "--data.max_len", "64", "--ckpt.output_dir", str(folder / "out"),
        "--adam.lr", "1e-2",
    ]  # fmt: skip


def test_train_dpo_trains_with_our_weights_on_two_ranks(world):
    log = world / "log.json"
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*started, str(HERE / "command.py"), str(EXAMPLE), str(log), *options(world)]
    done = subprocess.run(command, cwd=world, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    logs = json.loads(log.read_text())
    assert len(logs) == 3
    assert all(set(step) >= {"robust/value", "robust/ess", "robust/penalty", "loss_mean"} for step in logs)
    assert 1 < logs[0]["robust/ess"] < 7.9  # of eight pairs, on both ranks
    assert (world / "out" / "config.json").exists()


def test_the_example_is_ten_lines():
    assert len(EXAMPLE.read_text().splitlines()) == 10


def test_a_ray_worker_is_set_up_before_the_trainers_class_is_looked_up(tmp_path):
    ray = pytest.importorskip("ray")
    (tmp_path / "robust_setup.py").write_text(
        "from counterpoise_adapters.openrlhf import RobustConfig, patched\n"
        "weights = patched(RobustConfig('kl_dro', penalty=0.5, scope='world'))\n"
        "def setup():\n    weights.__enter__()\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(HERE / "stub"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": paths, "DS_ACCELERATOR": "cpu"}
    hook = {"worker_process_setup_hook": "robust_setup.setup", "env_vars": environment}
    patience = {"worker_register_timeout_seconds": 600}  # it imports torch before it registers
    home = tempfile.mkdtemp(prefix="ray")  # short, for its sockets; and no cluster that runs already is joined
    ray.init(
        "local", num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=hook,
        _system_config=patience, _temp_dir=home,
    )  # fmt: skip
    try:

        @ray.remote
        def look():
            from openrlhf.datasets import RewardDataset
            from openrlhf.trainer.dpo_trainer import DPOTrainer

            return RewardDataset.__mro__[1].__name__, DPOTrainer.__init__.__code__.co_name

        assert ray.get(look.remote(), timeout=500) == ("ColumnsMixin", "init")
    finally:
        ray.shutdown()
        shutil.rmtree(home, ignore_errors=True)
