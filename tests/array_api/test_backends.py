"""Every function on every backend: the same answer, in the backend's own type, dtype and device."""

import functools
import os
from pathlib import Path

import array_api_compat as aac
import numpy as np
import pytest
from array_api.backends import EPS, MAKERS
from array_api.calls import AMOUNT, CALLS, DIVERGENCES, LAZY, LOSSES, PRIOR

import counterpoise as cp

SORTING = ("spectral", "two_sample_auc")  # array-api-strict's own sorting makes int64, which its no_x64 device lacks
CASES = [
    (b, c) for b in MAKERS for c in (LAZY if b == "dask" else CALLS) if not (b == "strict no_x64" and c in SORTING)
]


def arrays_of(found):
    return list(found) if isinstance(found, tuple) else [found]


def expected(call):
    return arrays_of(CALLS[call](lambda values: values))


@functools.cache
def trouble(maker, call):
    """Return what is wrong with a call on a backend: nothing, if all is well."""
    backend = MAKERS[maker]()

    def convert(values):
        return backend.make(values, {"i": "int32", "b": "bool"}.get(values.dtype.kind, backend.dtype))

    example = convert(LOSSES)
    for ours, want in zip(arrays_of(CALLS[call](convert)), expected(call), strict=True):
        if aac.array_namespace(ours) is not aac.array_namespace(example):
            return "another namespace"
        if maker != "dask" and aac.device(ours) != aac.device(example):
            return "another device"
        back, kind = backend.back(ours), np.asarray(want).dtype.kind
        if kind == "f" and ours.dtype != example.dtype:
            return f"dtype {ours.dtype}"
        # half precision accumulates in float32 and is rounded once; the inputs are exact in every dtype
        tolerance = {"float64": 1e-11, "float32": 512 * EPS["float32"]}.get(backend.dtype, EPS[backend.dtype])
        size = np.maximum(1.0, np.abs(np.where(np.isfinite(want), want, 0.0)))
        off = np.where(back == want, 0.0, np.abs(np.where(back == want, 0.0, back) - np.where(back == want, 0.0, want)))
        if not (off / size <= (tolerance if kind == "f" else 0)).all():
            return f"off by {off.max():.1e}"
    return ""


@pytest.mark.parametrize(("maker", "call"), CASES, ids=[f"{b}-{c}" for b, c in CASES])
def test_namespace_device_dtype_and_answer(maker, call):
    assert trouble(maker, call) == ""


def table():
    """Return the page that docs/reference/backends.md holds, from what the calls do now."""
    functions = sorted({call.split()[0].rstrip(",") for call in CALLS})
    lines = ["| | " + " | ".join(MAKERS[maker]().name for maker in MAKERS) + " |", "|---" * (len(MAKERS) + 1) + "|"]
    for function in functions:
        cells = []
        for maker in MAKERS:
            found = [trouble(b, c) for b, c in CASES if b == maker and c.split()[0].rstrip(",") == function]
            cells.append("–" if not found else "✗" if any(found) else "✓")
        lines.append(f"| `{function}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_page_about_backends_shows_this_run():
    page = Path(__file__).parents[2] / "docs" / "reference" / "backends.md"
    if os.environ.get("COUNTERPOISE_WRITE_DOCS") == "1":
        before = page.read_text().partition("| |")[0]
        page.write_text(before + table())
    assert page.read_text().partition("| |")[2] == table().partition("| |")[2]


@pytest.mark.parametrize("call", LAZY)
def test_dask_computes_nothing_until_asked(call):
    dask = pytest.importorskip("dask")
    backend = MAKERS["dask"]()

    def refuse(*_, **__):
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        found = arrays_of(CALLS[call](lambda values: backend.make(values, "float64")))
    np.testing.assert_allclose(np.asarray(found[0]), expected(call)[0], atol=1e-12)


@pytest.mark.parametrize("verb", [cp.penalized, cp.constrained], ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_jax_compiles_and_maps(name, verb):
    jax = pytest.importorskip("jax")
    d = DIVERGENCES[name]
    losses, prior, amount = (jax.numpy.asarray(v, dtype="float32") for v in (LOSSES, PRIOR, AMOUNT))
    plain = verb(losses, d, amount, prior=prior)
    jitted = jax.jit(lambda x, a, p: tuple(verb(x, d, a, prior=p)))(losses, amount, prior)
    mapped = jax.vmap(lambda x, a: tuple(verb(x, d, a, prior=prior)))(losses, amount)
    for one, other, want in zip(jitted, mapped, plain, strict=True):
        np.testing.assert_allclose(one, want, atol=2e-5, rtol=2e-4)
        np.testing.assert_allclose(other, want, atol=2e-5, rtol=2e-4)


def test_jax_refuses_to_differentiate_what_the_core_holds_constant():
    jax = pytest.importorskip("jax")
    with pytest.raises(TypeError, match="Danskin"):
        jax.grad(lambda x: cp.penalized(x, cp.KL(), 1.0).value)(jax.numpy.zeros(3))


def test_half_precision_is_accumulated_in_float32():
    torch = pytest.importorskip("torch")
    n = 5000  # the sum of so many halves would stop growing at 2048
    solution = cp.penalized(torch.zeros(n, dtype=torch.float16), cp.KL(), 1.0)
    assert float(solution.weights.double().sum()) == pytest.approx(1.0, abs=1e-3)
    assert solution.weights.dtype == torch.float16
