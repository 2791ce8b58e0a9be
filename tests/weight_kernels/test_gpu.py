"""On a CUDA device: the interpreter's own checks, and every tile of the launch table. `pytest -m gpu` runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from weight_kernels.problems import FAMILIES, PRIORS, close, condition, feasible_cap, random  # noqa: E402

import counterpoise as cp  # noqa: E402
from counterpoise import kernels  # noqa: E402

TESTS = Path(__file__).parents[1]
DEVICE = os.environ.get("COUNTERPOISE_KERNEL_DEVICE", "cuda")
PRIOR_IDS = [f"{family.name}{', prior' * prior}" for family, prior in PRIORS]
SIZES = [8, 64, 256, 512, 1000, 1024, 2048, 4096, 5000, 8192, 16384, 20480]
"""One for each of the tiles, two that leave a part of theirs empty, one that is read in pieces."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_kernels_on_the_device():
    environment = {**os.environ, "COUNTERPOISE_KERNEL_DEVICE": "cuda", "PYTEST_XDIST_WORKER": ""}
    environment.pop("TRITON_INTERPRET", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "tests/weight_kernels/interpreted/check_kernels.py",
    ]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def amount_for(family, n):
    return feasible_cap(family, n, n // 2) if family.name == "project_capped_simplex" else family.amount


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_every_tile_of_the_table(family, with_prior, n):
    scores, prior = random(64, n, seed=n, dtype=torch.float32, masked=True)
    options = {"prior": prior} if with_prior else {}
    amount = amount_for(family, n)
    exact = family.core(scores.double(), amount, prior=prior.double() if with_prior else None)
    moved = {key: a.to(DEVICE) for key, a in options.items()}
    found = family.kernel(scores.to(DEVICE), amount, impl="triton", **moved).cpu()
    close(found, exact, torch.float32, 32 * condition(family, scores, prior))
    assert ((found.double().sum(-1) - 1).abs() <= 4 * torch.finfo(torch.float32).eps).all()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_gradients_of_every_tile(family, n):
    scores, _ = random(64, n, seed=n + 1, dtype=torch.float32)
    up = torch.randn(scores.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    gradients, live = [], []
    for leaf, impl in ((scores.to(DEVICE), "triton"), (scores.double(), "reference")):
        leaf = leaf.requires_grad_()
        weights = family.kernel(leaf, amount_for(family, n), impl=impl)
        (gradient,) = torch.autograd.grad(weights, leaf, up.to(weights))
        gradients.append(gradient.cpu().double())
        live.append(weights.detach().cpu() > 0)
    # the derivative jumps where an atom enters: a row with one within a rounding of that has two right answers
    same = (live[0] == live[1]).all(-1)
    assert same.float().mean() >= 0.9
    a, b = (gradient[same] for gradient in gradients)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize(("offset", "n"), [(0, 64), (0, 1000), (1, 64), (1, 20480)])
@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize("family", FAMILIES[5::5], ids=[family.name for family in FAMILIES[5::5]])  # all go one way
def test_direct_launches_give_what_triton_s_give(family, with_prior, offset, n, monkeypatch):
    if DEVICE != "cuda":
        pytest.skip("launches are direct on a CUDA device only")
    from counterpoise.kernels._triton import direct

    wide, prior = (a.to(DEVICE) for a in random(33, n + offset, seed=n, dtype=torch.float32))
    scores = wide[:, offset:].detach().requires_grad_()  # for an offset of 1 not aligned to 16 bytes
    options = {"prior": prior[:, offset:]} if with_prior else {}

    def found():
        weights = family.kernel(scores, amount_for(family, n), impl="triton", **options)
        with torch.no_grad():
            alone = family.kernel(scores, amount_for(family, n), impl="triton", **options)
        return weights.detach(), alone, torch.autograd.grad(weights, scores, scores.detach())[0]

    with monkeypatch.context() as patch:
        patch.setattr(direct, "watched", lambda _: True)
        by_triton = found()
    found()  # compiles nothing, and is kept
    monkeypatch.setattr(direct.Plan, "by_triton", None)
    assert all(map(torch.equal, found(), by_triton))


@pytest.mark.parametrize("batch", [(), (5,), (4, 16)], ids=str)
def test_solutions_that_share_an_allocation_or_are_captured_equal_others(batch):
    if DEVICE != "cuda":
        pytest.skip("launches are direct on a CUDA device only")
    losses = torch.randn(*batch, 64, generator=torch.Generator().manual_seed(7)).to(DEVICE)

    def solved(scale):
        return kernels.constrained(scale * losses, cp.KL(), 0.5, impl="triton")

    def on_a_stream_of_its_own(scale):
        with torch.cuda.stream(torch.cuda.Stream()):
            solution = solved(scale)
        torch.cuda.synchronize()
        return solution

    def equal(found, scales):
        expected = [on_a_stream_of_its_own(scale) for scale in scales]
        return all(torch.equal(a, b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True))

    scales = [1 + i / 8 for i in range(40)]
    assert equal([solved(scale) for scale in scales], scales)
    scale, graph = torch.ones((), device=DEVICE), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = solved(scale)
    later = [solved(scale) for scale in scales]
    scale.fill_(3.0)
    graph.replay()
    assert equal([captured], [3.0]) and equal(later, scales)


def test_more_elements_than_32_bits_count():
    family = next(family for family in FAMILIES if family.name == "project_simplex")
    rows, n = (1 << 31) // 8192 + 64, 8192
    if torch.cuda.mem_get_info()[0] < 3 * rows * n * 4:
        pytest.skip("needs 26 GB of free device memory")
    few, _ = random(64, n, seed=5, dtype=torch.float32)
    scores = few.to(DEVICE).repeat(rows // 64, 1)
    found = family.kernel(scores, 0.0)
    assert torch.equal(found[-64:], found[:64])
    close(found[-64:], family.core(few.double(), 0.0), torch.float32, 32 * condition(family, few))
