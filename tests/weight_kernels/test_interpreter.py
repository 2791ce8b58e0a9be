"""The Triton kernels' values without a GPU: `interpreted/check_kernels.py` in Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
if sys.platform == "linux":
    pytest.importorskip("triton")
else:
    pytest.skip("triton runs on Linux only", allow_module_level=True)

TESTS = Path(__file__).parents[1]
PARTS = ["weights_equal or in_pieces or strides", "half or mask or nasty"]
PARTS.append(f"not ({' or '.join(PARTS)})")


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_kernels_in_the_interpreter(part):
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTEST_XDIST_WORKER": ""}
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", part,
        "tests/weight_kernels/interpreted/check_kernels.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
