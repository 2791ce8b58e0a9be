"""On a CUDA device: the interpreter's own checks, on the device. `pytest -m gpu` runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
TESTS = Path(__file__).parents[1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_on_the_device():
    environment = {**os.environ, "COUNTERPOISE_KERNEL_DEVICE": "cuda", "PYTEST_XDIST_WORKER": ""}
    environment.pop("TRITON_INTERPRET", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "tests/weight_kernels/interpreted/check_kernels.py",
    ]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
