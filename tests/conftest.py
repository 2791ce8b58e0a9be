"""Hypothesis profiles, the order of tests, what tests share, and what a skip may hide: nothing in the gate."""

import importlib
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("gate", deadline=None, max_examples=60, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if os.environ.get("COUNTERPOISE_REQUIRE_ALL") == "1":
    pytest.importorskip = lambda name, **_: importlib.import_module(name)  # a missing package fails


def pytest_collection_modifyitems(items):
    """Begin with what is slow: at the end it would keep one worker busy while the others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def data_folder():
    """Real data that the project does not carry."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("COUNTERPOISE_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set COUNTERPOISE_DATA to its folder")
    return folder


@pytest.fixture
def refusal(tmp_path, monkeypatch, capsys):
    """Run a wrong command line in this process; return the one line that it ends with."""
    from counterpoise_adapters.cli import main

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["counterpoise", *arguments])
        monkeypatch.setattr(signal, "signal", lambda *_: None)  # the test runner keeps its own
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert left.value.code == 2 and said.out == "" and said.err.count("\n") == 1
        return said.err

    return run
