"""Plant every mutant, one at a time, in a copy of the core, and see the suite notice: exit status 1 if one lives."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import MUTANTS
from rich.progress import track

ROOT = Path(__file__).parents[2]
SUITE = [
    "tests/test_bad_input.py",
    "tests/test_extremes.py",
    "tests/properties/test_objectives.py",
    "tests/properties/test_spectral_groups_projections.py",
    "tests/properties/test_weights_optimal.py",
    "tests/properties/test_weights_laws.py",
    "tests/oracles/test_against_oracles.py::test_chi_square_where_the_largest_losses_have_next_to_no_prior",
    "tests/oracles/test_against_oracles.py::test_cvar_and_total_variation_against_a_linear_programme",
    "tests/oracles/test_against_oracles.py::test_smoothed_cvar_against_an_interior_point_solver",
    "tests/array_api",
]

PRESET_SUITE = ["tests/properties/test_presets.py", "tests/test_bad_input.py", "tests/test_extremes.py"]

RATIO_SUITE = [
    "tests/properties/test_ratios.py",
    "tests/properties/test_overlap.py",
    "tests/properties/test_probability.py",
    "tests/test_bad_input.py",
]

UNLABELLED = ("ratios/unlabelled", "ratios/policy", "ratios/calibration")
UNLABELLED_SUITE = ["tests/properties/test_unlabelled.py"]


KERNEL_SUITE = ["tests/weight_kernels/test_reference.py", "tests/weight_kernels/test_op.py"]
LAUNCH_SUITE = ["tests/weight_kernels/test_direct.py"]
TRITON_SUITE = ["tests/weight_kernels/test_interpreter.py"]


def planted(name: str, folder: Path) -> Path:
    """Copy the core into a folder with one mutant in it."""
    path, old, new = MUTANTS[name]
    copy = Path(shutil.copytree(ROOT / "src", folder / "src"))
    file = copy / "counterpoise" / path
    text = file.read_text()
    if text.count(old) != 1:
        raise SystemExit(f"mutant '{name}': {path} holds its text {text.count(old)} times; it must be once")
    file.write_text(text.replace(old, new))
    return copy


def _suite(name: str) -> list[str]:
    file = MUTANTS[name][0]
    if file.startswith(UNLABELLED):
        return UNLABELLED_SUITE
    if file.startswith(("ratios/", "balance", "tail")):
        return RATIO_SUITE
    if file.endswith("weighing.py"):
        return [*LAUNCH_SUITE, *TRITON_SUITE]
    if file.endswith(("direct.py", "_seen.py")):
        return LAUNCH_SUITE
    if file.startswith("kernels/_triton/"):
        return TRITON_SUITE
    if file.startswith("kernels/"):
        return KERNEL_SUITE
    return PRESET_SUITE if file.startswith("presets/") else SUITE


def killed_by(name: str | None) -> str:
    """Run the suite on a mutant (on the core itself for None); return what noticed it, '' if nothing did."""
    with tempfile.TemporaryDirectory() as folder:
        source = ROOT / "src" if name is None else planted(name, Path(folder))
        names = [*RATIO_SUITE, *UNLABELLED_SUITE, *PRESET_SUITE, *KERNEL_SUITE, *LAUNCH_SUITE, *TRITON_SUITE, *SUITE]
        suite = names if name is None else _suite(name)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *suite]
        environment = {**os.environ, "PYTHONPATH": str(source), "HYPOTHESIS_PROFILE": "gate", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    found = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not found:
        raise SystemExit(f"the suite did not run on '{name}':\n{done.stdout}\n{done.stderr}")
    return found[0].split(" - ")[0].removeprefix("FAILED ").removeprefix("ERROR ")


def main() -> None:
    """Print a line per mutant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="part of the names of those to plant; all by default")
    parts = parser.parse_args().parts
    wanted = [name for name in MUTANTS if not parts or any(part in name for part in parts)]
    if not wanted:
        parser.error(f"no mutant's name holds {' or '.join(map(repr, parts))}")
    if (noticed := killed_by(None)) != "":
        raise SystemExit(f"the suite fails without a mutant: {noticed}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(wanted, track(pool.map(killed_by, wanted), "mutants", len(wanted)), strict=True))
    for name, noticed in results.items():
        print(f"{'killed' if noticed else 'LIVES '}  {name:38} {noticed}")
    alive = [name for name, noticed in results.items() if not noticed]
    print(f"{len(wanted) - len(alive)} of {len(wanted)} killed")
    raise SystemExit(1 if alive else 0)


if __name__ == "__main__":
    main()
