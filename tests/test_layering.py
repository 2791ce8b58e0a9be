"""The core is light and knows no framework."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "sklearn", "scipy", "jax", "pandas", "counterpoise_adapters")


def loaded_by(statement):
    """Names of the modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_core_loads_no_framework():
    assert not loaded_by("import counterpoise") & set(HEAVY)


@pytest.mark.parametrize("name", ["torch", "sklearn", "scipy"])
def test_this_test_would_notice(name):
    assert name in loaded_by(f"import {name}")


def test_a_call_loads_no_framework_either():
    call = "import numpy as np, counterpoise as cp; cp.constrained(np.zeros((3, 2)), cp.KL(), 0.1)"
    assert not loaded_by(call) & set(HEAVY)


ADAPTERS = "counterpoise_adapters"
WEIGH = "sys.argv = 'counterpoise weigh a.jsonl --out b.jsonl --target source=x --text text'.split()"
NEEDS = [
    ("import counterpoise.kernels", "torch", "torch"),
    (f"import {ADAPTERS}.pytorch", "torch", "torch"),
    (f"from {ADAPTERS}.pytorch.loss import RobustLoss", "torch", "torch"),
    (f"import {ADAPTERS}.openrlhf", "torch", "torch"),
    (f"import {ADAPTERS}.trl", "torch", "trl"),
    (f"from {ADAPTERS}.trl import RobustDPOTrainer", "trl", "trl"),
    (f"from {ADAPTERS}.trl import WeightPlot", "transformers", "trl"),
    (f"import {ADAPTERS}.sklearn", "sklearn", "sklearn"),
    (f"from {ADAPTERS}.sklearn import ULSIF", "scipy", "sklearn"),
    (f"import {ADAPTERS}.plots", "matplotlib", "plots"),
    (f"from {ADAPTERS}.ray import weigh", "ray", "ray"),
    (f"from {ADAPTERS}._containers import _safetensors as load; load()", "safetensors", "safetensors"),
    (f"from {ADAPTERS}.advise import _ratio; _ratio.out_of_fold(None, None, group=None, seed=0)", "sklearn", "sklearn"),
    *((f"from {ADAPTERS}.cli import main; {WEIGH}; main()", name, "cli") for name in ("typer", "rich", "jinja2")),
    (f"from {ADAPTERS}.cli import main; {WEIGH}; sys.argv += ['--engine', 'ray']; main()", "ray", "ray"),
]
HIDING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
{statement}
"""


@pytest.mark.parametrize(("statement", "hidden", "extra"), NEEDS, ids=[f"{n[0][:50]} without {n[1]}" for n in NEEDS])
def test_an_adapter_without_its_framework_says_which_extra_to_install(statement, hidden, extra, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"source": "x", "text": "a"}\n{"source": "y", "text": "b"}\n' * 20)
    code = HIDING.format(hidden=hidden, statement=statement)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    *_, last = run.stderr.strip().splitlines()
    assert run.returncode and f"needs the package '{hidden}': pip install 'counterpoise[{extra}]'" in last


def test_a_module_of_this_package_that_is_missing_is_a_bug():
    code = "import sys; sys.modules['counterpoise_adapters.pytorch.loss'] = None; import counterpoise_adapters.pytorch"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode and "pip install" not in run.stderr
