"""Weights against every peer that installs: one command, one thread, one run. See README.md beside it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy and torch are loaded

import argparse
import contextlib
import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peers import Peer, available
from problems import TASKS, Floats, Task, nasty
from rich.console import Console
from rich.progress import track

import counterpoise as cp

torch.set_num_threads(1)


def seconds(function: Callable[[], object], *, budget: float = 1.0) -> float:
    """Return the least processor time of repeated calls, after one that is not counted."""
    function()
    best, spent = float("inf"), 0.0
    while spent < budget:
        start = time.process_time()
        function()
        took = max(time.process_time() - start, 1e-9)
        best, spent = min(best, took), spent + took
    return best


def gap_of(losses: Floats, solution: cp.Solution) -> float:
    """Duality gap in units of the range, from the formulas: a bound on any error of the reference."""
    size = np.ptp(losses, axis=-1)
    return float(np.max(np.abs(solution.gap) / size))


def quietly(peer: Peer, task: Task, losses: Floats, amount: float, prior: Floats | None) -> Floats | None:
    """Call a peer; what it raises counts as no answer."""
    with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        try:
            return peer(task, losses, amount, prior)
        except Exception:
            return np.full(len(losses), np.nan)


def batch(rows: int, n: int, peers: dict[str, Peer], sample: int) -> list[dict[str, object]]:
    """Time a batch by ours at once and by the peers row by row (on a sample of rows, scaled)."""
    losses = np.random.default_rng(0).normal(size=(rows, n))
    tensor = torch.from_numpy(losses)
    softmax = seconds(lambda: torch.softmax(tensor, dim=-1))
    table = []
    for task in TASKS:
        truth = task.solve(losses)
        reference = np.asarray(truth.weights)
        ours = {"counterpoise, numpy": losses, "counterpoise, torch": tensor}
        times = {name: seconds(lambda x=x, t=task: t.solve(x)) for name, x in ours.items()}
        for name, took in times.items():
            table.append({"problem": task.name, "solver": name, "seconds": took, "error": gap_of(losses, truth)})
        for name, peer in track(peers.items(), f"{rows} × {n}, {task.name}", transient=True):
            chosen = losses[: min(sample, rows)]
            answers = [quietly(peer, task, row, task.amount, None) for row in chosen]
            if answers[0] is None:
                continue
            took = seconds(lambda p=peer, t=task, c=chosen: [quietly(p, t, row, t.amount, None) for row in c])
            error = float(np.max(np.abs(np.stack(answers) - reference[: len(chosen)])))
            table.append({"problem": task.name, "solver": name, "seconds": took * rows / len(chosen), "error": error})
        best = min(times.values())
        for row in table:
            if row["problem"] == task.name:
                row |= {"of ours": row["seconds"] / best, "of softmax": row["seconds"] / softmax}
    return table


def difficult(peers: dict[str, Peer]) -> list[dict[str, object]]:
    """Count how many nasty problems each solves to 1e-6 and to 1e-9 in its weights, of those that it can state."""

    def ours(task: Task, losses: Floats, amount: float, prior: Floats | None) -> Floats:
        return np.asarray(task.solve(losses, amount, prior).weights)

    problems = list(nasty())
    # an offset of 1e8 rounds the losses themselves; the reference takes these roundings as the problem
    truths = [task.solve(np.longdouble(x).astype(float), amount, prior) for task, x, amount, prior in problems]
    certified = all(int(t.status) < cp.Status.NOT_CONVERGED for t in truths)
    table = []
    for name, peer in track({"counterpoise": ours, **peers}.items(), "nasty problems", transient=True):
        stated = fair = good = 0
        for (task, losses, amount, prior), truth in zip(problems, truths, strict=True):
            answer = quietly(peer, task, losses, amount, prior)
            if answer is None:
                continue
            stated += 1
            error = np.abs(answer - truth.weights).max()
            fair, good = fair + bool(error <= 1e-6), good + bool(error <= 1e-9)
        table.append({"solver": name, "stated": stated, "to 1e-6": fair, "to 1e-9": good, "of": len(problems)})
    if not certified:
        raise SystemExit("the reference did not certify every problem")
    return table


def markdown(rows: list[dict[str, object]]) -> str:
    """Write a table."""
    formats = {"seconds": "{:.2e}", "error": "{:.0e}", "of ours": "{:.3g}", "of softmax": "{:.3g}"}
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        lines.append("| " + " | ".join(formats.get(h, "{}").format(row[h]) for h in heads) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run everything, print the tables, write them as Markdown and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast-dro", type=Path, help="a clone of daniellevy/fast-dro")
    parser.add_argument("--sample", type=int, default=16, help="rows of the batch that peers are timed on")
    parser.add_argument("--out", type=Path, default=Path("vs_peers"), help="name of the .md and .json to write")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    peers, absent = available(options.fast_dro)
    fast = {name: peer for name, peer in peers.items() if name != "cvxpy, CLARABEL"}
    np.empty(4_000_000)  # freed, it keeps malloc from giving pages back: in a process that has held a model it does not
    found = {
        "4096 × 64, float64": batch(4096, 64, peers, options.sample),
        "1 × 1,000,000, float64 (cvxpy left out: minutes and gigabytes)": batch(1, 1_000_000, fast, 1),
        "nasty problems": difficult(peers),
    }
    machine = (
        f"{platform.processor() or platform.machine()}, one thread, numpy {np.__version__}, torch {torch.__version__}"
    )
    text = f"{machine}\n\n" + "\n\n".join(f"### {title}\n\n{markdown(rows)}" for title, rows in found.items())
    text += "\n\nAbsent: " + "; ".join(f"{name} ({why})" for name, why in absent.items()) + "\n"
    Console().print(text, markup=False, soft_wrap=True)
    for suffix, content in ((".md", text), (".json", json.dumps({"machine": machine, "tables": found}, indent=1))):
        with tempfile.NamedTemporaryFile("w", dir=options.out.parent, delete=False, encoding="utf-8") as file:
            file.write(content)
        Path(file.name).replace(options.out.with_suffix(suffix))


if __name__ == "__main__":
    main()
