"""Direct launches without a GPU: the function and the arguments of each must be those of Triton's own way there.

Triton works everything out of the arguments; only the compiler and the device are stood in for.
"""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from weight_kernels.problems import need_compiler  # noqa: E402

need_compiler()

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from counterpoise.kernels._spec import FAMILIES, Rows, Spec  # noqa: E402


@pytest.fixture(scope="module")
def device():
    """Stand in for a device: launches are kept as (by Triton, function, programs, stream, arguments)."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    from counterpoise.kernels._triton import call, direct

    log = []
    old = tuple(map(int, triton.__version__.split(".")[:2])) < (3, 7)

    class Launcher:
        global_scratch_size = profile_scratch_size = 0
        launch_cooperative_grid = launch_pdl = False
        arg_annotations, kernel_signature = [], b""

        def __call__(self, x, y, z, stream, function, packed, metadata, enter, leave, *arguments):
            plain = [a.data_ptr() if isinstance(a, torch.Tensor) else a for a in arguments]
            log.append((True, function, (x, y, z), stream, plain))

        def launch(self, x, y, z, stream, function, *rest):
            log.append((False, function, (x, y, z), stream, list(rest[8:] if old else rest[-1])))

    class Compiled(triton.compiler.CompiledKernel):
        made = 0

        def __init__(self):
            Compiled.made += 1
            self.function, self.packed_metadata = Compiled.made, (1, 1, 0)
            self.metadata = SimpleNamespace(target=target)

        run = Launcher()

        def launch_metadata(self, *_):
            return None

    target = GPUTarget("cuda", 90, 32)
    active = SimpleNamespace(
        get_current_device=lambda: 0, get_current_stream=lambda _: 7, get_current_target=lambda: target
    )
    kernels = (call.weigh_kernel, call.p.pull_kernel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_active", active)
        patch.setattr(triton.compiler, "compile", lambda *_, **__: Compiled())
        patch.setattr(call, "_PLANS", {})
        patch.setattr(direct, "_COMPILED", {})
        for kernel in kernels:
            kernel.device_caches.clear()
        yield SimpleNamespace(log=log, call=call, direct=direct, made=lambda: Compiled.made)
        for kernel in kernels:
            kernel.device_caches.clear()


def array(shape, dtype, offset, wide):
    """Return zeros that start ``offset`` elements into memory, in rows of ``wide`` more than is theirs."""
    rows, n = shape
    return torch.zeros(offset + rows * (n + wide), dtype=dtype)[offset:].view(rows, n + wide)[:, :n]


@st.composite
def problems(draw):
    """Return a spec, rows, and an upstream gradient, of sizes and places that Triton tells apart."""
    rows, n = draw(st.sampled_from([1, 2, 16, 17, 48])), draw(st.sampled_from([1, 2, 15, 16, 33, 64, 20000]))
    offsets, wides = st.sampled_from([0, 1, 16]), st.sampled_from([0, 1, 16])

    def some(dtype, shared=True):
        height = draw(st.sampled_from([1, rows])) if shared else rows
        return array((height, n), dtype, draw(offsets), draw(wides))

    dtypes = st.sampled_from([torch.float32, torch.float16, torch.bfloat16])
    family = draw(st.sampled_from(FAMILIES))
    spec = Spec(
        family, draw(st.floats(0, 2)), draw(st.floats(0, 1)), draw(st.sampled_from([1.2, 1.5, 2.0])),
        draw(dtypes), "triton",
    )  # fmt: skip
    scores = some(draw(dtypes), shared=False)
    some_or_none = {
        "prior": lambda: some(draw(dtypes)),
        "mask": lambda: some(torch.bool),
        "lengths": lambda: torch.ones(rows, dtype=draw(st.sampled_from([torch.int32, torch.int64]))),
        "amounts": lambda: torch.zeros(rows + 1)[draw(st.sampled_from([0, 1])):][:rows],
        "caps": lambda: some(draw(dtypes)),
    }  # fmt: skip
    others = {key: make() if draw(st.integers(0, 3)) == 0 else None for key, make in some_or_none.items()}
    return spec, Rows(scores, **others), some(draw(dtypes))


def both(device, run, monkeypatch):
    """Return a call's launch by Triton, hooked, then the last of three that nobody watches."""
    with monkeypatch.context() as patch:
        patch.setattr(device.direct, "watched", lambda _: True)
        run()
    ordinary = device.log[-1]
    for _ in range(3):
        run()
    assert ordinary[0] and len(device.log) >= 4
    return ordinary, device.log[-1]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems())
def test_what_is_launched_directly_is_what_triton_would_launch(problem, device, monkeypatch):
    spec, rows, up = problem
    numbers, out = torch.zeros(4, len(rows.scores)), []
    for run, read, written in (
        (lambda: out.append([*device.call.weigh_rows(spec, rows)]), [0, 1, 2, 3, 4, 5], [6, 7, 8, 9]),
        (lambda: out.append([device.call.weights_of_rows(spec, rows)]), [0, 1, 2, 3, 4, 5], [6]),
        (lambda: out.append([device.call.pull_rows(spec, rows, rows.scores, numbers, up, True)]), [0, 2, 3, 4, 5], [6]),
    ):
        ordinary, direct = both(device, run, monkeypatch)
        assert direct[:4] == (False, *ordinary[1:4])
        assert [direct[4][i] for i in read] == [ordinary[4][i] for i in read]
        assert [direct[4][i] for i in written] == [a.data_ptr() for a in out[-1]]
        pointers = 6 + len(written) if len(out[-1]) == 4 else {6: 10, 5: 7}[len(read)]
        assert direct[4][pointers:] == ordinary[4][pointers:]
        assert all(type(a) is type(b) for a, b in zip(direct[4], ordinary[4], strict=True))


def plain(n=64, rows=64, offset=0):
    return Spec("project_simplex", 1.0, 1.0, 2.0, torch.float32, "triton"), Rows(
        array((rows, n), torch.float32, offset, 0), None, None, None, None, None
    )


def test_only_what_is_new_goes_through_triton(device):
    def by_triton(*problem):
        device.log.clear()
        device.call.weigh_rows(*problem)
        return device.log[0][0]

    device.direct._COMPILED.clear()
    device.call._PLANS.clear()
    spec, rows = plain()
    assert [by_triton(spec, rows), by_triton(spec, rows)] == [True, False]
    assert not by_triton(spec._replace(amount=0.25, cap=0.5), rows)  # no part of what is compiled
    assert not by_triton(*plain(rows=128))  # another shape, of the same kind
    assert by_triton(*plain(rows=1)) and by_triton(*plain(rows=65)) and by_triton(*plain(n=63))
    assert by_triton(*plain(offset=1)) and not by_triton(*plain(offset=4))
    assert by_triton(spec, rows._replace(prior=rows.scores[:1]))
    assert not by_triton(spec, rows._replace(prior=rows.scores))  # 16 divides a stride of 0 as one of 64
    assert by_triton(spec._replace(exponent=1.5, family="entmax"), rows)
    assert by_triton(spec._replace(dtype=torch.float16), rows)


def test_who_hooks_into_launches_is_called(device, monkeypatch):
    from triton import knobs

    spec, rows = plain()
    for _ in range(2):
        device.call.weigh_rows(spec, rows)
    assert not device.log[-1][0]
    for where, name, value in (
        (knobs.runtime, "launch_enter_hook", print),
        (knobs.runtime, "debug", True),
        (knobs.compilation, "instrumentation_mode", "x"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            device.call.weigh_rows(spec, rows)
        assert device.log[-1][0]
    knobs.runtime.launch_exit_hook.add(print)
    device.call.weigh_rows(spec, rows)
    knobs.runtime.launch_exit_hook.remove(print)
    assert device.log[-1][0]


def test_an_unknown_triton_launches_as_it_does(device, monkeypatch):
    monkeypatch.setattr(device.direct, "VERSION", (9, 9))
    monkeypatch.setattr(device.direct, "_COMPILED", {})
    monkeypatch.setattr(device.call, "_PLANS", {})
    for _ in range(3):
        device.call.weigh_rows(*plain())
        assert device.log[-1][0]


def test_plans_are_bounded(device, monkeypatch):
    monkeypatch.setattr(device.call, "MOST", 3)
    for rows in range(1, 9):
        device.call.weigh_rows(*plain(rows=rows))
    assert len(device.call._PLANS) <= 3
