"""The example script as torchrun starts it, on a CPU: OpenRLHF's own train_dpo, its parser, DeepSpeed, gloo."""

import json
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "stub")]


def main() -> None:
    script, log = sys.argv[1:3]
    import tiny

    tiny.on_cpu()
    from openrlhf.trainer.dpo_trainer import DPOTrainer

    stock, seen = DPOTrainer.save_logs_and_checkpoints, []

    def note(trainer, args, step, bar, logs=None, states=None):
        seen.append({k: v for k, v in logs.items() if k.startswith("robust/") or k == "loss_mean"})
        stock(trainer, args, step, bar, logs, states)
        if trainer.strategy.is_rank_0():
            Path(log).write_text(json.dumps(seen))

    DPOTrainer.save_logs_and_checkpoints = note
    sys.argv = sys.argv[1:2] + sys.argv[3:]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
