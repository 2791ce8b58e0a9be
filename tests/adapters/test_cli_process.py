"""The command line as a process: its version, and what an interrupt or a termination leaves behind."""

import json
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
    main = "from counterpoise_adapters.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", main, "weigh", "rows.csv", *target, *features, "--out", "out.csv"],
        cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell starts what runs in the background with the interrupt ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
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


def test_the_version_is_the_package_s(command):
    done = command("--version")
    assert (done.stdout, done.stderr, done.returncode) == (f"counterpoise {counterpoise.__version__}\n", "", 0)


@pytest.mark.parametrize(
    "kind", [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)] + ["float16", "float32", "float64"]
)
def test_parquet_numbers_come_as_numpy_s_of_the_same_type(kind):
    values = np.arange(5, dtype=kind)
    found = numbers_of(pa.array(values)[1:])
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values[1:])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weigh rows.jsonl --features chosen --out out.jsonl", "2 samples of source 'rare' cannot fill 5 folds"),
        ("weigh rows* --features chosen --out out", "2 samples of source 'rare' cannot fill 5 folds"),
        ("compare one.jsonl --numbers --seeds 2", "1 samples of source 'rare' cannot fill 2 folds; add samples"),
        ("advise one.jsonl --numbers --repeats 1", "1 samples of source 'rare' cannot fill 2 folds; add samples"),
    ],
)
def test_a_source_with_few_rows_is_named(line, message, refusal, tmp_path):
    rows = np.random.default_rng(0).normal(size=(63, 2, 2)).tolist()
    sources = ["human"] * 30 + ["bot"] * 31 + ["rare"] * 2
    text = [json.dumps({"source": s, "chosen": a, "rejected": b}) for s, (a, b) in zip(sources, rows, strict=True)]
    (tmp_path / "rows.jsonl").write_text("\n".join(text))
    (tmp_path / "one.jsonl").write_text("\n".join(text[:-1]))
    assert message in refusal(*line.split(), "--target", "source=human")


def test_three_target_rows_are_enough_to_compare(command, tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 2, 2)).tolist()
    text = [json.dumps({"source": "ab"[i > 39], "chosen": a, "rejected": b}) for i, (a, b) in enumerate(rows)]
    (tmp_path / "rows.jsonl").write_text("\n".join(text))
    few = ["--target", "source=a", "--numbers", "--target-rows", "3", "--seeds", "2"]
    done = command("compare", "rows.jsonl", *few)
    assert done.returncode == 0, done.stderr
