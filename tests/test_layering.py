"""The core is light and knows no framework."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "sklearn", "scipy", "jax", "pandas", "counterpoise_adapters")


def loaded_by(statement):
    """Names of the modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_core_loads_no_framework():
    assert not loaded_by("import counterpoise") & set(HEAVY)


@pytest.mark.parametrize("name", ["torch", "sklearn", "scipy"])
def test_this_test_would_notice(name):
    assert name in loaded_by(f"import {name}")


def test_a_call_loads_no_framework_either():
    call = "import numpy as np, counterpoise as cp; cp.constrained(np.zeros((3, 2)), cp.KL(), 0.1)"
    assert not loaded_by(call) & set(HEAVY)
