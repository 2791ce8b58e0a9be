"""Density ratios against every peer that installs: one command, one thread, one run. See README.md above it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is loaded

import argparse
import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import speed
from measure import measure
from peers import Method, available
from problems import PROBLEMS, VARIANTS
from rich.progress import track
from tables import table, wins

Cell = tuple[int, str, str, int]


def main() -> None:
    """Run what the results do not hold yet, print tables as Markdown."""
    options = _options()
    problems = VARIANTS if options.variants else PROBLEMS
    first = 100 if options.variants else 0
    methods, absent = available()
    methods = {name: method for name, method in methods.items() if any(part in name for part in options.only)}
    _compile(methods)
    kept: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    jobs = [
        (n, p, m, s)
        for n, seeds in zip(options.sizes, options.seeds, strict=True)
        for p in options.problems
        for m in methods
        for s in range(first, first + seeds)
    ]
    for job in track(jobs, "fits", transient=True):
        n, name, method, seed = job
        if _key(job) not in kept:
            alpha = 0.1 if "RuLSIF" in method else 0.0
            problem = problems[name](n, np.random.default_rng(seed))
            kept[_key(job)] = measure(methods[method], problem, alpha, options.limit)
            _save(options.out, kept)
    for n in options.sizes:
        rows = _medians(kept, [job for job in jobs if job[0] == n])
        print(f"\n### n = {n:,}\n\nNMSE\n\n{table(rows, 'nmse')}\n\nTotal variation\n\n{table(rows, 'tv')}")
        print(f"\n{wins(rows)}")
    if not options.no_speed:
        if "speed" not in kept:
            kept["speed"] = speed.rows(options.limit)
            _save(options.out, kept)
        print(f"\n### Speed\n\n{speed.table(kept['speed'])}")
    print(f"\nabsent: {absent}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 2000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 2, 1], help="how many, for each size")
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--variants", action="store_true", help="the second set of parameters, and other seeds")
    parser.add_argument("--only", nargs="+", default=[""], help="methods whose names hold one of these")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a fit may take")
    parser.add_argument("--no-speed", action="store_true", help="leave out the timings of large fits")
    parser.add_argument("--out", type=Path, default=Path("ratios.json"), help="results; what it holds is not run again")
    options = parser.parse_args()
    if len(options.seeds) == 1:
        options.seeds = options.seeds * len(options.sizes)
    if len(options.seeds) != len(options.sizes):
        parser.error(f"--seeds has {len(options.seeds)} numbers and --sizes {len(options.sizes)}; one each is needed")
    return options


def _key(job: Cell) -> str:
    return " | ".join(map(str, job))


def _save(path: Path, kept: dict[str, Any]) -> None:
    """Write whole or not at all: a run that is broken off goes on where it was."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept, indent=0))
    part.replace(path)


def _medians(kept: dict[str, Any], jobs: list[Cell]) -> list[dict[str, Any]]:
    """Join the seeds: medians, or the word for what went wrong where something did."""
    rows = []
    for n, problem, method in dict.fromkeys(job[:3] for job in jobs):
        runs = [kept[_key(job)] for job in jobs if job[:3] == (n, problem, method)]
        status = next((run["status"] for run in runs if run["status"] != "ok"), "ok")
        keys = ("nmse", "tv", "seconds", "mib")
        found = {key: float(np.median([run.get(key, np.nan) for run in runs])) for key in keys}
        rows.append({"n": n, "problem": problem, "method": method, "status": status, **found})
    return rows


def _compile(methods: dict[str, Method]) -> None:
    """Import and compile what peers do once, before processes are forked: a table of fits is not one of imports."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        tiny = PROBLEMS["scale"](40, np.random.default_rng(0))
        for method in methods.values():
            method(tiny.target, tiny.train, tiny.fresh)


if __name__ == "__main__":
    main()
