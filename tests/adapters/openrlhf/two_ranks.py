"""One rank of the data-parallel tests: real trainers, real DeepSpeed, gloo; writes its first step's gradients."""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
KL = {"objective": "kl_dro", "penalty": 0.05}
DORA = {"objective": "dora", "penalty": 0.5}
CASES = {  # trainer, objective, ZeRO stage
    "kl DPO": ("DPO", KL, 2),
    "dora DPO, ZeRO-3": ("DPO", DORA, 3),
    "cvar RM": ("RM", {"objective": "cvar", "level": 0.3}, 2),
    "radius RM, ZeRO-3": ("RM", {"objective": "worst_case", "divergence": "chi_square", "radius": 0.5}, 3),
    "dora SFT": ("SFT", DORA, 2),
    "weighted DPO": ("DPO", {"objective": "weighted"}, 2),
}
STOCK = ("DPO", "RM", "SFT")


def main(folder: Path) -> None:
    ranks = int(os.environ["WORLD_SIZE"])
    sys.path[:0] = [str(HERE), str(HERE / "stub")]
    import tiny
    import torch
    from counterpoise_adapters.openrlhf import RobustConfig, attach

    torch.set_num_threads(1)
    tiny.on_cpu()
    micro = 2 if ranks > 1 else 16  # two ranks: four micro-batches each; one rank: one batch
    found = {}
    for name, (kind, robust, stage) in CASES.items():
        config = RobustConfig(scope="world", **robust)
        made = tiny.trainer(kind, folder, config, deep=True, micro=micro, ds__zero_stage=stage)
        with attach(made, config) as attached:
            gradient = tiny.fit(made)
        found[name] = {"gradient": gradient.tolist(), "metrics": attached.metrics}
    for kind in STOCK:  # three steps of plain training, ours and theirs
        runs = []
        for robust in (False, True):
            made = tiny.trainer(kind, folder, deep=True, micro=2, batch=4 * ranks, shuffle=True)
            if robust:
                attach(made, RobustConfig("erm", scope="world"))
            made.fit(made.args)
            runs.append(made.strategy.caught)
        found[f"stock {kind}"] = len(runs[0]) > 1 and all(map(torch.equal, *runs))
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
