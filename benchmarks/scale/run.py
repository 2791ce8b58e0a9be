"""Rows per second and peak memory of ``counterpoise weigh`` on generated corpora: one process against Ray.

python benchmarks/scale/run.py [--rows 100000 1000000] [--features 64] [--method ulsif] [--repeats 2] [--at-once]

Each run is a process of its own, whose tree is watched: wall time, CPU time of all processes, peak private memory of
the driver and of the largest worker. The engines take turns, or run side by side (--at-once), where a machine that
others load gives every process the same share; only ratios of such walls mean something there. The start of Ray (its
daemons, and the imports of each worker) is included, but for the engines that are called "running": they join a cluster
that was started before the clock, as a user's is; what their workers load and the driver's start still count. Of those
that are called "connected" the clock starts when the driver has joined: the weighing alone.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

SHARDS = 16
ENGINES = {
    "local": ["--engine", "local"],
    "ray, 1 worker": ["--engine", "ray", "--workers", "1"],
    "ray, 2 workers": ["--engine", "ray", "--workers", "2"],
    "ray running, 1 worker": ["--engine", "ray", "--workers", "1"],
    "ray running, 2 workers": ["--engine", "ray", "--workers", "2"],
    "ray connected, 1 worker": ["--engine", "ray", "--workers", "1"],
    "ray connected, 2 workers": ["--engine", "ray", "--workers", "2"],
}
STANDING = ("ray running", "ray connected")
WHOLE = "from counterpoise_adapters.cli import main; main()"
CONNECTED = """
import sys, time, ray
import counterpoise_adapters.ray
from counterpoise_adapters.cli import main
ray.init(sys.argv[sys.argv.index("--ray-address") + 1], log_to_driver=False)
start = time.perf_counter()
try:
    main()
finally:
    print(time.perf_counter() - start)
"""
MIB = 2**20


def generate(folder: Path, rows: int, features: int) -> Path:
    """Write shards of rows with ready-made features, a twentieth of which are target rows."""
    folder.mkdir()
    for number in range(SHARDS):
        generator = np.random.default_rng(number)
        n = rows * (number + 1) // SHARDS - rows * number // SHARDS
        target = generator.random(n) < 0.05
        values = generator.normal(size=(n, features)).astype(np.float32)
        values[:, :4] += 0.5 * target[:, None]
        table = pa.table(
            {
                "id": np.arange(n) + number * rows,
                "source": pa.array(np.where(target, "human", "web")),
                "x": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), features),
            }
        )
        pq.write_table(table, folder / f"part-{number:03}.parquet", row_group_size=20_000)
    return folder


class Watch(threading.Thread):
    """Peak memory and CPU time of a process and its descendants, looked at every fifth of a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root, self._cpu = psutil.Process(pid), {}
        self.driver = self.worker = 0
        self.over = False

    def run(self) -> None:
        """Look until told that it is over."""
        while not self.over:
            try:
                tree = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in tree:
                try:
                    memory, times = process.memory_info(), process.cpu_times()
                    resident = memory.rss - memory.shared
                    name = " ".join(process.cmdline()[:1])
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue
                self._cpu[process.pid] = times.user + times.system
                if process.pid == self._root.pid:
                    self.driver = max(self.driver, resident)
                elif name.startswith("ray::"):
                    self.worker = max(self.worker, resident)
            time.sleep(0.2)

    @property
    def cpu(self) -> float:
        """Seconds of all processes, but for what they did since they were last looked at."""
        return sum(self._cpu.values())


@contextmanager
def cluster(wanted: bool) -> Iterator[list[str]]:
    """Keep a cluster of two CPUs up if it is wanted, and yield the options that lead to it."""
    if not wanted:
        yield []
        return
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        nodes.add_node(num_cpus=2, object_store_memory=512 * MIB, include_dashboard=False)
        time.sleep(12)  # until its own processes have come up, and the workers that it keeps ready have loaded
        yield ["--ray-address", nodes.address]
    finally:
        nodes.shutdown()


def measure(corpus: Path, out: Path, engine: str, fit_rows: int, method: str) -> dict[str, Any]:
    """Weigh a corpus once; of a cluster that is running only the driver is watched."""
    with cluster(engine.startswith(STANDING)) as options:
        return _measure(corpus, out, engine, [*options, "--fit-rows", str(fit_rows), "--method", method])


def _measure(corpus: Path, out: Path, engine: str, options: list[str]) -> dict[str, Any]:
    connected = engine.startswith("ray connected")
    command = [
        sys.executable, "-c", CONNECTED if connected else WHOLE, "weigh", str(corpus), "--target",
        "source=human", "--features", "x", "--batch-size", "8192", "--out", str(out), "--force", *ENGINES[engine],
        *options,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        watch = Watch(process.pid)
        watch.start()
        said, error = process.communicate()
        wall = time.perf_counter() - start
        watch.over = True
        watch.join()
    if process.returncode:
        raise SystemExit(error.decode())
    if connected:
        wall = float(said.split()[-1])
    return {
        "engine": engine, "wall": wall, "cpu": watch.cpu, "driver": watch.driver / MIB, "worker": watch.worker / MIB,
        "load": os.getloadavg()[0],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--fit-rows", type=int, default=50_000)
    parser.add_argument("--method", choices=["classifier", "ulsif"], default="classifier")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--at-once", action="store_true", help="run the engines side by side, not in turn")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once, not in every worker
    if arguments.at_once and any(engine.startswith(STANDING) for engine in arguments.engines):
        parser.error("--at-once is not for clusters that stand: name the others with --engines")
    found = []
    with tempfile.TemporaryDirectory() as name:
        for rows in arguments.rows:
            corpus = generate(Path(name) / str(rows), rows, arguments.features)
            for turn in track(range(arguments.repeats), f"{rows:,} rows"):
                outs = [Path(name) / f"out-{rows}-{turn}-{number}" for number in range(len(arguments.engines))]
                jobs = [
                    (corpus, out, engine, arguments.fit_rows, arguments.method)
                    for out, engine in zip(outs, arguments.engines, strict=True)
                ]
                # All at once: on a loaded machine every process then has the same share of it.
                with ThreadPoolExecutor(len(jobs)) as pool:
                    # In turn they run in this thread, in which alone Ray starts a cluster.
                    each = pool.map if arguments.at_once else map
                    for run in each(lambda job: measure(*job), jobs):
                        found.append({"rows": rows, "features": arguments.features, **run})
                        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
                for out in outs:
                    shutil.rmtree(out)
    print("| rows | features | engine | seconds | rows/s | CPU-s per 10⁶ rows | driver, MiB | worker, MiB | load |")
    print("|---|---|---|---|---|---|---|---|---|")
    for rows in arguments.rows:
        for engine in arguments.engines:
            runs = [run for run in found if (run["rows"], run["engine"]) == (rows, engine)]
            middle = {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "load")}
            most = {key: max(run[key] for run in runs) for key in ("driver", "worker")}
            # The workers of a cluster that was running are no children of the process that is watched.
            seen = not engine.startswith(STANDING)
            cpu, worker = (f"{1e6 * middle['cpu'] / rows:.0f}", f"{most['worker']:.0f}") if seen else ("–", "–")
            print(
                f"| {rows:,} | {arguments.features} | {engine} | {middle['wall']:.1f} | {rows / middle['wall']:,.0f} "
                f"| {cpu} | {most['driver']:.0f} | {worker} | {middle['load']:.1f} |"
            )
        for kind in ("ray", *STANDING):
            pairs = [[r["wall"] for r in found if (r["rows"], r["engine"]) == (rows, f"{kind}, {k}")]
                     for k in ("1 worker", "2 workers")]  # fmt: skip
            if all(pairs):
                ratios = sorted(one / two for one, two in zip(*pairs, strict=True))
                print(
                    f"\n{rows:,} rows, {kind}: 2 workers are {statistics.median(ratios):.2f} times as fast as 1, "
                    f"in {len(ratios)} pairs from {ratios[0]:.2f} to {ratios[-1]:.2f}\n"
                )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
