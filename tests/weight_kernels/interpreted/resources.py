"""Compile kernels by their name in the launch table and print what ptxas says: `python resources.py 90 cvar 1024`."""

import json
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch
import triton
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend

from counterpoise.kernels._spec import Rows, Spec
from counterpoise.kernels._triton import plans
from counterpoise.kernels._triton.pull import pull_kernel
from counterpoise.kernels._triton.table import launch_for
from counterpoise.kernels._triton.weigh import weigh_kernel

POINTERS = {
    "mask": "*u8", "lengths": "*i64", "status_out": "*i32", **dict.fromkeys(
        ("scores", "prior", "caps", "amounts", "weights", "value_out", "numbers_out", "numbers", "up", "out"), "*fp32"
    ),
}  # fmt: skip
FLOATS = ("amount", "cap", "exponent", "scale_of", "k")


def _source(kernel, constants, even=False):
    signature, aligned = {}, {}
    for i, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in POINTERS:
            signature[name] = POINTERS[name]
            aligned[(i,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32" if name in FLOATS else "i32"
            if even and name not in FLOATS:
                aligned[(i,)] = [["tt.divisibility", 16]]
    return ASTSource(kernel, signature, constants, aligned)


def compiled(kernel, constants, architecture, options, even=False):
    """Compile with 16-byte-aligned pointers, as torch's are, and for ``even`` strides and sizes that 16 divides."""
    source = _source(kernel, constants, even)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def told(binary, option):
    """Return what cuobjdump says of a compiled kernel."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.asm["cubin"])
        file.flush()
        return subprocess.run([tool, option, file.name], check=True, capture_output=True, text=True).stdout


def instructions(binary):
    """Return the names of the machine code's instructions, one each time it stands there."""
    return re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", told(binary, "-sass"))


def _spec(sort):
    family = "power_penalty" if sort == "logarithms" else sort
    exponent = {"logarithms": 1.2, "power_penalty": 1.5, "entmax": 1.5}.get(sort, 2.0)
    return Spec(family, 0.5, 0.5, exponent, torch.float32, "triton")


def of_plain_rows(family, n):
    """Return the instructions for full tiles of scores alone."""
    launch, spec = launch_for(n, family, plain=True), _spec(family)
    rows = Rows(torch.empty(launch.rows, n, device="meta"), None, None, None, None, None)
    constants = plans.weigh_constants(spec, rows, launch)
    return instructions(compiled(weigh_kernel, constants, 90, launch.options(False), even=True))


def lower(sort, given, n):
    """Build the first form of both kernels, where types are inferred: it takes a tenth of the time."""
    plain = not set(given) & {"prior", "mask", "lengths", "caps", "amounts"}
    launch, spec = launch_for(n, sort, plain), _spec(sort)
    some = torch.empty(launch.rows, n, device="meta")
    rows = Rows(some, *[some if name in given else None for name in ("prior", "mask", "lengths", "amounts", "caps")])
    backward = plans.pull_constants(spec, rows, False, launch)
    for kernel, constants in ((weigh_kernel, plans.weigh_constants(spec, rows, launch)), (pull_kernel, backward)):
        source = _source(kernel, constants)
        target = GPUTarget("cuda", 90, 32)
        backend = make_backend(target)
        options = backend.parse_options(launch.options())
        context = ir.context()
        ir.load_dialects(context)
        backend.load_dialects(context)
        arguments = (options, backend.get_codegen_implementation(options), backend.get_module_map(), context)
        source.make_ir(target, *arguments)


def resources(binary):
    """Return registers a thread and bytes of local memory: what spills lies there, nothing else of these kernels."""
    used = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", told(binary, "-res-usage")))
    return int(used["REG"]), int(used["STACK"]) + int(used["LOCAL"])


@cache
def of_launch(architecture, sort, launch):
    """Return what a launch of the forward and the backward kernel needs, with prior, mask, lengths, amounts a row."""
    spec = _spec(sort)
    family = spec.family
    some = torch.zeros(1, 2)
    rows = Rows(some, None if family == "entmax" else some, some.bool(), some[0], some[0],
                some if family == "project_capped_simplex" else None)  # fmt: skip
    backward = plans.pull_constants(spec, rows, False, launch)
    found = []
    for name, kernel, constants in (
        ("weigh", weigh_kernel, plans.weigh_constants(spec, rows, launch)),
        ("pull", pull_kernel, backward),
    ):
        registers, spilled = resources(compiled(kernel, constants, architecture, launch.options()))
        found.append({"kernel": name, **launch._asdict(), "registers": registers, "spilled": spilled})
    return found


def of_sort(architecture, sort, sizes):
    """Return it for a name of the launch table and rows of each size, as the table launches them."""
    return [
        {"sort": sort, "atoms": n, **kernel}
        for n in sizes
        for kernel in of_launch(architecture, sort, launch_for(n, sort))
    ]


if __name__ == "__main__":
    print(json.dumps(of_sort(int(sys.argv[1]), sys.argv[2], [int(n) for n in sys.argv[3:]])))
