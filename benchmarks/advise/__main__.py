"""Judge advice by fresh target rows, against always training in one way.

    python -m benchmarks.advise --first-seed 8000 --seeds 20 --file-seeds 3  # the page on advice holds what it prints

``tuning`` are the worlds and files on which the arms, the list of amounts, the criterion and the caution were chosen;
``held-out`` draws were looked at once, when all was chosen: their seeds begin at --first-seed, new ones for every new
choice. Every arm keeps the amounts that cross-validation on the target's training rows gives it. Finished problems
are kept in --cache, by the code that computed them, so that an interrupted run goes on.
"""

import argparse
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from counterpoise_adapters.advise import _advice, label_bias
from counterpoise_adapters.advise._advice import choose, score_arms
from counterpoise_adapters.advise._candidates import ARMS, CANDIDATES, held_out_margins, tilt_of
from counterpoise_adapters.advise._linear import fit_linear, log_loss
from counterpoise_adapters.advise._ratio import blind_score, out_of_fold
from rich.console import Console
from rich.progress import track

from ..alignment.worlds import REGIMES
from ..alignment.worlds import draw_pairs as draw_regime
from .files import HELD_OUT, TUNING, read_problem
from .worlds import Problem, draw_world

ALWAYS = ("ERM", "target only", "reweighting", "target-centred DRO", "DoRA")
SHOWN = (*ALWAYS, "target + weighted")  # the last is no method that others propose: the best arm is one of ALWAYS
PARTS = ("_advice", "_candidates", "_evidence", "_linear", "_ratio")
CODE = (
    *(Path(_advice.__file__).with_name(f"{name}.py") for name in PARTS),
    *(Path(__file__).with_name(f"{name}.py") for name in ("__main__", "files", "worlds")),
)
FAMILIES = {"tuning": ("gauss",), "held-out": ("heavy", "labels", "regimes")}
FILES = {"tuning": TUNING, "held-out": HELD_OUT}


def regime(name: str, seed: int) -> Problem:
    """One of the comparison's thirteen worlds, with a third of its target rows: there are few in practice."""
    drawn = draw_regime(REGIMES[name], seed, test=4000)
    kept = (drawn.source != 0) | (np.cumsum(drawn.source == 0) <= max(24, (drawn.source == 0).sum() // 3))
    items, source = drawn.items[kept], drawn.source[kept]
    test = drawn.test_labelled
    x, z = items[:, 0] - items[:, 1], items.reshape(len(items), -1)
    return Problem(f"regime {name}", x, z, source, np.arange(len(x)), test[:, 0] - test[:, 1])


def problems(part: str, first: int, seeds: int, file_seeds: int) -> Iterator[tuple[str, str, int]]:
    """Family, name and seed of every problem."""
    for family in FAMILIES[part]:
        if family == "regimes":
            yield from (
                ("regimes", name, seed) for name in REGIMES for seed in range(first, first + max(1, seeds // 10))
            )
        else:
            yield from ((family, f"{family} world {seed}", seed) for seed in range(first, first + seeds))
    if "COUNTERPOISE_DATA" in os.environ:
        yield from (("files", name, seed) for seed in range(first, first + file_seeds) for name in FILES[part])


def draw(family: str, name: str, seed: int) -> Problem:
    if family == "files":
        return read_problem(name, seed)
    return regime(name, seed) if family == "regimes" else draw_world(family, seed)


def measure(problem: Problem, seed: int) -> dict[str, object]:
    """Train every arm, take the advice, and look at the test rows."""
    target = problem.source == 0
    ratio = np.asarray(out_of_fold(problem.z, problem.source, group=problem.key, seed=seed).ratio_)
    margins = held_out_margins(
        problem.x, target, ratio, problem.key, folds=5, repeats=2, seed=seed, advance=lambda: None
    )
    scores = score_arms(margins, problem.key[target])
    loss = log_loss(margins).mean(axis=(0, 2))
    chosen = {score.candidate.arm: score.candidate for score in scores}
    plain = [c for c in CANDIDATES if c.arm == "reweighting" and c.power == 1.0]
    score = blind_score(problem.blind, target, group=problem.key, seed=seed)
    bias = label_bias(problem.x, target, score, group=problem.key, seed=seed)
    chosen["advice"] = choose(scores, bias).candidate
    chosen["reweighting"] = min(plain, key=lambda c: loss[CANDIDATES.index(c)])
    found = {}
    for name, candidate in chosen.items():
        theta = fit_linear(problem.x, tilt_of(candidate, ratio, target), l2=candidate.l2)
        test = problem.test @ theta
        right = (test > 0) + 0.5 * (test == 0)
        found[name] = {"accuracy": float(right.mean()), "log_loss": float(log_loss(test).mean())}
    error = 0.5 / np.sqrt(len(problem.test))  # of an accuracy, at most
    return {
        "n": len(target), "n_target": int(target.sum()), "d": problem.x.shape[1], "error": float(error),
        "advised": chosen["advice"].arm, "p_value": bias.p_value, "arms": found,
    }  # fmt: skip


def report(title: str, results: list[dict], measure_of: str) -> None:
    """Print mean regret, and the paired difference to the advice with its 95 % interval."""
    sign = 1.0 if measure_of == "accuracy" else -1.0
    values = {a: 100 * sign * np.array([r["arms"][a][measure_of] for r in results]) for a in (*SHOWN, "advice")}
    best = np.max([values[arm] for arm in ALWAYS], axis=0)
    print(
        f"\n{title}: {len(results)} problems, {measure_of}, in points"
        if sign > 0
        else f"\n{title}: log-loss, in 0.01 nats"
    )
    # seeds of one file or regime share rows or settings: the interval is over the means of the names
    names, place = np.unique([r["name"] for r in results], return_inverse=True)
    for arm in ("advice", *SHOWN):
        ahead = values["advice"] - values[arm]
        means = np.bincount(place, ahead) / np.bincount(place)
        half = 1.96 * means.std(ddof=1) / np.sqrt(len(names)) if len(names) > 1 else np.nan
        shown = "" if arm == "advice" else f"   advice is better by {means.mean():+.2f} ± {half:.2f}"
        print(f"  {arm:20s} regret {(best - values[arm]).mean():5.2f}{shown}")
    if sign > 0:
        near = np.mean([b - v <= 100 * r["error"] for b, v, r in zip(best, values["advice"], results, strict=True)])
        picks = {arm: sum(r["advised"] == arm for r in results) for arm in ARMS}
        print(f"  within one standard error of the test of the best arm: {near:.0%}; advised: {picks}")


def table(results: list[dict]) -> None:
    """Print what each way's accuracy is on each file, the mean over its draws, as Markdown."""
    columns = (*SHOWN, "advice")
    print("\n| file and target | " + " | ".join(columns) + " | advised |\n" + "|---" * (len(columns) + 2) + "|")
    for name in dict.fromkeys(r["name"] for r in results):
        mine = [r for r in results if r["name"] == name]
        cells = [f"{np.mean([r['arms'][arm]['accuracy'] for r in mine]):.3f}"[1:] for arm in columns]
        print(f"| {name} | {' | '.join(cells)} | {', '.join(r['advised'] for r in mine)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=FAMILIES, default="held-out")
    parser.add_argument("--first-seed", type=int, default=None, help="1000 for held-out draws, 0 for tuning")
    parser.add_argument("--seeds", type=int, default=40, help="worlds a family; a tenth of it for each regime")
    parser.add_argument("--file-seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path(".advise-cache"))
    options = parser.parse_args()
    first = (1000 if options.part == "held-out" else 0) if options.first_seed is None else options.first_seed
    folder = options.cache / f"{zlib.crc32(b''.join(path.read_bytes() for path in CODE)):08x}"
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict]] = {}
    work = list(problems(options.part, first, options.seeds, options.file_seeds))
    for family, name, seed in track(work, "measuring", console=Console(stderr=True)):
        kept = folder / f"{zlib.crc32(f'{family} {name} {seed}'.encode()):08x}.json"
        if not kept.exists():
            found = {"name": name, "seed": seed, **measure(draw(family, name, seed), seed)}
            kept.with_suffix(".part").write_text(json.dumps(found))
            kept.with_suffix(".part").replace(kept)
        results.setdefault(family, []).append(json.loads(kept.read_text()))
    for family, found in results.items():
        report(family, found, "accuracy")
        report(family, found, "log_loss")
    if "files" in results:
        table(results["files"])
    worlds = [r for family, found in results.items() if family != "files" for r in found]
    for measure_of in ("accuracy", "log_loss") if worlds else ():
        report("all worlds", worlds, measure_of)


if __name__ == "__main__":
    main()
