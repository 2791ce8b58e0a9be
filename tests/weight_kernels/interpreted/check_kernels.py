"""Every Triton kernel against the core in float64; `test_interpreter.py` and `test_gpu.py` run this file.

On the CPU it needs TRITON_INTERPRET=1 before triton is imported, hence a process of its own.
"""

import math
import os
from functools import partial

import pytest
import torch
from weight_kernels.problems import (
    BY_NAME,
    FAMILIES,
    NASTY,
    PRIORS,
    close,
    condition,
    feasible_cap,
    nasty,
    random,
)

import counterpoise as cp
from counterpoise import kernels
from counterpoise.kernels import _launch, _seen
from counterpoise.kernels._reference import reference, reference_pull
from counterpoise.kernels._triton import call, plans, weighing
from counterpoise.kernels._triton.table import Launch

DEVICE = os.environ.get("COUNTERPOISE_KERNEL_DEVICE", "cpu")
IDS = [family.name for family in FAMILIES]
PRIOR_IDS = [f"{family.name}{', prior' * prior}" for family, prior in PRIORS]
VERBS = [
    *(("penalized", d) for d in (cp.KL(), cp.ChiSquare(), *map(cp.CressieRead, (1.2, 1.5, 2.0)))),
    ("constrained", cp.KL()), ("constrained", cp.ChiSquare()), ("cvar", None),
]  # fmt: skip
SHAPES = [(7, 1), (16, 32), (20, 37)]  # a full tile, and two programs


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Outputs start as NaN: what a kernel does not write shows."""

    allocator = plans.allocator

    def poisoning(shape, dtype, device):
        make = allocator(shape, dtype, device)
        return lambda: make().fill_(math.nan if dtype.is_floating_point else -7)

    for module in (plans, weighing):
        monkeypatch.setattr(module, "allocator", poisoning)
    monkeypatch.setattr(call, "_PLANS", {})
    monkeypatch.setattr(_seen, "_SEEN", {})


def in_one_tile(monkeypatch, rows):
    """Give the interpreter all rows at once: a program costs it the same whatever it holds. A device has its table."""
    launch_for = plans.launch_for

    def tall(*asked):
        launch = launch_for(*asked)
        return launch._replace(rows=rows, warps=launch.warps * rows // launch.rows)

    if DEVICE == "cpu":
        monkeypatch.setattr(plans, "launch_for", tall)


def solve(family, scores, amount, **options):
    options = {key: a.to(DEVICE) if isinstance(a, torch.Tensor) else a for key, a in options.items()}
    return family.kernel(scores.to(DEVICE), amount, impl="triton", **options).cpu()


def truth(family, scores, amount, prior=None):
    return family.core(scores.double(), amount, prior=None if prior is None else prior.double())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_weights_equal_the_core_and_sum_to_one(family, with_prior, shape):
    scores, prior = random(*shape, seed=sum(shape), dtype=torch.float32, masked=True)
    options = {"prior": prior} if with_prior else {}
    amount = feasible_cap(family, shape[1], 1 + int(0.3 * shape[1]))
    found = solve(family, scores, amount, **options)
    close(found, truth(family, scores, amount, **options), torch.float32, 32 * condition(family, scores, prior))
    assert ((found.double().sum(-1) - 1).abs() <= 4 * torch.finfo(torch.float32).eps).all()


@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_nasty_rows(family, with_prior):
    scores = nasty(torch.float32)[[kind != "largest floats" for kind in NASTY]]
    prior = torch.tensor([1.0, 2.0, 0.5, 0.0, 1.0, 3.0]).expand(len(scores), -1)
    options = {"prior": prior} if with_prior else {}
    amount = 1.2 if family.name == "project_capped_simplex" else family.amount
    found = solve(family, scores, amount, **options)
    bound = condition(family, scores, prior)
    bound = bound if with_prior and family.values else bound.clamp(max=64)
    close(found, truth(family, scores, amount, **options), torch.float32, 64 * bound)


def test_nasty_largest_losses_with_next_to_no_prior():
    generator = torch.Generator().manual_seed(3)
    scores = torch.randint(0, 4, (64, 6), generator=generator).float()
    prior = torch.exp(-18 * torch.rand(64, 6, generator=generator))
    largest = cp.max_radius(cp.ChiSquare(), scores.double(), prior=prior.double())
    keep = largest > 0.1
    scores, prior, radius = scores[keep], prior[keep], (0.99 * largest[keep]).float()
    want = cp.constrained(scores.double(), cp.ChiSquare(), radius.double(), prior=prior.double())
    options = {"prior": prior.to(DEVICE), "impl": "triton"}
    found = kernels.constrained(scores.to(DEVICE), cp.ChiSquare(), radius.to(DEVICE), **options)
    assert (found.status == 0).all()
    close(found.weights.cpu(), want.weights, torch.float32, 64)


@pytest.mark.parametrize("with_prior", [False, True], ids=["", "prior"])
@pytest.mark.parametrize("divergence", [d for verb, d in VERBS if verb == "penalized"], ids=str)
def test_nasty_penalties_at_the_ends_of_the_dtype(divergence, with_prior):
    losses, prior = random(8, 16, seed=14, dtype=torch.float32)
    losses[::2] = losses[::2].round()
    penalties = torch.tensor([1e-44, 1e-39, 1e-38, 1e9, 1e11, 1.2e38, 1.6e38, 3e38])
    prior = prior if with_prior else torch.ones_like(losses)
    options = {"prior": prior.to(DEVICE)} if with_prior else {}
    found = kernels.penalized(losses.to(DEVICE), divergence, penalties.to(DEVICE), impl="triton", **options)
    exact = cp.penalized(losses.double(), divergence, penalties.double(), prior=prior.double())
    assert (found.status[3:] == 0).all()
    for field in ("weights", "value", "multiplier", "shift"):
        a, b = getattr(found, field).cpu().double(), getattr(exact, field)
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5, msg=field)


@pytest.mark.parametrize("one_cap", [True, False], ids=["one cap", "caps"])
@pytest.mark.parametrize(("n", "cap"), [(20, 0.69), (37, 0.24), (64, 0.5)])
def test_capped_weights_sum_to_one_at_any_scale(n, cap, one_cap, monkeypatch):
    """Beyond 1e6 a rounding of the threshold is a part of a weight, and that of few columns may be far away."""
    in_one_tile(monkeypatch, 64)
    scores = torch.cat([random(16, n, seed=n, scale=scale)[0] for scale in (1e2, 1e6, 7e7, 1e12)]).float()
    caps = cap if one_cap else (cap * (0.5 + torch.rand(64, n, generator=torch.Generator().manual_seed(n))))
    given = caps if one_cap else caps.to(DEVICE)
    found = kernels.project_capped_simplex(scores.to(DEVICE), cap=given, impl="triton").cpu()
    exact = cp.project_capped_simplex(scores.double(), cap=cap if one_cap else caps.double())
    close(found, exact, torch.float32, 64)


@pytest.mark.parametrize("cap", [0.27, 0.77])
def test_capped_weights_sum_to_one_where_values_lie_in_clusters_far_apart(cap, monkeypatch):
    in_one_tile(monkeypatch, 256)
    clusters, within = (random(256, 20, seed=seed)[0] for seed in (0, 100))
    scores = ((3 * clusters).round() * 2.5e6 + (8 * within).round() / 16).float()
    found = kernels.project_capped_simplex(scores.to(DEVICE), cap=cap, impl="triton")
    assert ((found.double().sum(-1) - 1).abs() <= 4 * torch.finfo(torch.float32).eps).all()


@pytest.mark.parametrize("one_cap", [True, False], ids=["one cap", "caps"])
def test_nasty_top_far_above_what_caps_leave(one_cap):
    """Distances from an atom near the threshold are exact here, those of a threshold from the top are not."""
    generator = torch.Generator().manual_seed(13)
    scores = torch.randint(0, 9, (16, 37), generator=generator) / 4
    scores[:, 0] = 1e6
    cap = 0.3 if one_cap else 0.1 + 0.2 * torch.rand(16, 37, generator=generator)
    given = cap if one_cap else cap.to(DEVICE)
    found = kernels.project_capped_simplex(scores.to(DEVICE), cap=given, impl="triton").cpu()
    exact = cp.project_capped_simplex(scores.double(), cap=cap if one_cap else cap.double())
    close(found, exact, torch.float32, 8)


@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_rows_that_are_read_in_pieces(family, with_prior, monkeypatch):
    monkeypatch.setattr(plans, "launch_for", lambda *_: Launch(8, 32, 4, True))
    scores, prior = random(6, 45, seed=8, dtype=torch.float32, masked=True)
    scores[0, 40] = math.nan
    scores[1, 44] = math.inf
    scores[2] = -math.inf
    options = {"prior": prior} if with_prior else {}
    amount = feasible_cap(family, 45, 14)
    found = solve(family, scores, amount, **options)
    close(found, truth(family, scores, amount, **options), torch.float32, 32 * condition(family, scores, prior))


@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_mask_lengths_and_minus_infinity_are_the_same_to_the_bit(family):
    scores, _ = random(12, 9, seed=2, dtype=torch.float32)
    lengths = torch.arange(12) % 10
    live = torch.arange(9) < lengths[:, None]
    amount = feasible_cap(family, 9, 9)
    plain = solve(family, torch.where(live, scores, -math.inf), amount)
    # the first half masked, the second cut: one program, as each costs the interpreter the same whatever it holds
    found = solve(
        family,
        torch.cat([torch.where(live, scores, math.nan), torch.where(live, scores, math.inf)]),
        amount,
        mask=torch.cat([live, torch.ones_like(live)]),
        lengths=torch.cat([torch.full_like(lengths, 9), lengths]).int(),
    )
    assert torch.equal(torch.nan_to_num(found, -1), torch.nan_to_num(plain, -1).repeat(2, 1))
    assert (plain[0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_half_precision_is_no_worse_than_the_reference_in_float32(family, dtype):
    scores, _ = random(12, 50, seed=3, dtype=dtype)
    amount = feasible_cap(family, 50)
    exact = truth(family, scores, amount)
    found = solve(family, scores, amount, out_dtype=torch.float32)
    reference = family.kernel(scores, amount, out_dtype=torch.float32)
    worst = (reference.double() - exact).abs().max() + 8 * torch.finfo(torch.float32).eps
    assert (found.double() - exact).abs().max() <= worst
    # the interpreter cuts where a device rounds, for bfloat16
    assert (
        (solve(family, scores, amount).float() - found).abs()
        <= torch.finfo(dtype).eps * (found + torch.finfo(dtype).tiny)
    ).all()


@pytest.mark.parametrize(("verb", "divergence"), VERBS, ids=str)
def test_every_field_of_the_solution(verb, divergence):
    losses, prior = random(9, 21, seed=5, dtype=torch.float32, masked=True)
    losses[3, 0] = math.nan
    losses[4] = -math.inf
    prior[5, 3] = -1.0
    losses[8, 2] = math.inf
    amounts = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.3, 0.5, 0.9, 1.0, 0.4])
    amounts[6] = {"penalized": math.inf, "constrained": 50.0, "cvar": 1.0}[verb]
    amounts[7] = -1.0
    first = () if verb == "cvar" else (divergence,)
    found = getattr(kernels, verb)(
        losses.to(DEVICE), *first, amounts.to(DEVICE), prior=prior.to(DEVICE), impl="triton"
    )  # fmt: skip
    exact = getattr(cp, verb)(losses.double(), *first, amounts.double(), prior=prior.double())
    assert found.status.tolist() == exact.status.tolist()
    for field, a, b in zip(exact._fields, found, exact, strict=True):
        torch.testing.assert_close(a.cpu().double(), b.double(), rtol=2e-5, atol=2e-5, equal_nan=True, msg=field)


AMOUNTS = {
    "few atoms": {"penalized": (0.01, 0.1), "constrained": (4.0, 60.0), "cvar": (0.01, 0.04)},
    "steep": {"penalized": (1e-5, 1e-2), "constrained": (2.0, 3.0), "cvar": (0.04, 0.1)},
    "less steep": {"penalized": (0.01, 0.1), "constrained": (1.0, 2.0), "cvar": (0.1, 0.3)},
    "far": {"penalized": (0.1, 1.0), "constrained": (0.1, 1.0), "cvar": (0.1, 0.9)},
    "between": {"penalized": (1.0, 30.0), "constrained": (1e-3, 0.1), "cvar": (0.5, 0.9)},
    "near": {"penalized": (30.0, 90.0), "constrained": (1e-4, 1e-3), "cvar": (0.9, 0.99)},
    "nearer": {"penalized": (90.0, 1e3), "constrained": (1e-4, 5e-4), "cvar": (0.97, 0.999)},
    "flat": {"penalized": (1e3, 1e5), "constrained": (1e-4, 2e-4), "cvar": (0.99, 0.9999)},
}
"""Sixteen rows of each are the 128 of one full tile."""


@pytest.mark.parametrize("rows", ["all live", "some dead", "prior"])
@pytest.mark.parametrize(("verb", "divergence"), VERBS, ids=str)
def test_every_field_of_the_solution_at_any_amount(verb, divergence, rows, monkeypatch):
    """Full tiles are not asked which atoms live, and rows near the prior are solved more carefully."""
    in_one_tile(monkeypatch, 128)
    losses, prior = random(16, 101 if rows == "some dead" else 128, seed=6, dtype=torch.float32)
    prior = (prior if rows == "prior" else torch.ones_like(losses)).repeat(len(AMOUNTS), 1)
    losses = losses.repeat(len(AMOUNTS), 1)
    losses[:16:2, 5] = 4.0  # the first guess may hold this atom alone, which is too few for the ball
    given = {"prior": prior.to(DEVICE)} if rows == "prior" else {}
    amounts = torch.cat([torch.linspace(*between[verb], 16) for between in AMOUNTS.values()])
    first = () if verb == "cvar" else (divergence,)
    found = getattr(kernels, verb)(losses.to(DEVICE), *first, amounts.to(DEVICE), impl="triton", **given)
    exact = getattr(cp, verb)(losses.double(), *first, amounts.double(), prior=prior.double())
    assert found.status.tolist() == exact.status.tolist()
    span = losses.amax(-1) - losses.amin(-1)
    assert (found.gap.cpu().abs() <= 16 * torch.finfo(torch.float32).eps * span).all()
    for field, a, b in zip(exact._fields, found, exact, strict=True):
        torch.testing.assert_close(a.cpu().double(), b.double(), rtol=2e-5, atol=2e-5, msg=field)


@pytest.mark.parametrize("with_prior", [False, True], ids=["all alike", "prior"])
@pytest.mark.parametrize("divergence", [cp.KL(), cp.ChiSquare()], ids=str)
def test_a_radius_beyond_the_divergence_of_all_largest_losses_asks_for_them(divergence, with_prior):
    losses, prior = random(12, 32, seed=17, dtype=torch.float32)
    prior = prior if with_prior else torch.ones_like(losses)
    largest = torch.arange(32) <= torch.arange(12)[:, None] % 3
    losses = torch.where(largest, 5.0, losses)
    mass = (prior * largest).sum(-1) / prior.sum(-1)
    radius = (-mass.log() if divergence == cp.KL() else 1 / mass - 1) * torch.linspace(0.7, 1.3, 12)
    given = {"prior": prior.to(DEVICE)} if with_prior else {}
    found = kernels.constrained(losses.to(DEVICE), divergence, radius.to(DEVICE), impl="triton", **given)
    exact = cp.constrained(losses.double(), divergence, radius.double(), prior=prior.double())
    assert found.status.tolist() == exact.status.tolist() == [0] * 6 + [1] * 6
    torch.testing.assert_close(found.weights.cpu().double(), exact.weights, rtol=2e-5, atol=2e-5)


ENDS = {
    "chi_square ball": (kernels.constrained, cp.ChiSquare(), (0.1, 8.0), 8),
    "kl ball": (kernels.constrained, cp.KL(), (0.05, 3.0), 48),
    "cressie_read penalty": (kernels.penalized, cp.CressieRead(1.5), (0.02, 2.0), 8),
}


@pytest.mark.parametrize("kind", ["normal", "exponential", "uniform"])
@pytest.mark.parametrize("name", ENDS)
def test_searches_that_end_a_step_early_err_by_roundings(name, kind, monkeypatch):
    """A Newton step that is small beside the weights is not looked after; searches begin where normal losses end."""
    in_one_tile(monkeypatch, 32)
    verb, divergence, (least, most), roundings = ENDS[name]
    uniform = torch.rand(32, 512, dtype=torch.float64, generator=torch.Generator().manual_seed(15)).clamp(min=1e-9)
    draws = {"normal": torch.special.ndtri(uniform), "exponential": -uniform.log(), "uniform": uniform}
    losses, amounts = draws[kind].float(), torch.logspace(math.log10(least), math.log10(most), 32)
    found = verb(losses.to(DEVICE), divergence, amounts.to(DEVICE), impl="triton").weights.cpu().double()
    exact = verb(losses.double(), divergence, amounts.double(), impl="reference").weights
    error = (found - exact).abs().amax(-1) / exact.amax(-1)
    assert error.max() <= roundings * torch.finfo(torch.float32).eps
    assert ((found.sum(-1) - 1).abs() <= 4 * torch.finfo(torch.float32).eps).all()


def test_cvar_tells_losses_apart_that_are_far_closer_than_their_range():
    losses = torch.tensor([[0.0, -3e-37, -1e-37, -2e-37, -1.0, -2e-37]]).repeat(3, 1)
    levels = torch.tensor([0.25, 0.4, 0.6])
    found = kernels.cvar(losses.to(DEVICE), levels.to(DEVICE), impl="triton")
    exact = cp.cvar(losses.double(), levels.double())
    torch.testing.assert_close(found.weights.cpu().double(), exact.weights, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["penalized KL()", "project_simplex", "project_capped_simplex"])
def test_strides_do_not_matter(name):
    """For what is loaded in one place by every family: losses, values in the metric of a prior, and caps."""
    family = BY_NAME[name]
    scores, _ = random(6, 8, seed=4, dtype=torch.float32)
    amount = feasible_cap(family, 8)
    amount = torch.full((8,), amount) if "capped" in name else amount
    amount = amount.to(DEVICE) if isinstance(amount, torch.Tensor) else amount
    plain = solve(family, scores, amount)
    assert torch.equal(
        solve(family, torch.stack([scores, scores], -1).view(2, 3, 8, 2)[..., 0], amount).view(6, 8), plain
    )
    assert torch.equal(solve(family, torch.cat([scores, scores], 1)[:, :8], amount), plain)
    assert torch.equal(solve(family, scores[:1].expand(5, 8), amount), plain[:1].expand(5, 8))
    assert solve(family, scores[:0], amount).shape == (0, 8)
    shared, live = torch.rand(8) + 0.1, torch.arange(8) != 3
    one = solve(family, scores, amount, prior=shared, mask=live)
    each = solve(family, scores, amount, prior=shared.repeat(6, 1), mask=live.repeat(6, 1))
    # a compiler deals threads by what it knows of strides, so that a device may sum in another order
    torch.testing.assert_close(one, each, rtol=0, atol=0 if DEVICE == "cpu" else 8 * torch.finfo(torch.float32).eps)


@pytest.mark.parametrize("forward", [False, True], ids=["transposed", "forward"])
@pytest.mark.parametrize("looped", [False, True], ids=["tile", "looped"])
@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_the_backward_kernel(family, with_prior, looped, forward, monkeypatch):
    scores, prior = random(10, 37, seed=7, dtype=torch.float32, masked=True)
    captured = {}

    def capture(spec, rows):
        captured["call"] = (spec, rows)
        return reference(spec, rows)

    monkeypatch.setattr(_launch, "reference", capture)
    family.kernel(scores, feasible_cap(family, 37, 12), **({"prior": prior} if with_prior else {}))
    spec, rows = captured["call"]
    wide = rows._replace(
        scores=rows.scores.double(), prior=None if rows.prior is None else rows.prior.double(),
        amounts=None if rows.amounts is None else rows.amounts.double(),
    )  # fmt: skip
    solved = reference(spec._replace(dtype=torch.float64), wide)
    up = torch.randn(10, 37, generator=torch.Generator().manual_seed(1))
    exact = reference_pull(spec, wide, solved.weights, solved.numbers, up.double(), forward)
    launch = Launch(8, 16, 4, True) if looped else None
    moved = rows._replace(**{key: a.to(DEVICE) for key, a in rows._asdict().items() if isinstance(a, torch.Tensor)})
    found = call.pull_rows(
        spec,
        moved,
        solved.weights.float().to(DEVICE),
        solved.numbers.float().to(DEVICE),
        up.to(DEVICE),
        forward,
        launch,
    ).cpu()
    size = exact.abs().max()
    assert (found.double() - exact).abs().max() <= 3e-5 * size
    assert size > 0 or family.name == "cvar"


@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_gradients_through_the_whole(family):
    scores, _ = random(5, 11, seed=11, dtype=torch.float32)
    amount = feasible_cap(family, 11)
    gradients = []
    for leaf, impl in ((scores.to(DEVICE), "triton"), (scores.double(), "reference")):
        leaf = leaf.clone().requires_grad_()
        (family.kernel(leaf, amount, impl=impl) ** 2).sum().backward()
        gradients.append(leaf.grad.cpu().double())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)


def test_a_value_s_gradient_launches_no_second_kernel(monkeypatch):
    losses, _ = random(5, 11, seed=12, dtype=torch.float32)
    losses = losses.to(DEVICE).requires_grad_()
    solution = kernels.constrained(losses, cp.KL(), 0.2, impl="triton")
    monkeypatch.setattr(call, "pull_rows", None)
    (gradient,) = torch.autograd.grad(solution.value.sum(), losses)
    assert torch.equal(gradient, solution.weights)


AGAIN = {
    "penalized": ((4, 11), lambda x, **k: kernels.penalized(x, cp.KL(), 0.4, **k)),
    "constrained": ((2, 2, 11), lambda x, **k: kernels.constrained(x, cp.ChiSquare(), 0.4, **k)),
    "cvar": ((11,), lambda x, **k: kernels.cvar(x, 0.4, **k)),
    "project_ball": ((2, 3, 11), lambda x, **k: kernels.project_ball(x, 0.4, **k)),
    "project_capped_simplex": ((5, 11), lambda x, **k: kernels.project_capped_simplex(x, cap=0.7, **k)),
}


@pytest.mark.parametrize("verb", AGAIN)
def test_a_call_like_one_before_has_its_solution_and_gradients(verb):
    shape, solve = AGAIN[verb]
    losses, prior = (a.to(DEVICE).view(-1, 11) for a in random(6, 11, seed=13, dtype=torch.float32))
    losses = losses[: math.prod(shape[:-1])].view(shape)
    for options in ({}, {"prior": prior[:1], "mask": prior[1] > 0.3}):
        options = {key: a.view(11) if len(shape) == 1 else a for key, a in options.items()}
        results = []
        for _ in range(2):
            leaf = losses.clone().requires_grad_()
            fields = returned(solve(leaf, impl="triton", **options))
            loss = sum((field**2).sum() for field in fields if field.requires_grad)
            (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
            ups = torch.stack([torch.ones_like(losses), losses])
            pull = partial(torch.autograd.grad, fields[0], leaf, retain_graph=True)
            many = torch.func.vmap(lambda up: pull(up)[0])(ups)  # noqa: B023
            assert torch.equal(many[1], pull(losses)[0])
            with torch.no_grad():
                again = returned(solve(leaf, impl="triton", **options))
            assert all(torch.equal(a, b) for a, b in zip(fields, again, strict=True))
            results.append([*fields, gradient, many])
        assert len(_seen._SEEN) and all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("verb", ["constrained", "project_capped_simplex"])
def test_a_vectorised_jacobian_is_the_jacobian(verb):
    shape, solve = AGAIN[verb]
    losses = random(math.prod(shape[:-1]), 11, seed=16, dtype=torch.float32)[0].view(shape).to(DEVICE)
    for _ in range(2):
        for field in range(2 if verb == "constrained" else 1):  # weights, and the value
            fields = partial(lambda x, i: returned(solve(x, impl="triton"))[i], i=field)
            batched, looped = (torch.autograd.functional.jacobian(fields, losses, vectorize=v) for v in (True, False))
            torch.testing.assert_close(batched, looped, rtol=1e-5, atol=1e-6)


def returned(out):
    return out if isinstance(out, cp.Solution) else [out]


def test_float64_is_refused():
    with pytest.raises(TypeError, match="float64"):
        kernels.project_simplex(torch.zeros(3, dtype=torch.float64), impl="triton")
