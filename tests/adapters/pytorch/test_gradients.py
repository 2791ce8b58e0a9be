"""Derivatives of weights and values: against finite differences, against each other, under every transform."""

import pytest

import counterpoise as cp

torch = pytest.importorskip("torch")
from counterpoise_adapters.pytorch import constrained, cvar, penalized  # noqa: E402

SMOOTH = [
    cp.KL(), cp.ChiSquare(), cp.CressieRead(1.5), cp.CressieRead(3.0), cp.CressieRead(-1.0), cp.ReverseKL(),
    cp.Hellinger(), cp.JensenShannon(),
]  # fmt: skip
VERBS = [penalized, constrained]
PARTS = ["weights", "value"]


def problem(seed=0, rows=3, n=5):
    generator = torch.Generator().manual_seed(seed)
    losses = torch.randn(rows, n, dtype=torch.float64, generator=generator)
    prior = torch.rand(rows, n, dtype=torch.float64, generator=generator) + 0.1
    amount = torch.rand(rows, dtype=torch.float64, generator=generator) * 0.1 + 0.05
    return losses.requires_grad_(), prior.requires_grad_(), amount.requires_grad_()


def solve(verb, divergence, amount):
    """A radius inside the ball's saturation, a penalty at which some but not all weights may vanish."""
    how_much = amount if verb is constrained else 12 * amount
    return lambda losses, prior: verb(losses, divergence, how_much, prior=prior)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("divergence", SMOOTH, ids=repr)
def test_reverse_and_forward_mode_agree_with_finite_differences(divergence, verb, part):
    torch.autograd.gradcheck(
        lambda losses, prior, amount: getattr(solve(verb, divergence, amount)(losses, prior), part),
        problem(),
        check_forward_ad=True,
        atol=1e-6,
    )


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cvar_agrees_with_finite_differences(smoothing, part):
    losses, prior, amount = problem()

    def run(losses, prior, level):
        return getattr(cvar(losses, level + 0.2, prior=prior, smoothing=smoothing), part)

    torch.autograd.gradcheck(run, (losses, prior, amount), check_forward_ad=True, atol=1e-6)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("divergence", SMOOTH, ids=repr)
def test_jacobian_of_the_weights_is_symmetric_and_leaves_shifts_alone(divergence, verb):
    losses, prior, amount = (a.detach()[0] for a in problem(1))
    jacobian = torch.func.jacrev(lambda x: solve(verb, divergence, amount)(x, prior).weights)(losses)
    size = jacobian.abs().max()
    assert size > 0.01
    assert (jacobian - jacobian.T).abs().max() <= 1e-12 * size
    assert jacobian.sum(-1).abs().max() <= 1e-12 * size


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("divergence", SMOOTH, ids=repr)
def test_functional_transforms_agree(divergence, verb):
    losses, prior, amount = (a.detach() for a in problem(2))
    direction = torch.arange(5.0, dtype=torch.float64)

    def weights(x, p, a):
        return solve(verb, divergence, a)(x, p).weights

    reverse = torch.func.vmap(torch.func.jacrev(weights))(losses, prior, amount)
    forward = torch.func.vmap(torch.func.jacfwd(weights))(losses, prior, amount)
    torch.testing.assert_close(reverse, forward, rtol=1e-10, atol=1e-12)

    _, pushed = torch.func.jvp(lambda x: weights(x, prior, amount), (losses,), (direction.expand_as(losses),))
    torch.testing.assert_close(pushed, (reverse @ direction), rtol=1e-10, atol=1e-12)
    assert pushed.abs().max() > 0.01  # a jvp that is silently zero is a known trap

    pulled = torch.func.grad(lambda x: (weights(x, prior, amount) * direction).sum())(losses)
    torch.testing.assert_close(pulled, (direction @ reverse), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("divergence", SMOOTH, ids=repr)
def test_batched_solutions_equal_vmapped_ones(divergence, verb):
    losses, prior, amount = (a.detach() for a in problem(3))
    whole = solve(verb, divergence, amount)(losses, prior).weights
    mapped = torch.func.vmap(lambda x, p, a: solve(verb, divergence, a)(x, p).weights)(losses, prior, amount)
    torch.testing.assert_close(mapped, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("divergence", [cp.KL(), cp.ChiSquare(), cp.CressieRead(1.5)], ids=repr)
@pytest.mark.parametrize("verb", VERBS)
def test_compiled_gradients_equal_eager_ones(verb, divergence):
    def loss(x, prior, amount):
        solution = solve(verb, divergence, amount)(x, prior)
        return (solution.weights**2).sum() + solution.value.sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (loss, compiled):
        arguments = problem(4)
        function(*arguments).backward()
        gradients.append([a.grad for a in arguments])
    for eager, traced in zip(*gradients, strict=True):
        torch.testing.assert_close(traced, eager, rtol=1e-12, atol=1e-12)


def test_masked_atoms_have_no_gradient_whatever_their_loss():
    losses = torch.tensor(
        [0.0, 1.0, float("nan"), -float("inf"), float("inf")], dtype=torch.float64, requires_grad=True
    )
    prior = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    solution = constrained(losses, cp.KL(), 0.1, prior=prior)
    (solution.weights[0] + solution.value).backward()
    assert torch.isfinite(losses.grad).all() and torch.isfinite(prior.grad).all()
    assert losses.grad[2:].abs().max() == 0 and prior.grad[2:].abs().max() == 0
    assert losses.grad[:2].abs().min() > 0


def test_saturated_weights_stand_still():
    losses = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    solution = constrained(losses, cp.KL(), 5.0)
    assert int(solution.status) == cp.Status.SATURATED
    (solution.weights * torch.tensor([3.0, 1.0, 2.0])).sum().backward()
    assert losses.grad.abs().max() == 0


def test_half_precision_keeps_its_dtype_and_reaches_the_leaf():
    losses = torch.tensor([0.0, 1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    solution = penalized(losses, cp.KL(), 1.0)
    assert solution.weights.dtype == torch.bfloat16
    solution.weights[2].backward()
    assert losses.grad.dtype == torch.bfloat16 and losses.grad[2] > 0


def test_the_core_refuses_to_be_differentiated_in_a_transform():
    with pytest.raises(TypeError, match=r"counterpoise_adapters\.pytorch"):
        torch.func.grad(lambda x: cp.penalized(x, cp.KL(), 1.0).weights[0])(torch.zeros(3))


def test_differentiating_twice_raises():
    losses, prior, amount = problem()
    weights = solve(constrained, cp.KL(), amount)(losses, prior).weights
    (gradient,) = torch.autograd.grad(weights[0, 0], losses, create_graph=True)
    with pytest.raises(NotImplementedError, match="once, not twice"):
        gradient.sum().backward()


@pytest.mark.parametrize("outer", [torch.func.jacrev, torch.func.jacfwd])
def test_differentiating_twice_under_transforms_raises(outer):
    value = torch.func.jacrev(lambda x: constrained(x, cp.KL(), 0.1).value)
    with pytest.raises(NotImplementedError, match="once, not twice"):
        outer(value)(torch.arange(4.0, dtype=torch.float64))


def test_total_variation_says_that_its_weights_have_no_derivative():
    losses = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    solution = constrained(losses, cp.TotalVariation(), 0.2)
    with pytest.raises(NotImplementedError, match="curvature"):
        solution.weights[0].backward()


def test_impl_chooses_who_solves_or_says_why_not():
    losses, prior, amount = (a.detach() for a in problem())
    auto = constrained(losses, cp.KL(), amount, prior=prior)
    reference = constrained(losses, cp.KL(), amount, prior=prior, impl="reference")
    assert torch.equal(auto.weights, reference.weights)
    with pytest.raises(TypeError, match="float64"):
        constrained(losses, cp.KL(), amount, impl="triton")
    with pytest.raises(TypeError, match="no kernel for Hellinger"):
        constrained(losses, cp.Hellinger(), amount, impl="triton")
    with pytest.raises(TypeError, match="no kernel"):
        cvar(losses, 0.5, smoothing=0.1, impl="triton")
    with pytest.raises(ValueError, match="impl is 'cuda'"):
        penalized(losses, cp.KL(), 1.0, impl="cuda")
