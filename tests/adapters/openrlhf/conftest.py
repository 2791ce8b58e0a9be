"""These tests run where OpenRLHF is installed: an environment of its own, see CONTRIBUTING.md."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "stub"))
ABSENT = importlib.util.find_spec("openrlhf") is None
collect_ignore_glob = ["*"] if ABSENT else ["stub/*"]


def pytest_configure(config):
    asked = any(Path(arg.split("::")[0]).resolve() == HERE for arg in config.args)
    if ABSENT and asked and os.environ.get("COUNTERPOISE_REQUIRE_ALL") == "1":
        raise pytest.UsageError("OpenRLHF is not installed: CONTRIBUTING.md says how")


@pytest.fixture(scope="session")
def tiny():
    sys.path.insert(0, str(HERE))
    import tiny

    sys.path.remove(str(HERE))
    return tiny
