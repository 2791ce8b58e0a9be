"""What the TRL tests share; they skip where TRL is not installed."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny():
    pytest.importorskip("trl", reason="TRL is not installed: pip install 'counterpoise[trl]'")
    spec = importlib.util.spec_from_file_location("tiny", Path(__file__).with_name("tiny.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
