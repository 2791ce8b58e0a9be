"""The mutants that `mutants/run.py` plants are of the code as it is."""

from pathlib import Path

import pytest
from mutants.mutants import MUTANTS

import counterpoise as cp


@pytest.mark.parametrize(("file", "old", "new"), MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_has_one_place_to_be_planted(file, old, new):
    text = (Path(cp.__file__).parent / file).read_text()
    assert text.count(old) == 1 and old != new
