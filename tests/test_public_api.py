"""What the package offers: every name documented with an example, every signature in the same grammar."""

import dataclasses
import enum
import importlib.metadata
import inspect
import re
from pathlib import Path

import pytest

import counterpoise as cp

FUNCTIONS = [name for name in cp.__all__ if inspect.isfunction(getattr(cp, name))]


def test_all_is_complete_and_sorted():
    order = sorted(cp.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert cp.__all__ == order
    public = {n for n, v in vars(cp).items() if not n.startswith("_") and not inspect.ismodule(v)}
    assert public == set(cp.__all__)


def test_the_version_is_in_one_place():
    assert importlib.metadata.version("counterpoise") == cp.__version__
    root = Path(__file__).parents[1]
    assert f"version: {cp.__version__}" in (root / "CITATION.cff").read_text()


@pytest.mark.parametrize("name", cp.__all__)
def test_every_name_is_documented(name):
    value = getattr(cp, name)
    text = inspect.getdoc(value)
    assert text and text.splitlines()[0].endswith("."), name
    if inspect.isfunction(value) or (dataclasses.is_dataclass(value) and dataclasses.fields(value)):
        for field in inspect.signature(value).parameters:
            assert re.search(rf"^[\w*, ]*\b{field}\b[\w*, ]*(:|$)", text, re.MULTILINE), (
                f"{name} does not describe {field}"
            )
    if inspect.isfunction(value) or dataclasses.is_dataclass(value) or issubclass(value, enum.Enum):
        assert "Examples\n--------\n>>> " in text, name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_are_positional_and_options_keywords(name):
    parameters = inspect.signature(getattr(cp, name)).parameters.values()
    assert all(p.kind in (p.POSITIONAL_ONLY, p.KEYWORD_ONLY) for p in parameters), name
    assert all(p.default is p.empty for p in parameters if p.kind is p.POSITIONAL_ONLY), name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_everything_is_annotated(name):
    signature = inspect.signature(getattr(cp, name))
    assert signature.return_annotation is not signature.empty
    assert all(p.annotation is not p.empty for p in signature.parameters.values())


def test_members_of_status_carry_their_message():
    assert all(isinstance(code.message, str) and code.message for code in cp.Status)
    assert [code.value for code in cp.Status] == list(range(len(cp.Status)))
