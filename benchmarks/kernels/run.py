"""The kernels against their peers and, on a CUDA device, against its copy bandwidth. See README.md beside it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

import counterpoise as cp
from counterpoise import kernels

try:
    import entmax
except ImportError:
    entmax = None

Call = Callable[[Tensor], object]
CPU_SHAPES = [(4096, 64), (64, 4096), (1, 10**6), (10**5, 8)]
GPU_SHAPES = [((1 << 26) // n, n) for n in (64, 256, 1024, 2048, 4096, 8192, 16384, 131072)]
SMALL = [(64, 8), (4096, 64), (64, 4096)]


def by_sorting(x: Tensor) -> Tensor:
    """Project onto the simplex by a sort and a running sum."""
    ordered = x.sort(dim=-1, descending=True).values
    rank = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    excess = ordered.cumsum(-1) - 1
    size = (ordered * rank > excess).sum(-1, keepdim=True)
    return torch.clamp(x - excess.gather(-1, size - 1) / size, min=0)


def by_bisection(x: Tensor) -> Tensor:
    """Project onto the simplex by 30 halvings: what a compiler can fuse."""
    low = x.amax(-1, keepdim=True) - 1
    step = 1.0
    for _ in range(30):
        step = step / 2
        low = torch.where(torch.relu(x - low - step).sum(-1, keepdim=True) >= 1, low + step, low)
    weights = torch.relu(x - low)
    return weights / weights.sum(-1, keepdim=True)


def projections() -> dict[str, Call]:
    """Return who projects onto the simplex."""
    peers: dict[str, Call] = {"counterpoise": kernels.project_simplex, "torch sort": by_sorting}
    if entmax is not None:
        peers["entmax sort"] = lambda x: entmax.sparsemax(x, -1)
        peers["entmax top-16"] = lambda x: entmax.sparsemax(x, -1, 16)
        peers["entmax top-64"] = lambda x: entmax.sparsemax(x, -1, 64)
        peers["entmax bisect"] = lambda x: entmax.sparsemax_bisect(x, -1)
    peers["torch.softmax"] = lambda x: torch.softmax(x, -1)
    return peers


def entmaxes() -> dict[str, Call]:
    """Return who computes 1.5-entmax."""
    peers: dict[str, Call] = {"counterpoise": kernels.entmax}
    if entmax is not None:
        peers["entmax sort"] = lambda x: entmax.entmax15(x, -1)
        peers["entmax top-16"] = lambda x: entmax.entmax15(x, -1, 16)
        peers["entmax top-64"] = lambda x: entmax.entmax15(x, -1, 64)
        peers["entmax bisect"] = lambda x: entmax.entmax_bisect(x, 1.5)
    return peers


def families() -> dict[str, Call]:
    """Return every kernel at a usual amount."""
    kl, chi_square, cressie_read = cp.KL(), cp.ChiSquare(), cp.CressieRead(1.5)
    return {
        "project_simplex": kernels.project_simplex,
        "entmax 1.5": kernels.entmax,
        "project_ball": lambda x: kernels.project_ball(x, 0.5),
        "project_capped_simplex": lambda x: kernels.project_capped_simplex(x, cap=max(0.3, 2 / x.shape[-1])),
        "χ² penalty": lambda x: kernels.penalized(x, chi_square, 0.5),
        "χ² ball": lambda x: kernels.constrained(x, chi_square, 0.5),
        "KL penalty": lambda x: kernels.penalized(x, kl, 0.5),
        "KL ball": lambda x: kernels.constrained(x, kl, 0.5),
        "Cressie-Read 1.5 penalty": lambda x: kernels.penalized(x, cressie_read, 0.5),
        "CVaR": lambda x: kernels.cvar(x, 0.1),
    }


def milliseconds(calls: dict[str, Call], x: Tensor, rounds: int) -> dict[str, float]:
    """Return the least processor time of each call, all of them in turn in every round."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call(x)
            best[name] = min(best[name], 1e3 * (time.process_time() - start))
    return best


def on_cpu(rounds: int, scale: float) -> None:
    """Print a table a problem: milliseconds, and times ours."""
    torch.set_num_threads(1)
    inputs = [scale * torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in CPU_SHAPES]
    header = " | ".join(f"{rows} × {n}" for rows, n in CPU_SHAPES)
    for title, calls in (
        ("Projection onto the simplex", projections()),
        ("1.5-entmax", entmaxes()),
        ("Every family", families()),
    ):
        times = [milliseconds(calls, x, rounds if title != "Every family" else 3) for x in inputs]
        print(f"\n### {title}, float32, one thread, ms\n\n| | {header} |\n|---|" + "---|" * len(inputs))
        for name in calls:
            cells = []
            for column in times:
                ratio = column[name] / column["counterpoise"] if "counterpoise" in column else None
                cells.append(f"{column[name]:.3g}" + (f" ({ratio:.2g}×)" if ratio and ratio != 1 else ""))
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def device_ms(call: Call, x: Tensor) -> float:
    """Return the median time on the device, by events, the cache flushed by a large write in between."""
    flush = torch.empty(1 << 30, dtype=torch.uint8, device=x.device)  # long enough to queue the call behind it
    for _ in range(3):
        call(x)
    times = []
    for _ in range(20):
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call(x)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def backward_of(call: Call, x: Tensor) -> Call:
    """Return the backward pass of the weights alone."""
    leaf = x.clone().requires_grad_()
    out = call(leaf)
    weights = out.weights if isinstance(out, cp.Solution) else out
    up = torch.randn_like(weights)
    return lambda _: torch.autograd.grad(weights, leaf, up, retain_graph=True)


def launched(calls: dict[str, Call], x: Tensor, rounds: int = 40) -> list[tuple[str, float, float]]:
    """Return the least µs that each call keeps Python, without and with a gradient to come, all in turn each round."""
    leaf = x.clone().requires_grad_()
    best = {(name, rated): float("inf") for name in calls for rated in (False, True)}
    for _ in range(rounds):
        for name, rated in best:
            call, given = calls[name], leaf if rated else x
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(200):
                call(given)
            best[name, rated] = min(best[name, rated], 1e6 * (time.perf_counter() - start) / 200)
    return [(name, best[name, False], best[name, True]) for name in calls]


def on_gpu() -> None:
    """Print the copy bandwidth, then each kernel as a share of it and beside its peers, then launch overheads."""
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    big = torch.empty(1 << 28, device="cuda")
    other = torch.empty_like(big)
    bandwidth = 2 * big.numel() * 4 / device_ms(lambda x: other.copy_(x), big) / 1e6
    print(f"copy bandwidth {bandwidth:.0f} GB/s\n")
    compiled = torch.compile(by_bisection, fullgraph=True, dynamic=False)
    peers = {name: call for name, call in projections().items() if name != "counterpoise"}
    peers["torch.compile of bisection"] = compiled
    print("| rows × n | kernel | forward, % of copy | × softmax | backward, % of copy |\n|---|---|---|---|---|")
    for shape in GPU_SHAPES:
        x = torch.randn(shape, device="cuda")
        size = x.numel() * 4 / 1e6
        softmax = device_ms(lambda x: torch.softmax(x, -1), x)
        for name, call in families().items():
            forward, backward = device_ms(call, x), device_ms(backward_of(call, x), x)
            reads = 4 if "ball" in name else 3
            print(
                f"| {shape[0]} × {shape[1]} | {name} | {100 * 2 * size / forward / bandwidth:.0f} | "
                f"{forward / softmax:.2f} | {100 * reads * size / backward / bandwidth:.0f} |",
                flush=True,
            )
        ours = device_ms(kernels.project_simplex, x)
        for name, call in peers.items():
            try:
                told = f"{device_ms(call, x) / ours:.1f} × project_simplex"
            except Exception as error:  # a peer that cannot run here must not cost the rest of the table
                told = f"failed, {type(error).__name__}"
            print(f"| {shape[0]} × {shape[1]} | {name}: {told} | | | |", flush=True)
    print("\n| rows × n | kernel | µs a call from Python | gradient to come | × softmax |\n|---|---|---|---|---|")
    for shape in SMALL:
        x = torch.randn(shape, device="cuda")
        found = launched({"torch.softmax": peers["torch.softmax"], **families()}, x)
        for name, alone, rated in found:
            told = f"{alone:.1f} | {rated:.1f} | {alone / found[0][1]:.1f}"
            print(f"| {shape[0]} × {shape[1]} | {name} | {told} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="measure the torch path although there is a CUDA device")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="standard deviation of the scores on the CPU")
    arguments = parser.parse_args()
    if torch.cuda.is_available() and not arguments.cpu:
        on_gpu()
    else:
        on_cpu(arguments.rounds, arguments.scale)
