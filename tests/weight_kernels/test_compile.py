"""The Triton kernels compiled for two architectures by the bundled ptxas, without a GPU: they lower, and do not spill.

The interpreter checks values only: a kernel may pass there and fail to compile.
"""

import pytest

pytest.importorskip("torch")
from weight_kernels.problems import SORTS, need_compiler

need_compiler()

ATOMS = {90: (16, 8192, 16385), 80: (4096,)}
"""The last are read in pieces; so are 8192 atoms where logarithms are taken, and compiled once."""


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("architecture", ATOMS)
def test_no_kernel_spills_with_prior_and_mask(architecture, sort, record_property):
    from weight_kernels.interpreted.resources import of_sort  # imports triton: not while tests are collected

    for kernel in of_sort(architecture, sort, ATOMS[architecture]):
        record_property(f"{kernel['kernel']} {kernel['atoms']} sm_{architecture}", kernel["registers"])
        assert kernel["spilled"] == 0, kernel
        assert 0 < kernel["registers"] <= 255


GIVEN = ("", "prior", "mask", "lengths", "prior mask lengths amounts", "caps", "prior caps")
KINDS = [
    (sort, given)
    for sort in SORTS
    for given in GIVEN
    if ("caps" not in given or sort == "project_capped_simplex") and ("prior" not in given or sort != "entmax")
]


@pytest.mark.parametrize(("sort", "given"), KINDS)
def test_every_kernel_lowers_whatever_is_given(sort, given):
    from weight_kernels.interpreted.resources import lower

    for n in (37, 64, 20000):  # several rows a tile, in part and full, and pieces
        lower(sort, given.split(), n)


@pytest.mark.parametrize(("family", "n"), [("project_simplex", 256), ("entmax", 4096)])
def test_atoms_move_sixteen_bytes_at_a_time_and_nothing_is_double(family, n):
    from weight_kernels.interpreted.resources import of_plain_rows

    from counterpoise.kernels._triton.table import launch_for

    launch = launch_for(n, family, plain=True)
    code = of_plain_rows(family, n)
    assert {name for name in code if name.startswith("LDG")} == {"LDG.E.128"}
    loads = launch.rows * launch.block // (32 * launch.warps * 4)
    assert code.count("STG.E.128") >= code.count("LDG.E.128") == loads >= 8
    assert not [name for name in code if name.startswith(("DADD", "DMUL", "DFMA", "DSETP"))]
