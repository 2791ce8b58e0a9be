"""The command line as a process: its version, and what an interrupt or a termination leaves behind."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from counterpoise_adapters.cli.table_parquet import numbers_of

import counterpoise

SLOW = """
import pathlib, time
def slow(texts):
    pathlib.Path("embedding").touch()
    time.sleep(60)
"""


def start(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-c", "from counterpoise_adapters.cli import main; main()", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "PYTHONPATH": os.pathsep.join([str(cwd), *sys.path]),
        },
        # a shell starts what runs in the background with the interrupt ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (signal.SIGINT, 130, "counterpoise: interrupted; no file is left half written\n"),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_an_interrupted_command_says_so_and_leaves_nothing(sent, status, said, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "rows.csv").write_text("source,text\n" + "human,so\nbot,so so\n" * 20)
    before = {"slow.py", "rows.csv", "embedding", "__pycache__"}
    target, features = ("--target", "source=human"), ("--text", "text", "--embedder", "slow:slow")
    process = start("weigh", "rows.csv", *target, *features, "--out", "out.csv", cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "embedding").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(sent)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "")
    assert error.lstrip() == said
    assert {path.name for path in tmp_path.iterdir()} <= before


def test_the_version_is_the_package_s(tmp_path):
    process = start("--version", cwd=tmp_path)
    assert process.communicate(timeout=60) == (f"counterpoise {counterpoise.__version__}\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    "kind", [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)] + ["float16", "float32", "float64"]
)
def test_parquet_numbers_come_as_numpy_s_of_the_same_type(kind):
    values = np.arange(5, dtype=kind)
    found = numbers_of(pa.array(values)[1:])
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values[1:])
