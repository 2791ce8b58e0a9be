"""The boundary to torch: registered right, and differentiable under every transform."""

import pytest

import counterpoise as cp

torch = pytest.importorskip("torch")
from torch.autograd import forward_ad, gradcheck  # noqa: E402
from weight_kernels.problems import FAMILIES, PRIORS, feasible_cap, random  # noqa: E402

from counterpoise import kernels  # noqa: E402
from counterpoise.kernels._launch import weigh_rows  # noqa: E402
from counterpoise.kernels._op import _OPS, Pull  # noqa: E402
from counterpoise.kernels._spec import FAMILIES as NAMES  # noqa: E402
from counterpoise.kernels._spec import make_rows  # noqa: E402

PRIOR_IDS = [f"{family.name}{', prior' * prior}" for family, prior in PRIORS]
SOLUTIONS = {
    "penalized": lambda x, **o: kernels.penalized(x, cp.ChiSquare(), 0.5, **o),
    "constrained": lambda x, **o: kernels.constrained(x, cp.KL(), 0.2, **o),
    "cvar": lambda x, **o: kernels.cvar(x, 0.4, **o),
}


def problem(family, with_prior, seed=0, rows=4, n=6):
    scores, prior = random(rows, n, seed)
    options = {"prior": prior, "mask": prior[:1] > 0.3} if with_prior else {}
    return scores, feasible_cap(family, n, 4), options


def direction(scores):
    return torch.randn(scores.shape, dtype=scores.dtype, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_reverse_and_forward_mode_agree_with_finite_differences(family, with_prior):
    scores, amount, options = problem(family, with_prior)
    gradcheck(
        lambda x: family.kernel(x, amount, **options), (scores.requires_grad_(),), check_forward_ad=True, atol=1e-6,
        check_batched_grad=True,
    )  # fmt: skip


@pytest.mark.parametrize("verb", SOLUTIONS)
def test_the_value_s_gradient_is_the_weights(verb):
    scores, prior = random(4, 6, 1)
    solution = SOLUTIONS[verb](scores.requires_grad_(), prior=prior)
    (gradient,) = torch.autograd.grad(solution.value.sum(), scores)
    assert torch.equal(gradient, solution.weights)
    gradcheck(lambda x: SOLUTIONS[verb](x, prior=prior).value, (scores,), check_forward_ad=True, atol=1e-6)
    assert not (solution.multiplier.requires_grad or solution.gap.requires_grad or solution.status.requires_grad)


@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_functional_transforms_agree_and_no_derivative_is_silently_zero(family, with_prior):
    scores, amount, options = problem(family, with_prior)
    up = direction(scores)

    def weights(x):
        return family.kernel(x, amount, **options)

    pulled = torch.func.grad(lambda x: (weights(x) * up).sum())(scores)
    leaf = scores.clone().requires_grad_()
    (weights(leaf) * up).sum().backward()
    torch.testing.assert_close(pulled, leaf.grad)
    _, pushed = torch.func.jvp(weights, (scores,), (up,))
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(weights(forward_ad.make_dual(scores, up))).tangent
    reverse = torch.func.jacrev(weights)(scores)
    forward = torch.func.jacfwd(weights)(scores)
    torch.testing.assert_close(reverse, forward)
    torch.testing.assert_close(pushed, torch.einsum("ijkl,kl->ij", reverse, up))
    torch.testing.assert_close(pushed, dual)
    torch.testing.assert_close(pulled, torch.einsum("ij,ijkl->kl", up, reverse))
    if family.name != "cvar":
        assert pushed.abs().max() > 1e-3 and pulled.abs().max() > 1e-3


@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_vmap_equals_a_batch(family, with_prior):
    scores, amount, options = problem(family, with_prior, rows=6)
    whole = family.kernel(scores, amount, **options)
    prior, mask = options.get("prior"), options.get("mask")
    options = {"mask": mask[0]} if with_prior else {}

    def one(x, p):
        return family.kernel(x, amount, **options, **({} if p is None else {"prior": p}))

    mapped = torch.func.vmap(one, in_dims=(0, None if prior is None else 0))(scores, prior)
    torch.testing.assert_close(mapped, whole)
    pairs = torch.func.vmap(one, in_dims=(0, None))(scores.view(3, 2, 6), None if prior is None else prior[:2])
    assert pairs.shape == (3, 2, 6)
    up = direction(scores)
    per_row = torch.func.vmap(
        torch.func.grad(lambda x, p, u: (one(x, p) * u).sum()), in_dims=(0, None if prior is None else 0, 0)
    )
    leaf = scores.clone().requires_grad_()
    (family.kernel(leaf, amount, prior=prior, **options) if prior is not None else family.kernel(leaf, amount)).mul(
        up
    ).sum().backward()
    torch.testing.assert_close(per_row(scores, prior, up), leaf.grad)


@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
@pytest.mark.parametrize(("at", "to"), [(0, 0), (1, 2), (2, 1), (-1, 0)])
def test_gradients_mapped_over_batches_of_rows_equal_the_loop(family, with_prior, at, to):
    scores, prior = random(15, 6, seed=3)
    scores, prior = scores.view(3, 5, 6), prior.view(3, 5, 6)
    scale = torch.tensor([0.3, 1.0, 2.0, 4.0, 0.1])[:, None]  # rows of one batch differ in their multipliers too
    amount = feasible_cap(family, 6)
    up = direction(scores)

    def pull(x, p, u):
        return torch.func.grad(lambda z: (family.kernel(z, amount, **({"prior": p} if with_prior else {})) * u).sum())(
            x * scale
        )

    looped = torch.stack([pull(x, p, u) for x, p, u in zip(scores, prior, up, strict=True)], to)
    moved = [a.movedim(0, at) for a in (scores, prior, up)]
    mapped = torch.func.vmap(pull, in_dims=(at, at, at), out_dims=to)(*moved)
    torch.testing.assert_close(mapped, looped)


@pytest.mark.parametrize("forward", [False, True], ids=["transposed", "forward"])
@pytest.mark.parametrize("mapped", [(True, True), (True, False), (False, True)], ids=["both", "up", "numbers"])
@pytest.mark.parametrize("dims", [(0, 0), (1, 1), (2, 2), (1, 2), (-1, 0)], ids=str)
def test_a_pull_mapped_over_its_numbers_equals_the_loop(dims, mapped, forward):
    scores, prior = random(5, 6, seed=4)
    options = (prior, None, None, None, "auto")
    spec, rows, _ = make_rows("values", scores, "project_ball", options, ("radius", 0.5))
    weights, _, numbers, _ = weigh_rows(spec, rows)
    scales = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    ups = torch.stack([direction(scores) * (1 + i) for i in range(3)])
    several = torch.stack([numbers * s * torch.arange(1, 6) for s in scales])  # a factor of its own for every row

    def pull(u, m):
        return Pull.apply(spec, forward, u, scores, prior, None, weights, m)

    pairs = [(ups[i if mapped[0] else 0], several[i if mapped[1] else 0]) for i in range(3)]
    looped = torch.stack([pull(u, m) for u, m in pairs], dims[1])
    arguments = [a.movedim(0, dims[0]) if on else a[0] for a, on in zip((ups, several), mapped, strict=True)]
    in_dims = tuple(dims[0] if on else None for on in mapped)
    torch.testing.assert_close(torch.func.vmap(pull, in_dims, dims[1])(*arguments), looped)


@pytest.mark.parametrize("name", NAMES)
def test_the_op_passes_opcheck(name):
    scores, prior = random(3, 5, 2)
    mask = torch.ones(1, 5, dtype=torch.bool)
    lengths = torch.tensor([5, 4, 3])
    takes_prior = name != "entmax"
    caps = torch.full((1, 5), 0.6, dtype=torch.float64) if name == "project_capped_simplex" else None
    amounts = torch.full((3,), 0.4, dtype=torch.float64)
    for leaf in (scores, scores.clone().requires_grad_()):
        arguments = (
            leaf, prior if takes_prior else None, mask, lengths, amounts, caps, 0.0, 1.0, 1.5, torch.float64, "auto",
        )  # fmt: skip
        torch.library.opcheck(_OPS[name], arguments)


@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_compiled_without_a_graph_break_equals_eager(family, with_prior):
    scores, amount, options = problem(family, with_prior)
    up = direction(scores)
    torch._dynamo.reset()

    def loss(x):
        return (family.kernel(2 * x, amount, **options) * up).sum()

    results = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        leaf = scores.clone().requires_grad_()
        value = function(leaf)
        value.backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_compiled_by_inductor_with_values():
    scores, prior = random(4, 6, 3)

    def loss(x):
        solution = kernels.constrained(x, cp.ChiSquare(), 0.3, prior=prior)
        return solution.value.sum() + (solution.weights**2).sum()

    leaves = [scores.clone().requires_grad_() for _ in range(2)]
    loss(leaves[0]).backward()
    torch.compile(loss, fullgraph=True)(leaves[1]).backward()
    torch.testing.assert_close(leaves[1].grad, leaves[0].grad)


def test_forward_mode_under_compile_is_right_or_refused_not_silently_zero():
    scores, _ = random(4, 6, 4)
    up = direction(scores)

    def push(x, t):
        return torch.func.jvp(kernels.project_simplex, (x,), (t,))[1]

    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(push, backend="aot_eager")(scores, up), push(scores, up))
    torch._dynamo.reset()
    with pytest.raises(Exception, match="forward mode"):
        torch.compile(push, backend="aot_eager", fullgraph=True)(scores, up)


def test_differentiating_twice_raises():
    scores, _ = random(2, 4, 5)
    weights = kernels.project_simplex(scores.requires_grad_())
    (gradient,) = torch.autograd.grad(weights[0, 0], scores, create_graph=True)
    with pytest.raises(NotImplementedError, match="once, not twice"):
        gradient.sum().backward()
    with pytest.raises(NotImplementedError, match="once, not twice"):
        torch.func.hessian(lambda x: kernels.constrained(x, cp.KL(), 0.1).value.sum())(scores.detach())


def test_masked_atoms_have_no_gradient_whatever_their_score():
    scores = torch.tensor([0.0, 0.3, float("nan"), -float("inf"), float("inf")], requires_grad=True)
    mask = torch.tensor([True, True, False, True, False])
    for family in FAMILIES:
        amount = 0.9 if family.name == "project_capped_simplex" else family.amount
        scores.grad = None
        (family.kernel(scores, amount, mask=mask)[0] * 3).backward()
        assert torch.isfinite(scores.grad).all() and (scores.grad[2:] == 0).all(), family.name


def test_a_tangent_of_the_prior_is_refused():
    scores, prior = random(2, 4, 6)
    with pytest.raises((TypeError, NotImplementedError), match="counterpoise_adapters"):
        torch.func.jvp(lambda p: kernels.project_simplex(scores, prior=p), (prior,), (prior,))
    with pytest.raises(TypeError, match="counterpoise_adapters"):
        torch.func.grad(lambda p: kernels.project_simplex(scores, prior=p)[0, 0])(prior)
