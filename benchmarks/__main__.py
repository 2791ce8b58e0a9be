"""Measure again every number that README.md and docs/ quote: one command for all benchmarks, or for those named.

python -m benchmarks [NAME ...] [--out FOLDER] [--fast-dro FOLDER]

Each runs in a process of its own from the root of the project, and what it prints is kept in FOLDER/NAME.md. One that
fails does not stop the others; it is named at the end, and the exit status is 1.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "alignment": "-m benchmarks.alignment",
    "advise": "-m benchmarks.advise --first-seed 8000 --seeds 20 --file-seeds 3",
    "label-bias": "-m benchmarks.advise.label_bias --files 100",
    "compare": "benchmarks/interval_coverage.py --seed 5000",
    "shares": "benchmarks/share_bias.py",
    "weights": "benchmarks/vs_peers/run.py --out {out}/weights-peers",
    "ratios": "benchmarks/vs_peers/ratios/run.py --seeds 30 14 10 --limit 120 --out {out}/ratios.json",
    "real-ratios": "benchmarks/vs_peers/ratios/real.py --sizes 150 800 --draws 3",
    "kernels": "benchmarks/kernels/run.py",
    "scale": "benchmarks/scale/run.py --rows 100000 1000000 10000000",
    "communication": "benchmarks/scale/communication.py",
    "trl": "benchmarks/trl/overhead.py",
}
"""Arguments of the interpreter, by the name of the benchmark."""


def run(name: str, out: Path, fast_dro: Path | None) -> tuple[int, float, Path]:
    """Run one; return its exit status, seconds, and the file with what it printed."""
    arguments = [part.format(out=out) for part in COMMANDS[name].split()]
    if name == "weights" and fast_dro is not None:
        arguments += ["--fast-dro", str(fast_dro.resolve())]
    data = ROOT.parent / "shared" / "data"
    environment = {**({"COUNTERPOISE_DATA": str(data)} if data.is_dir() else {}), **os.environ}
    start, printed = time.monotonic(), out / f"{name}.md"
    with printed.open("w", encoding="utf-8") as file:
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=file)
    return done.returncode, time.monotonic() - start, printed


def main() -> None:
    """Run all, and print a table of what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMMANDS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"), help="folder for what they print")
    parser.add_argument("--fast-dro", type=Path, help="a clone of daniellevy/fast-dro, a peer of the weights")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(COMMANDS)):
        parser.error(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(COMMANDS)}")
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    console, table = Console(), Table("benchmark", "became", "seconds", "printed to")
    wanted = [name for name in COMMANDS if not options.names or name in options.names]
    failed = False
    for number, name in enumerate(wanted, 1):
        console.print(f"{number}/{len(wanted)} {name}: python {COMMANDS[name]}", markup=False, highlight=False)
        status, took, printed = run(name, out, options.fast_dro)
        failed = failed or status != 0
        table.add_row(name, "done" if status == 0 else f"failed ({status})", f"{took:.0f}", str(printed))
    console.print(table)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
