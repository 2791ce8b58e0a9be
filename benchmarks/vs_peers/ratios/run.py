"""Density ratios against every peer that installs: one command, one thread, one run. See README.md above it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is loaded

import argparse
import json
import logging
import multiprocessing
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from peers import Method, available
from problems import PROBLEMS, Problem
from rich.console import Console
from rich.progress import track


def _work(method: Method, problem: Problem, alpha: float, queue: Any) -> None:
    """Fit and evaluate in a process of its own, whose largest memory is the fit's."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a peer that fails is a NaN in the table, not a traceback on the way
    np.random.seed(0)  # noqa: NPY002  peers draw their centres from the global state
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = method(problem.target, problem.train, problem.fresh)
    took = time.process_time() - start
    truth = problem.truth / (alpha * problem.truth + 1 - alpha)  # what a relative estimate is one of
    error = float(np.mean((found - truth) ** 2) / np.mean(truth**2))
    weights, wanted = np.maximum(found, 0), truth
    variation = float(np.abs(weights / max(weights.sum(), 1e-300) - wanted / wanted.sum()).sum() / 2)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    queue.put((error, variation, took, memory))


def measure(method: Method, problem: Problem, alpha: float, limit: float) -> tuple[float, ...]:
    """Return NMSE, total variation, processor seconds and MiB; NaN for what fails or takes too long."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_work, args=(method, problem, alpha, queue), daemon=True)
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
    return queue.get() if process.exitcode == 0 else (np.nan,) * 4


def main() -> None:
    """Run everything, print a table a size, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--only", default="", help="methods whose name holds this")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a fit may take")
    parser.add_argument("--out", type=Path, default=Path("ratios.json"))
    options = parser.parse_args()
    methods, absent = available()
    methods = {name: method for name, method in methods.items() if options.only in name}
    results: list[dict[str, Any]] = []
    jobs = [(n, p, m) for n in options.sizes for p in options.problems for m in methods]
    for n, name, method in track(jobs, "fits", transient=True):
        runs = [
            measure(
                methods[method],
                PROBLEMS[name](n, np.random.default_rng(seed)),
                0.1 if "RuLSIF" in method else 0.0,
                options.limit,
            )
            for seed in range(options.seeds)
        ]
        error, variation, seconds, memory = np.median(np.array(runs, dtype=float), axis=0)
        results.append(
            {
                "n": n,
                "problem": name,
                "method": method,
                "nmse": error,
                "tv": variation,
                "seconds": seconds,
                "mib": memory,
            }
        )
    console = Console(width=200)
    for n in options.sizes:
        console.print(f"\nn = {n}: NMSE, and median processor seconds and MiB above the start", markup=False)
        rows = [r for r in results if r["n"] == n]
        for method in methods:
            own = [r for r in rows if r["method"] == method]
            cells = " ".join(f"{r['nmse']:8.4f}" if r["nmse"] < 1e3 else f"{r['nmse']:8.0e}" for r in own)
            seconds, memory = (float(np.nanmedian([r[key] for r in own])) for key in ("seconds", "mib"))
            console.print(f"{method:22} {cells} | {seconds:7.2f} {memory:7.0f}", markup=False)
    console.print(f"problems: {', '.join(options.problems)}\nabsent: {absent}", markup=False)
    options.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
