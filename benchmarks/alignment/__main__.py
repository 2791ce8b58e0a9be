"""One command for every table and figure of the comparison.

    python -m benchmarks.alignment                 # everything; real data where COUNTERPOISE_DATA points
    python -m benchmarks.alignment pairs --seeds 4 # a part, smaller
    python -m benchmarks.alignment --report        # tables and figures from the committed numbers

Finished units are kept, so a run that was stopped goes on. Numbers go to results/*.json, tables to results/README.md,
figures to results/*.png, and the summary into the project's README.md.
"""

from __future__ import annotations

import argparse
import time

from counterpoise_adapters.cli.progress import steps

from .cache import cached
from .units import KINDS, NOT_RUN, units


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--seeds", type=int, default=10, help="worlds of each regime")
    parser.add_argument("--report", action="store_true", help="only write tables and figures anew")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"unknown kind {', '.join(sorted(unknown))}; it is one of {', '.join(KINDS)}")
    if options.seeds < 2:
        parser.error(f"--seeds is {options.seeds}; an interval needs at least 2")
    if not options.report:
        run(tuple(options.kinds) or KINDS, options.seeds)
    from .report import write_report

    write_report()


def run(kinds: tuple[str, ...], seeds: int) -> None:
    from .report import save_numbers

    work = list(units(kinds, seeds))
    for kind in [kind for kind in kinds if kind in NOT_RUN and kind not in {unit.kind for unit in work}]:
        print(f"{kind:12} not run: {NOT_RUN[kind]}", flush=True)
    with steps("comparing", len(work)) as advance:
        for unit in work:
            start = time.process_time()
            found = cached(f"{unit.kind}-{unit.name}", unit.modules, unit.compute, seeds=unit.seeds)
            save_numbers(unit.kind, unit.name, found)
            print(f"{unit.kind:12} {unit.name:28} {time.process_time() - start:6.1f} s of CPU", flush=True)
            advance()


if __name__ == "__main__":
    main()
