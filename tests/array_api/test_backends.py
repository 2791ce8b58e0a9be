"""Every function on every backend: the same answer, in the backend's own type, dtype and device."""

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


@pytest.mark.parametrize(("maker", "call"), CASES, ids=[f"{b}-{c}" for b, c in CASES])
def test_namespace_device_dtype_and_answer(maker, call):
    backend = MAKERS[maker]()

    def convert(values):
        dtype = "int32" if values.dtype.kind == "i" else backend.dtype
        return backend.make(values, dtype)

    example = convert(LOSSES)
    found = arrays_of(CALLS[call](convert))
    for ours, want in zip(found, expected(call), strict=True):
        assert aac.array_namespace(ours) is aac.array_namespace(example)
        if maker != "dask":
            assert aac.device(ours) == aac.device(example)
        kind = np.asarray(want).dtype.kind
        assert ours.dtype == (example.dtype if kind == "f" else ours.dtype)
        # half precision accumulates in float32 and is rounded once; inputs here are exact in every dtype
        tolerance = max(8 * EPS[backend.dtype], 64 * EPS["float32"] if backend.dtype != "float64" else 0)
        tolerance = tolerance if backend.dtype != "float64" else 1e-12
        back = backend.back(ours)
        if kind == "f":
            size = np.maximum(1.0, np.abs(np.where(np.isfinite(want), want, 0.0)))
            np.testing.assert_array_less(np.abs(np.where(back == want, 0.0, back - want)) / size, tolerance * 8)
        else:
            np.testing.assert_array_equal(back, want)


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
