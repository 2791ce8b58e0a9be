"""One rank of the data-parallel test: solve on its shard, and write what it found."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from counterpoise_adapters.pytorch import RobustLoss, gathered, reduced

import counterpoise as cp

CASES = {
    "penalized KL": (cp.penalized, (cp.KL(), 0.5)),
    "penalized chi": (cp.penalized, (cp.ChiSquare(), 1.0)),
    "penalized JS": (cp.penalized, (cp.JensenShannon(), 1.0)),
    "constrained KL": (cp.constrained, (cp.KL(), 0.2)),
    "constrained chi": (cp.constrained, (cp.ChiSquare(), 0.5)),
    "constrained CR": (cp.constrained, (cp.CressieRead(1.5), 0.3)),
    "constrained reverse KL": (cp.constrained, (cp.ReverseKL(), 0.2)),
    "constrained TV": (cp.constrained, (cp.TotalVariation(), 0.2)),
    "constrained JS": (cp.constrained, (cp.JensenShannon(), 0.05)),
    "cvar": (cp.cvar, (0.3,)),
}
SIZES = (7, 4)
STEPS = ((3, 4), (2, 1, 1))


def data():
    generator = torch.Generator().manual_seed(0)
    losses = torch.randn(3, sum(SIZES), dtype=torch.float64, generator=generator)
    losses[1] *= 1e6
    prior = torch.rand(3, sum(SIZES), dtype=torch.float64, generator=generator)
    prior[2, 5:] = 0.0  # one rank holds nothing of the last row
    inputs = torch.randn(sum(SIZES), 4, dtype=torch.float64, generator=generator)
    ratio = torch.rand(sum(SIZES), dtype=torch.float64, generator=generator)
    return losses, prior, inputs, ratio


def train(loss, rows, micro, ratio, inputs):
    """Gradient of one step: micro-batches accumulate locally, the last one lets DistributedDataParallel average."""
    model = torch.nn.Linear(4, 1, dtype=torch.float64)
    torch.nn.init.constant_(model.weight, 0.5)
    torch.nn.init.zeros_(model.bias)
    wrapped = torch.nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model
    parts = torch.split(rows, list(micro))

    def losses_of(part):
        return wrapped(inputs[part]).squeeze(-1) ** 2

    if loss.scope != "microbatch":
        with torch.no_grad():
            for part in parts:
                loss.observe(losses_of(part), ratio[part])
    values = []
    for part in parts:
        local = dist.is_initialized() and part is not parts[-1]
        with wrapped.no_sync() if local else nullcontext():
            value = loss(losses_of(part), ratio[part])
            (value / len(parts)).backward()
        values.append(value.item())
    return values, [p.grad.flatten().tolist() for p in model.parameters()]


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    losses, prior, inputs, ratio = data()
    mine = slice(0, SIZES[0]) if rank == 0 else slice(SIZES[0], None)
    found = {}
    for name, (verb, how) in CASES.items():
        for way in (gathered, reduced):
            solution = way(verb, losses[:, mine], *how, prior=prior[:, mine])
            found[f"{name}/{way.__name__}"] = [part.tolist() for part in solution]
    rows = torch.arange(sum(SIZES))[mine]
    loss = RobustLoss("dora", penalty=0.5, scope="world")
    found["step"] = train(loss, rows, STEPS[rank], ratio, inputs)
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
