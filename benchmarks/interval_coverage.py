"""How often the intervals of ``counterpoise compare`` hold the truth, on generated files split again and again.

    python benchmarks/interval_coverage.py --files 60 --target 40 --processes 2

Every file holds a few target pairs and 900 others; ten splits each, 30 % of the target held out. The truth is the
mean gain over all files. Compared are the shipped overlap (of the target test rows) and the usual one, test rows
over all training rows. About ten seconds a file and core.
"""

import argparse
from functools import partial
from multiprocessing import Pool

import numpy as np
from counterpoise_adapters.cli.arms import ARMS
from counterpoise_adapters.cli.experiment import Outcome, Split, choose_split, run_split
from counterpoise_adapters.cli.verdict import compare_outcomes
from counterpoise_adapters.cli.worlds import BIASED, SAME, draw_pairs

SPLITS, SHARE, OTHERS = 10, 0.3, (300, 600)
WORLDS = {"biased": BIASED, "same": SAME}


def split_file(seed: int, *, world: str, target: int) -> list[Outcome]:
    items, source = draw_pairs(WORLDS[world], (target, *OTHERS), seed)
    key = np.arange(len(items))
    outcomes = []
    for s in range(SPLITS):
        train, test = choose_split(source, key, target_rows=None, other_rows=None, test_share=SHARE, seed=s)
        outcomes.append(run_split(Split(items[train], source[train], key[train], items[test]), seed=s))
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--target", type=int, default=40, help="target pairs a file")
    parser.add_argument("--world", choices=WORLDS, default="biased")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first file")
    options = parser.parse_args()
    with Pool(options.processes) as pool:
        work = partial(split_file, world=options.world, target=options.target)
        found = pool.map(work, range(options.seed, options.seed + options.files), chunksize=1)
    gains = np.array([[o.accuracy[1:] - o.accuracy[0] for o in outcomes] for outcomes in found])
    truth = gains.mean(axis=(0, 1))
    print(f"{options.world}: {len(found)} files, {found[0][0].test} test pairs, {found[0][0].train} training pairs")
    print("gain, points:", ", ".join(f"{arm.name} {100 * g:.1f}" for arm, g in zip(ARMS[1:], truth, strict=True)))
    first = found[0][0]
    usual = first.test / (first.test + first.train)  # its odds are test/train
    for name, shared in (("target rows held out", SHARE), ("test / train", usual)):
        compared = [compare_outcomes(outcomes, shared=shared) for outcomes in found]
        bounds = np.array([[(i.low, i.high) for i in c.against["ERM"] if i is not None] for c in compared])
        inside = (bounds[..., 0] <= truth) & (truth <= bounds[..., 1])
        helps = np.mean([c.helps for c in compared])
        print(f"{name}: all intervals hold in {inside.all(axis=1).mean():.1%} of files, 'helps' in {helps:.1%}")


if __name__ == "__main__":
    main()
