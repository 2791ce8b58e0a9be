"""The launch table, who takes a call, and what stays unloaded."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
from weight_kernels.problems import SORTS  # noqa: E402

from counterpoise import kernels  # noqa: E402
from counterpoise.kernels import _launch  # noqa: E402
from counterpoise.kernels._spec import Spec  # noqa: E402
from counterpoise.kernels._triton.table import ATOMS, LOGARITHMS, PLAIN, launch_for  # noqa: E402


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("sort", SORTS)
def test_every_row_fits_its_tile_or_is_read_in_pieces(sort, plain):
    atoms = LOGARITHMS if sort == "logarithms" else PLAIN if plain else ATOMS
    for n in [1, 2, 3, 16, 17, 63, 64, 65, 1000, 1024, 4096, 4097, 8192, 8193, 16384, 16385, 10**6]:
        launch = launch_for(n, sort, plain)
        assert launch.looped or n <= launch.block < 2 * max(n, 2)
        programs = 2 if launch.looped else 1
        assert programs * 32 * launch.warps * launch.options()["maxnreg"] <= 65536  # as many fit on a multiprocessor
        assert all(size & (size - 1) == 0 for size in (launch.rows, launch.block, launch.warps, launch.width))
        assert launch.warps <= 16 and launch.rows <= 32 and launch.width <= launch.block
        assert launch.rows * launch.block <= 2 * 32 * launch.warps * atoms or launch.looped
    assert not launch_for(4096, sort).looped and launch_for(16385, sort).looped


def test_who_takes_a_call():
    def goes_to_triton(impl, dtype=torch.float32, rows=64, n=64):
        scores = torch.empty(rows, n, dtype=dtype, device="meta")
        return _launch._by_triton(Spec("entmax", 1.0, 1.0, 1.5, dtype, impl), scores)

    assert not goes_to_triton("auto") and not goes_to_triton("reference")
    if os.environ.get("TRITON_INTERPRET") != "1":
        with pytest.raises(ValueError, match="needs a CUDA device"):
            goes_to_triton("triton")
    with pytest.raises(TypeError, match="float64"):
        goes_to_triton("triton", torch.float64)


def test_a_call_on_the_cpu_imports_no_triton_and_the_core_no_torch():
    code = (
        "import sys, counterpoise; assert 'torch' not in sys.modules; import torch; from counterpoise import kernels\n"
        "kernels.project_simplex(torch.zeros(3, requires_grad=True))[0].backward(); print('triton' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_kernels_name_everything_public():
    assert sorted(kernels.__all__) == kernels.__all__
    assert all(callable(getattr(kernels, name)) for name in kernels.__all__ if name != "Impl")
