"""Bytes that ``RobustLoss(scope="world")`` exchanges a step, under DDP, FSDP2 and DeepSpeed, and its gradients.

python benchmarks/scale/communication.py [--kinds ddp fsdp2 zero1 zero2 zero3] [--ranks 2 4] [--batch 8 64 512]

Real processes on gloo train a small network for a step, once on the plain mean and once on DoRA over the world. Every
collective that passes PyTorch's dispatcher is counted with the bytes that this rank hands to it. Gradients (in float64,
of DeepSpeed in float32) are compared with those of one process that sees all rows. DeepSpeed is left out where it is
not installed.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from counterpoise_adapters.pytorch import RobustLoss
from torch.utils._python_dispatch import TorchDispatchMode

WIDTH, MICRO, RATE = 128, 2, 0.1
KINDS = ["ddp", "fsdp2", "zero1", "zero2", "zero3"]
# Which argument of each collective a rank hands over.
GIVEN = {
    "allreduce_": 0, "broadcast_": 0, "reduce_": 0, "allgather_": 1, "_allgather_base_": 1, "reduce_scatter_": 1,
    "_reduce_scatter_base_": 1, "allgather_into_tensor_coalesced_": 1, "reduce_scatter_tensor_coalesced_": 1,
    "allreduce_coalesced_": 0, "alltoall_": 1, "alltoall_base_": 1, "gather_": 1, "scatter_": 1,
    "allgather_coalesced_": 1, "barrier": None,
}  # fmt: skip


class Traffic(TorchDispatchMode):
    """Adds up the bytes that are handed to collectives."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            name = func.name().partition("::")[2].partition(".")[0]
            place = GIVEN.get(name)
            if name not in GIVEN:
                raise RuntimeError(f"the collective {name} is not known to this count")
            if place is not None:
                self.bytes[name] = self.bytes.get(name, 0) + _bytes(args[place])
        return func(*args, **(kwargs or {}))


def network(dtype: torch.dtype) -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(16, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 1)).to(dtype)


def rows(count: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 16, dtype=torch.float64, generator=generator)
    return inputs.to(dtype), torch.rand(count, dtype=torch.float64, generator=generator).to(dtype) * 2


def step(model: Any, loss: RobustLoss, inputs: torch.Tensor, ratio: torch.Tensor, micro: int, engine: Any) -> None:
    """Do both passes of a step (one, for the plain mean) and the backward passes."""
    parts = list(zip(inputs.chunk(micro), ratio.chunk(micro), strict=True))
    if loss.scope == "world" or loss.scope == "step":
        with torch.no_grad():
            for x, r in parts:
                loss.observe(losses_of(model, x), r)
    for number, (x, r) in enumerate(parts):
        last = number + 1 == micro
        if engine is not None:
            engine.backward(loss(losses_of(model, x), r))  # which divides by the accumulation steps
            engine.step()  # counts the micro-batch, and steps at the last one only
            continue
        if hasattr(model, "set_requires_gradient_sync"):
            model.set_requires_gradient_sync(last)
        with model.no_sync() if hasattr(model, "no_sync") and not last else nullcontext():
            (loss(losses_of(model, x), r) / micro).backward()


def losses_of(model: Any, inputs: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.softplus(-model(inputs).squeeze(-1))


def wrapped(kind: str, dtype: torch.dtype, batch: int) -> tuple[Any, Any]:
    """Return the model, and DeepSpeed's engine where it is one."""
    model = network(dtype)
    if kind == "ddp":
        return torch.nn.parallel.DistributedDataParallel(model), None
    if kind == "fsdp2":
        from torch.distributed.fsdp import fully_shard

        for layer in model:
            if isinstance(layer, torch.nn.Linear):
                fully_shard(layer)
        return fully_shard(model), None
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled
    config = {
        "train_micro_batch_size_per_gpu": batch // MICRO, "gradient_accumulation_steps": MICRO,
        "zero_optimization": {"stage": int(kind[-1]), "overlap_comm": False}, "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False, "gradient_clipping": 1e9,
    }  # fmt: skip
    engine, *_ = deepspeed.initialize(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=RATE), config=config, dist_init_required=False
    )
    return engine, engine


def parameters(engine: Any) -> torch.Tensor:
    """Return the whole parameters of a model that DeepSpeed may have sharded."""
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        return torch.cat([p.detach().double().flatten() for p in engine.module.parameters()])


def gradient(kind: str, model: Any) -> torch.Tensor:
    parts = [p.grad.full_tensor() if kind == "fsdp2" else p.grad for p in model.parameters()]
    return torch.cat([part.flatten() for part in parts])


def worker(rank: int, ranks: int, kind: str, batch: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank), DS_ACCELERATOR="cpu")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
    found: dict[str, Any] = {}
    mine = slice(rank * batch, (rank + 1) * batch)
    for name, loss, dtype in (
        ("plain", RobustLoss("reweighted"), torch.float32),
        ("world", RobustLoss("dora", penalty=0.5, scope="world"), torch.float32),
        # DeepSpeed descends in float32; of float64 parameters ZeRO-1 loses a part of the plain mean's gradient too
        ("exact", RobustLoss("dora", penalty=0.5, scope="world"), torch.float32 if "zero" in kind else torch.float64),
    ):
        inputs, ratio = rows(ranks * batch, dtype)
        model, engine = wrapped(kind, dtype, batch)
        before = None if engine is None else parameters(engine)
        with Traffic() as traffic:
            step(model, loss, inputs[mine], ratio[mine], MICRO, engine)
        found[name] = traffic.bytes
        if name == "exact":  # of DeepSpeed: what its step of plain descent did to the parameters
            moved = gradient(kind, model) if before is None else (before - parameters(engine)) / RATE
            found["gradient"] = moved.tolist()
    with Traffic() as traffic:  # what the objective itself exchanges: the model is at hand on every rank
        step(network(torch.float32), RobustLoss("dora", penalty=0.5, scope="world"), inputs[mine].float(),
             ratio[mine].float(), MICRO, None)  # fmt: skip
    found["own"] = traffic.bytes
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def measure(kind: str, ranks: int, batch: int) -> dict[str, Any]:
    """Run the ranks, and compare the gradient with that of one process."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--worker"]
        running = [
            subprocess.Popen(
                [*command, str(rank), str(ranks), kind, str(batch), name], stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )
            for rank in range(ranks)
        ]  # fmt: skip
        outputs = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            raise SystemExit("\n".join(outputs))
        found: dict[str, Any] = json.loads((Path(name) / "found.json").read_text())
    model = network(torch.float64)
    inputs, ratio = rows(ranks * batch, torch.float64)
    step(model, RobustLoss("dora", penalty=0.5, scope="step"), inputs, ratio, 1, None)
    whole = torch.cat([p.grad.flatten() for p in model.parameters()])
    error = (torch.tensor(found.pop("gradient"), dtype=torch.float64) - whole).abs().max() / whole.abs().max()
    return {"kind": kind, "ranks": ranks, "batch": batch, "error": float(error), **found}


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        worker(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), Path(sys.argv[6]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = KINDS if importlib.util.find_spec("deepspeed") else KINDS[:2]
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=known)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 64, 512], help="examples a rank and step")
    arguments = parser.parse_args()
    parameters = sum(p.numel() for p in network(torch.float32).parameters())
    print(f"{parameters:,} parameters of 4 bytes; examples in {MICRO} micro-batches a step\n")
    print(
        "| trainer | ranks | examples a rank | plain step, B | world step, B | objective's own, B | gradient off by |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind in arguments.kinds:
        for ranks in arguments.ranks:
            for batch in arguments.batch:
                run = measure(kind, ranks, batch)
                plain, world, own = (sum(run[name].values()) for name in ("plain", "world", "own"))
                print(
                    f"| {kind} | {ranks} | {batch} | {plain:,} | {world:,} | {own:,} | {run['error']:.0e} |", flush=True
                )


def _bytes(given: Any) -> int:
    if isinstance(given, torch.Tensor):
        return given.numel() * given.element_size()
    return sum(_bytes(part) for part in given)


if __name__ == "__main__":
    main()
