"""Density ratios of real samples, whose truth nobody knows, judged by held-out rows. See README.md above it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when numpy is loaded

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Found, alone
from peers import Floats, Method, available
from rich.progress import track

HELD_OUT = 1500
"""Most rows of each sample that ratios are judged by."""
LEAST = 1e-3
"""Least ratio: one of 0 would make the bound infinite."""


def main() -> None:
    """Print a table of held-out bounds as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[150, 300, 800])
    parser.add_argument("--draws", type=int, default=5, help="how many, for each size")
    parser.add_argument("--only", nargs="+", default=[""], help="methods whose names hold one of these")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a fit may take")
    options = parser.parse_args()
    methods, absent = available()
    methods = {name: method for name, method in methods.items() if any(part in name for part in options.only)}
    folder = _data()
    pairs = {"prompts": _prompts(folder), "incomes": _incomes(folder)}
    cells = [(pair, n) for pair in pairs for n in options.sizes]
    found: dict[tuple[str, str, int], str] = {}
    jobs = [(method, *cell) for method in methods for cell in cells]
    for name, pair, n in track(jobs, "fits", transient=True):
        alpha = 0.1 if "RuLSIF" in name else 0.0
        draws = [_draw(*pairs[pair], n, seed) for seed in range(options.draws)]
        runs = [alone(partial(_bound, methods[name], alpha, *drawn), options.limit) for drawn in draws]
        found[name, pair, n] = _cell(runs)
    print("| | " + " | ".join(f"{pair}, {n:,}" for pair, n in cells) + " |\n|---" + "|---" * len(cells) + "|")
    for name in methods:
        print(f"| {name} | " + " | ".join(found[name, *cell] for cell in cells) + " |")
    print(f"\nabsent: {absent}")


def _data() -> Path:
    folder = Path(os.environ.get("COUNTERPOISE_DATA", ""))
    if "COUNTERPOISE_DATA" not in os.environ or not folder.is_dir():
        raise SystemExit("the real data are needed: set COUNTERPOISE_DATA to their folder")
    return folder


def _prompts(folder: Path) -> tuple[Floats, Floats]:
    """Return prompts of helpful and of harmless pairs in fifty columns of latent semantics."""
    import pandas as pd
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = pd.read_json(folder / "hh_pairs.jsonl.gz", lines=True)
    words = TfidfVectorizer(min_df=3, sublinear_tf=True).fit_transform(rows["prompt"])
    x = TruncatedSVD(50, random_state=0).fit_transform(words)
    helpful = (rows["source"] == "helpful").to_numpy()
    return x[helpful], x[~helpful]


def _incomes(folder: Path) -> tuple[Floats, Floats]:
    """Return people with higher and with lower incomes, every category a column."""
    import pandas as pd

    rows = pd.read_csv(folder / "classical" / "adult.csv.gz", skipinitialspace=True)
    x = pd.get_dummies(rows.drop(columns="income-per-year")).to_numpy(float)
    higher = rows["income-per-year"].str.startswith(">").to_numpy()
    return x[higher], x[~higher]


def _draw(target: Floats, train: Floats, n: int, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Draw rows of both that ratios are fitted to, and others that they are judged by."""
    generator = np.random.default_rng(seed)
    of_t, of_s = (x[generator.permutation(len(x))[: n + HELD_OUT]] for x in (target, train))
    return of_t[:n], of_s[:n], of_t[n:], of_s[n:]


def _bound(method: Method, alpha: float, target: Floats, train: Floats, held_t: Floats, held_s: Floats) -> Found:
    """Return E_target[log r] − log E_train[r] of held-out rows, Donsker and Varadhan's bound on KL(target‖train)."""
    start = time.process_time()
    r = np.asarray(method(target, train, np.vstack([held_t, held_s])), float)
    took = time.process_time() - start
    if alpha:
        share = np.clip(alpha * r, 0.0, 0.9)
        r = (1 - alpha) / alpha * share / (1 - share)
    r = np.maximum(r, LEAST)
    bound = np.log(r[: len(held_t)]).mean() - np.log(r[len(held_t) :].mean())
    return {"bound": float(bound), "seconds": took}


def _cell(runs: list[dict[str, Any]]) -> str:
    """Return mean and standard deviation over draws, or the word for what went wrong."""
    status = next((run["status"] for run in runs if run["status"] != "ok"), "ok")
    bounds = [run.get("bound", np.nan) for run in runs]
    if status != "ok" or not np.all(np.isfinite(bounds)):
        return "fails" if status == "ok" else status
    return f"{np.mean(bounds):.2f} ± {np.std(bounds):.2f}"


if __name__ == "__main__":
    main()
