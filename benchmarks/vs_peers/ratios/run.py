"""Density ratios against every peer that installs: one command, one thread, one run. See README.md above it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is loaded

import argparse
import contextlib
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
from problems import PROBLEMS, VARIANTS, Problem
from rich.progress import track
from tables import table, wins


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
    """Run everything, print tables as Markdown, write the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--variants", action="store_true", help="the second set of parameters, and other seeds")
    parser.add_argument("--only", nargs="+", default=[""], help="methods whose names hold one of these")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a fit may take")
    parser.add_argument("--out", type=Path, default=Path("ratios.json"))
    options = parser.parse_args()
    problems = VARIANTS if options.variants else PROBLEMS
    first = 100 if options.variants else 0
    methods, absent = available()
    methods = {name: method for name, method in methods.items() if any(part in name for part in options.only)}
    _compile(methods)
    results: list[dict[str, Any]] = []
    jobs = [(n, p, m) for n in options.sizes for p in options.problems for m in methods]
    for n, name, method in track(jobs, "fits", transient=True):
        alpha = 0.1 if "RuLSIF" in method else 0.0
        drawn = [problems[name](n, np.random.default_rng(first + seed)) for seed in range(options.seeds)]
        runs = [measure(methods[method], problem, alpha, options.limit) for problem in drawn]
        found = dict(zip(("nmse", "tv", "seconds", "mib"), np.median(np.array(runs, dtype=float), axis=0), strict=True))
        results.append({"n": n, "problem": name, "method": method, **found})
        options.out.write_text(json.dumps(results, indent=1))
    for n in options.sizes:
        rows = [row for row in results if row["n"] == n]
        print(
            f"\n### n = {n}\n\nNMSE\n\n{table(rows, 'nmse')}\n\nTotal variation\n\n{table(rows, 'tv')}\n\n{wins(rows)}"
        )
    print(f"\nabsent: {absent}")


def _compile(methods: dict[str, Method]) -> None:
    """Import and compile what peers do once, before processes are forked: a table of fits is not one of imports."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        tiny = PROBLEMS["scale"](40, np.random.default_rng(0))
        for name, method in methods.items():
            if name.startswith(("changepoynt", "adapt", "skada")):
                method(tiny.target, tiny.train, tiny.fresh)


if __name__ == "__main__":
    main()
