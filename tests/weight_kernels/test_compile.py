"""The Triton kernels compiled for two architectures by the bundled ptxas, without a GPU: they lower, and do not spill.

The interpreter checks values only: a kernel may pass there and fail to compile.
"""

import json
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
FAMILIES = [
    "chi_square_penalty", "chi_square_ball", "kl_penalty", "kl_ball", "power_penalty", "cvar", "entmax",
    "project_simplex", "project_ball", "project_capped_simplex",
]  # fmt: skip
SCRIPT = TESTS / "weight_kernels" / "interpreted" / "resources.py"
CASES = {90: [8192], 80: [1024]}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("architecture", CASES)
def test_no_kernel_spills_with_prior_and_mask(architecture, family, record_property):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, str(SCRIPT), str(architecture), family, *map(str, CASES[architecture])]
    done = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for kernel in json.loads(done.stdout):
        record_property(f"{kernel['kernel']} {kernel['atoms']} sm_{architecture}", kernel["registers"])
        assert kernel["spilled"] == 0, kernel
        assert 0 < kernel["registers"] <= 255
