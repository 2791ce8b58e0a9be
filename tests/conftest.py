"""Hypothesis profiles, the order of tests, and what a skip may hide: nothing, where COUNTERPOISE_REQUIRE_ALL=1."""

import importlib
import os
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
