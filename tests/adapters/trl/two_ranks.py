"""One rank of the data-parallel test: a real trainer under torch.distributed on gloo; writes its step's gradient."""

import json
import os
import sys
from pathlib import Path

import torch

CASES = {
    "dora DPO": ("DPO", {"objective": "dora", "penalty": 0.05}, {}),
    "kl DPO float32": ("DPO", {"objective": "kl_dro", "penalty": 0.05}, {"dtype": torch.float32}),
    "radius Reward": ("Reward", {"objective": "worst_case", "divergence": "chi_square", "radius": 0.5}, {}),
    "dora SFT": ("SFT", {"objective": "dora", "penalty": 2.0}, {}),
    "weighted DPO": ("DPO", {"objective": "weighted"}, {}),
    "ess ORPO": ("ORPO", {"objective": "kl_dro", "target_ess": 0.5}, {}),
}
FAST = {"max_steps": 1, "max_grad_norm": 0.0, "logging_steps": 1}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    import tiny
    from counterpoise_adapters.trl import RobustConfig

    found = {}
    for name, (short, robust, options) in CASES.items():
        if short == "SFT" and not tiny.sft_can_be_weighed():
            continue
        config = RobustConfig(scope="world", **robust)
        more = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "ddp_backend": "gloo"}
        made = tiny.trainer(short, folder, config, **FAST, **more, **options)
        gradient, logs = tiny.first_gradient(made)
        found[name] = {"gradient": gradient.tolist(), "logs": {k: v for k, v in logs.items() if "robust" in k}}
        made.accelerator.free_memory()
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
