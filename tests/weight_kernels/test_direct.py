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

import counterpoise as cp  # noqa: E402
from counterpoise import kernels  # noqa: E402
from counterpoise.kernels import _calls  # noqa: E402
from counterpoise.kernels._spec import FAMILIES, Rows, Spec  # noqa: E402


class Log(list):
    def __repr__(self):
        return f"<{len(self)} launches>"


@pytest.fixture(scope="module")
def device():
    """Stand in for a device: launches are kept as (by Triton, function, programs, stream, arguments)."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    from counterpoise.kernels import _launch, _seen
    from counterpoise.kernels._triton import call, direct, plans, weighing

    log = Log()
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
    kernels = (plans.weigh_kernel, plans.p.pull_kernel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_active", active)
        patch.setattr(triton.compiler, "compile", lambda *_, **__: Compiled())
        patch.setattr(call, "_PLANS", {})
        patch.setattr(direct, "_COMPILED", {})
        patch.setattr(direct, "stream", lambda _: 7)
        patch.setattr(_seen, "_SEEN", {})
        patch.setattr(_launch, "_by_triton", lambda *_: True)
        for kernel in kernels:
            kernel.device_caches.clear()
        yield SimpleNamespace(log=log, call=call, direct=direct, seen=_seen, weighing=weighing)
        for kernel in kernels:
            kernel.device_caches.clear()


def array(shape, dtype, offset, wide):
    """Return zeros that start ``offset`` elements into memory, in rows of ``wide`` more than is theirs."""
    rows, n = shape
    return torch.zeros(offset + rows * (n + wide), dtype=dtype)[offset:].view(rows, n + wide)[:, :n]


@st.composite
def problems(draw):
    """Return a spec, rows, an upstream gradient and if one is to come, of sizes and places that Triton tells apart."""
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
    return spec, Rows(scores, **others), some(draw(dtypes)), draw(st.booleans())


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
    spec, rows, up, rated = problem
    numbers, out = torch.zeros(4, len(rows.scores)), []
    weighing = device.weighing.Weighing(spec, rows, rows.scores.shape[:1], rated=rated)
    given = (
        rows.scores, (*rows[1:4], None, "triton"), spec.amount if rows.amounts is None else rows.amounts,
        spec.cap if rows.caps is None else rows.caps,
    )  # fmt: skip

    def solved():
        weights, table = weighing.run(*given)
        value, *_, status = weighing.parts(table)
        out.append([weights, value, table, status])

    every = range(6)
    for run, same in (
        (lambda: out.append([*device.call.weigh_rows(spec, rows)]), every),
        (solved, every),
        (lambda: out.append([device.call.pull_rows(spec, rows, rows.scores, numbers, up, True)]), (0, 2, 3, 4, 5)),
    ):
        ordinary, direct = both(device, run, monkeypatch)
        equal(direct, ordinary, same, out[-1])
    up, weights = up.contiguous(), rows.scores.contiguous()
    backward = (rows.scores, weights, rows.prior, rows.caps)
    pulled = both(device, lambda: weighing.pull(spec, numbers, up, *backward), monkeypatch)
    device.call.pull_rows(spec, rows, weights, numbers, up, False)
    for launch in pulled:
        assert launch[1:4] == device.log[-1][1:4]
        assert [launch[4][i] for i in range(len(launch[4])) if i != 6] == [
            device.log[-1][4][i] for i in range(len(launch[4])) if i != 6
        ]


def equal(direct, ordinary, same, outputs):
    """Assert that what was launched directly is what Triton launched, but for the arrays that were allocated."""
    assert direct[:4] == (False, *ordinary[1:4])
    assert [direct[4][i] for i in same] == [ordinary[4][i] for i in same]
    pointers = 6 + len(outputs)
    assert direct[4][6:pointers] == [a.data_ptr() for a in outputs]
    assert direct[4][pointers:] == ordinary[4][pointers:]
    assert all(type(a) is type(b) for a, b in zip(direct[4], ordinary[4], strict=True))


SHAPES = [
    ((5,), (5,)), ((3, 5), (3, 5)), ((3, 16), (16,)), ((3, 16), (1, 16)), ((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)),
    ((4,), (2, 4)), ((2, 3, 4), (3, 4)), ((2, 1, 4), (1, 3, 4)),
]  # fmt: skip


@st.composite
def calls(draw):
    """Return a public function and its arguments, with all but the values drawn."""
    shape, other = draw(st.sampled_from(SHAPES))
    dtypes = st.sampled_from([torch.float32, torch.float16])

    def some(dtype, like):
        whole = torch.zeros(2, *like, dtype=dtype)[1]
        return whole if draw(st.booleans()) else torch.zeros(*like[:-1], 2 * like[-1], dtype=dtype)[..., : like[-1]]

    options = {"mask": some(torch.bool, other)} if draw(st.booleans()) else {}
    if draw(st.booleans()):
        options["prior"] = some(draw(dtypes), other)
    batch = (torch.broadcast_shapes(shape, other) if options else shape)[:-1]
    if draw(st.booleans()):
        options["lengths"] = torch.ones(batch, dtype=torch.int64)
    if draw(st.booleans()):
        options["out_dtype"] = draw(dtypes)
    amount = draw(st.sampled_from([0.5, 1, torch.zeros(batch), torch.zeros(batch, dtype=torch.float16)]))
    name = draw(st.sampled_from(["penalized", "constrained", "cvar", "project_ball", "project_capped_simplex"]))
    if name == "project_capped_simplex":
        options["cap"] = draw(st.sampled_from([0.5, torch.zeros(shape), torch.zeros(())]))
    grad = draw(st.booleans())
    return name, some(draw(dtypes), shape).requires_grad_(grad), amount, options


def publicly(name, scores, amount, options):
    if name == "project_capped_simplex":
        return kernels.project_capped_simplex(scores, **options)
    verb = getattr(kernels, name)
    return (
        verb(scores, cp.KL(), amount, **options)
        if name in ("penalized", "constrained")
        else verb(scores, amount, **options)
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=calls(), stream=st.sampled_from([0, 7]))
def test_a_call_like_one_before_is_launched_as_that_one_was(call, stream, device, monkeypatch):
    out, kept = [], []
    with monkeypatch.context() as patch:
        patch.setattr(device.direct, "stream", lambda _: stream)
        patch.setattr(_calls, "seen", lambda *asked: kept.append(device.seen.seen(*asked)) or kept[-1])
        ordinary, direct = both(device, lambda: out.append(publicly(*call)), monkeypatch)
    _, scores, amount, options = call
    first, last = out[0], out[-1]
    fields = zip(first, last, strict=True) if isinstance(first, tuple) else [(first, last)]
    for a, b in fields:
        assert (a.shape, a.dtype, a.stride(), a.requires_grad) == (b.shape, b.dtype, b.stride(), b.requires_grad)
    if kept[-1][1] is None:  # rows that have to be copied are never launched from where they lie
        copied = [a for a in (scores, amount, *options.values()) if isinstance(a, torch.Tensor)]
        assert any(not a.is_contiguous() or a.dtype == torch.float16 or a.shape != scores.shape for a in copied)
        return
    weights = last.weights if isinstance(last, tuple) else last
    given = direct[4]
    assert given[0] == scores.data_ptr() and given[6] == weights.data_ptr()
    rows = weights[..., 0].numel()
    assert given[10:12] == [rows, scores.shape[-1]]
    assert given[12] == (scores.stride(-2) if rows > 1 and scores.shape == weights.shape else 0)
    assert direct[:4] == (False, *ordinary[1:4]) and given[:6] == ordinary[4][:6] and given[10:] == ordinary[4][10:]
    if isinstance(last, tuple):
        assert given[7] == last.value.data_ptr() and given[8] == last.multiplier.data_ptr()
        assert given[9] == last.status.data_ptr()
        assert not any(pointer % 16 for pointer in given[6:10])  # nothing is compiled anew for it
    if scores.requires_grad:
        (gradient,) = torch.autograd.grad(weights, scores, torch.ones_like(weights))
        assert gradient.shape == scores.shape


@pytest.mark.parametrize(
    ("name", "dtype", "at"),
    [("scores", torch.float32, 12), ("prior", torch.float32, 13), ("mask", torch.bool, 14), ("cap", torch.float32, 15)],
)
def test_strides_are_those_of_each_call(device, name, dtype, at):
    for wide in (0, 0, 16, 16, 32, 16, 0):
        given = {"scores": torch.zeros(3, 16), "cap": 0.5, name: array((3, 16), dtype, 0, wide)}
        kernels.project_capped_simplex(given.pop("scores"), **given)
        assert device.log[-1][4][at] == 16 + wide


@pytest.mark.parametrize("shape", [(3, 16), (16,), (2, 3, 16)], ids=str)
def test_results_may_be_changed_in_place_but_what_backward_reads(device, shape):
    losses = torch.zeros(shape, requires_grad=True)
    for _ in range(3):
        solution = kernels.constrained(losses, cp.KL(), 0.5)
    solution.value.mul_(2)
    for constant in (solution.shift, solution.gap, solution.status):
        constant.zero_()
    torch.autograd.grad(solution.value.sum(), losses, retain_graph=True)
    solution.multiplier.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(solution.weights.sum(), losses)


BATCHES = [(), (1,), (3,), (4,), (64,), (2, 3), (3, 0), (2, 3, 4), (500,), (3000,)]


@pytest.fixture
def default_stream(device, monkeypatch):
    monkeypatch.setattr(device.direct, "stream", lambda _: 0)


def penalized(batch, calls=40):
    losses = torch.zeros(*batch, 16)
    return [kernels.penalized(losses, cp.KL(), 0.5) for _ in range(calls)]


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_calls_that_share_an_allocation_share_no_memory(device, default_stream, batch):
    solutions = penalized(batch)
    first = solutions[0]
    for i, solution in enumerate(solutions):
        for j, (number, like) in enumerate(zip(solution, first, strict=True)):
            assert (number.shape, number.dtype, number.stride()) == (like.shape, like.dtype, like.stride())
            number.fill_(6 * i + j)
    for i, solution in enumerate(solutions):
        assert all((number == 6 * i + j).all() for j, number in enumerate(solution))


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_little_memory_is_held_by_a_report(device, default_stream, batch):
    rows = max(1, torch.zeros(batch).numel())
    for solution in penalized(batch):
        assert solution.gap.untyped_storage().nbytes() <= max(1 << 14, 4 * (6 * rows + 16))
        assert solution.weights.untyped_storage().nbytes() == 64 * solution.value.numel()


@pytest.mark.parametrize("batch", [(), (4,)], ids=str)
def test_only_calls_on_the_default_stream_share_an_allocation(device, default_stream, monkeypatch, batch):
    def allocations():
        return len({solution.gap.untyped_storage().data_ptr() for solution in penalized(batch)})

    assert allocations() <= 5
    monkeypatch.setattr(device.direct, "stream", lambda _: 7)
    assert allocations() == 40


def test_reports_of_a_call_under_inference_may_be_saved_by_autograd_afterwards(device, default_stream):
    with torch.inference_mode():
        penalized((5,), 3)
    leaf = torch.ones(5, requires_grad=True)
    (leaf * penalized((5,), 1)[0].gap).sum().backward()


def test_a_dispatch_mode_leaves_nothing_behind(device, default_stream):
    class Wrapped(torch.Tensor):
        pass

    class Wrapping(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            wrap = lambda a: a.as_subclass(Wrapped) if isinstance(a, torch.Tensor) else a  # noqa: E731
            return [wrap(a) for a in out] if isinstance(out, (list, tuple)) else wrap(out)

    losses = torch.zeros(6, 16)
    for _ in range(3):
        kernels.penalized(losses, cp.ChiSquare(), 0.5)
    with Wrapping():
        for _ in range(40):
            kernels.penalized(losses, cp.ChiSquare(), 0.5)
    for _ in range(40):
        assert type(kernels.penalized(losses, cp.ChiSquare(), 0.5).gap) is torch.Tensor


def test_a_view_that_is_negated_lazily_is_negated(device):
    numbers = torch.zeros(3, 4, dtype=torch.complex64)
    for lazy in (False, True, True):
        losses = (numbers.conj() if lazy else numbers).imag
        assert losses.is_neg() == lazy
        losses = losses if lazy else losses.clone()
        kernels.project_simplex(losses)
        assert (device.log[-1][4][0] == losses.data_ptr()) != lazy


def test_a_wrong_call_after_a_right_one_is_told_what_is_wrong(device):
    losses, prior = torch.zeros(3, 4), torch.ones(3, 4)
    for _ in range(3):
        kernels.penalized(losses, cp.KL(), 0.5, prior=prior)
        kernels.penalized(losses, cp.KL(), 0.5)
    prior.requires_grad_()
    with pytest.raises(TypeError, match="prior requires grad"):
        kernels.penalized(losses, cp.KL(), 0.5, prior=prior)
    with torch.no_grad():
        for _ in range(3):
            kernels.penalized(losses, cp.KL(), 0.5, prior=prior)
    wrongs = [
        {"prior": prior}, {"prior": [1.0]}, {"mask": losses}, {"lengths": losses[0]}, {"out_dtype": torch.int8},
        {"out_dtype": ["float32"]}, {"out_dtype": "float32"}, {"impl": ["auto"]}, {"impl": "fast"},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError), match="is needed|requires grad"):
            kernels.penalized(losses, cp.KL(), 0.5, **wrong)
    for penalty in (True, "0.5", None, torch.zeros(3, dtype=torch.int64)):
        with pytest.raises(TypeError, match="is needed"):
            kernels.penalized(losses, cp.KL(), penalty)
    for scores in ([0.0], None, losses.long()):
        with pytest.raises(TypeError, match="takes torch tensors|is needed"):
            kernels.penalized(scores, cp.KL(), 0.5)


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


def test_what_is_kept_is_bounded(device, monkeypatch):
    monkeypatch.setattr(device.call, "MOST", 3)
    for rows in range(1, 9):
        device.call.weigh_rows(*plain(rows=rows))
    assert len(device.call._PLANS) <= 3
    monkeypatch.setattr(device.seen, "MOST", 3)
    for rows in range(1, 9):
        kernels.project_simplex(torch.zeros(rows, 4))
    assert 0 < len(device.seen._SEEN) <= 3
