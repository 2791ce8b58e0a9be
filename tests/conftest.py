"""Hypothesis profiles, the order of tests, what tests share, and what a skip may hide: nothing in the gate."""

import importlib
import json
import os
import signal
import socket
import subprocess
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


@pytest.fixture(scope="session")
def in_ranks(tmp_path_factory):
    """Run a script as ranks on this machine, as torchrun does; return what each wrote into the folder that it got."""

    def run(script, ranks):
        folder = tmp_path_factory.mktemp("ranks")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            meet = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
        running = [
            subprocess.Popen(
                [sys.executable, str(script), str(folder)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, **meet, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(ranks)
        ]
        try:
            for process in running:
                output, _ = process.communicate(timeout=400)
                assert process.returncode == 0, output[-4000:]
        finally:
            for process in running:
                process.kill()
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]

    return run


@pytest.fixture
def command(tmp_path):
    """Run the command line in a process of its own, in the test's folder."""

    def run(*arguments, **options):
        whole = [sys.executable, "-c", "from counterpoise_adapters.cli import main; main()", *map(str, arguments)]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return subprocess.run(whole, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, **options)

    return run


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
