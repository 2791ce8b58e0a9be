"""Compile a family's kernels and print what ptxas says of each: `python resources.py 90 cvar 1024`, for sm_90."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from counterpoise.kernels._spec import Rows, Spec
from counterpoise.kernels._triton import call
from counterpoise.kernels._triton.pull import pull_kernel
from counterpoise.kernels._triton.table import launch_for
from counterpoise.kernels._triton.weigh import weigh_kernel

POINTERS = {
    "mask": "*u8", "lengths": "*i64", "status_out": "*i32", **dict.fromkeys(
        ("scores", "prior", "caps", "amounts", "weights", "value_out", "numbers_out", "numbers", "up", "out"), "*fp32"
    ),
}  # fmt: skip
FLOATS = ("amount", "cap", "exponent", "scale_of", "k")


def compiled(kernel, constants, architecture, warps):
    """Compile with 16-byte-aligned pointers, as torch's are."""
    signature, aligned = {}, {}
    for i, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in POINTERS:
            signature[name] = POINTERS[name]
            aligned[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32" if name in FLOATS else "i32"
    source = ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps})


def resources(binary):
    """Return registers a thread and bytes that were spilled, as ptxas reports them."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    target = re.search(r"^\.target (\w+)", binary.asm["ptx"], re.MULTILINE).group(1)
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(binary.asm["ptx"])
        file.flush()
        command = [tool, "-v", f"--gpu-name={target}", file.name, "-o", "/dev/null"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    spilled = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said).groups()
    return int(re.search(r"Used (\d+) registers", said).group(1)), max(map(int, spilled))


def main():
    """Compile forward and backward with prior, mask, lengths and a number per row."""
    architecture, family, sizes = int(sys.argv[1]), sys.argv[2], [int(n) for n in sys.argv[3:]]
    found = []
    exponent = 1.5 if family in ("power_penalty", "entmax") else 2.0
    spec = Spec(family, 0.5, 0.5, exponent, torch.float32, "triton")
    some = torch.zeros(1, 2)
    rows = Rows(some, None if family == "entmax" else some, some.bool(), None, some[0],
                some if family == "project_capped_simplex" else None)  # fmt: skip
    for n in sizes:
        launch = launch_for(n, family)
        shape = {"ROWS": launch.rows, "BLOCK": launch.block}
        forward = {
            "FAMILY": call.family_of(spec)[0], "FLAGS": call.flags_of(spec, rows, launch.looped), "PER_ROW": True,
            "HAS_LENGTHS": True, "DETAILS": not (spec.metric or family == "entmax"), **shape,
        }  # fmt: skip
        kind, flags = call.pull_flags(spec, rows, False)
        backward = {"KIND": kind, "PULL_FLAGS": flags, "LOOPS": launch.looped, **shape}
        for name, kernel, constants in (("weigh", weigh_kernel, forward), ("pull", pull_kernel, backward)):
            registers, spilled = resources(compiled(kernel, constants, architecture, launch.warps))
            found.append({
                "kernel": name, "family": family, "atoms": n, "rows": launch.rows, "block": launch.block,
                "warps": launch.warps, "looped": launch.looped, "registers": registers, "spilled": spilled,
            })  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
