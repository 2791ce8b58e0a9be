"""The torch path: the core's answers in every layout, every way to mask, and half precision."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import counterpoise as cp

torch = pytest.importorskip("torch")
from weight_kernels.problems import (  # noqa: E402
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

from counterpoise import kernels  # noqa: E402

IDS = [family.name for family in FAMILIES]
PRIOR_IDS = [f"{family.name}{', prior' * prior}" for family, prior in PRIORS]
SHAPES = [(1, 1), (3, 2), (5, 7), (700, 8), (40, 64), (3, 1500), (2, 1024), (2, 40000), (0, 4)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_every_layout_equals_the_core_in_float64(family, with_prior, shape):
    scores, prior = random(*shape, seed=sum(shape), masked=True)
    options = {"prior": prior} if with_prior else {}
    amount = feasible_cap(family, shape[1], 1 + int(0.3 * shape[1]))
    found = family.kernel(scores, amount, **options)
    close(found, family.core(scores, amount, **options), torch.float64, 32 * condition(family, scores, prior))


@pytest.mark.parametrize("shape", [(700, 8), (40, 64), (2, 2048), (2, 40000)], ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_float32_stays_near_the_float64_truth_and_rows_sum_to_one(family, shape):
    scores, _ = random(*shape, seed=1, dtype=torch.float32)
    amount = feasible_cap(family, shape[1])
    found = family.kernel(scores, amount)
    assert found.dtype == torch.float32
    close(found, family.core(scores.double(), amount), torch.float32, 16 * condition(family, scores))
    assert ((found.double().sum(-1) - 1).abs() <= 4 * torch.finfo(torch.float32).eps).all()


def long_row(kind, n, seed, dtype):
    """A row of that width, or a nasty one: all of it where it is constant, else a few among ordinary scores."""
    row = random(1, n, seed, dtype=dtype)[0][0] * (kind if isinstance(kind, float) else 1)
    if isinstance(kind, str):
        nasty = torch.tensor(NASTY[kind], dtype=dtype)
        row[(7 * torch.arange(len(nasty)) - 1 - seed) % n] = nasty
    return torch.full_like(row, nasty[0]) if kind in ("constant", "zeros", "all masked") else row


@pytest.mark.parametrize("alpha", [2.0, 1.5, 1.2])
@given(
    kinds=st.lists(st.sampled_from([1e-3, 0.03, 1.0, 30.0, *NASTY]), min_size=1, max_size=6),
    n=st.integers(1024, 1200), seed=st.integers(0, 99), dtype=st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_long_rows_of_every_width_side_by_side(alpha, kinds, n, seed, dtype):
    scores = torch.stack([long_row(kind, n, seed + i, dtype) for i, kind in enumerate(kinds)])
    family = BY_NAME[f"entmax {alpha}"]
    found = family.kernel(scores, alpha)
    bound = 16 * condition(family, scores).clamp(max=64)
    close(found, family.core(scores.double(), alpha), dtype, bound)
    whole = (scores != -math.inf).any(1) & ~scores.isnan().any(1)
    assert ((found.double().sum(-1) - 1).abs() <= 4 * torch.finfo(dtype).eps)[whole].all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("family", "with_prior"), PRIORS, ids=PRIOR_IDS)
def test_nasty_rows_get_what_the_core_gives(family, with_prior, dtype):
    scores = nasty(dtype)
    if dtype == torch.float32 and (family.name != "project_simplex" or with_prior):
        scores = scores[[kind != "largest floats" for kind in NASTY]]  # λ/range underflows there in float32
    prior = torch.tensor([1.0, 2.0, 0.5, 0.0, 1.0, 3.0], dtype=dtype).expand(len(scores), -1)
    options = {"prior": prior} if with_prior else {}
    amount = 1.2 if family.name == "project_capped_simplex" else family.amount
    found = family.kernel(scores, amount, **options)
    truth = family.core(scores.double(), amount, **{key: a.double() for key, a in options.items()})
    bound = condition(family, scores, prior)
    close(found, truth, dtype, 64 * (bound if with_prior and family.values else bound.clamp(max=64)))


@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_mask_lengths_and_minus_infinity_are_the_same_to_the_bit(family):
    scores, _ = random(60, 9, seed=2, dtype=torch.float32)
    lengths = torch.arange(60) % 10
    live = torch.arange(9) < lengths[:, None]
    amount = feasible_cap(family, 9, 9)
    ways = [
        family.kernel(torch.where(live, scores, -math.inf), amount),
        family.kernel(torch.where(live, scores, math.nan), amount, mask=live),
        family.kernel(torch.where(live, scores, math.inf), amount, lengths=lengths),
        family.kernel(scores, amount, lengths=lengths, mask=live[-1]),
    ]
    for other in ways[1:3]:
        assert torch.equal(torch.nan_to_num(other, -1), torch.nan_to_num(ways[0], -1))
    assert (ways[0].masked_fill(live, 0) == 0).logical_or(torch.isnan(ways[0])).all()
    assert (ways[0][0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_half_precision_accumulates_in_float32(family, dtype):
    scores, _ = random(50, 300, seed=3, dtype=dtype)
    amount = feasible_cap(family, 300)
    found = family.kernel(scores, amount)
    wide = family.kernel(scores, amount, out_dtype=torch.float32)
    assert found.dtype == dtype and wide.dtype == torch.float32
    assert torch.equal(found, wide.to(dtype))
    assert torch.equal(wide, family.kernel(scores.float(), amount))


@pytest.mark.parametrize("family", FAMILIES, ids=IDS)
def test_strides_and_batch_shapes_do_not_matter_and_inputs_stay(family):
    scores, _ = random(6, 8, seed=4)
    amount = feasible_cap(family, 8)
    plain = family.kernel(scores, amount)
    before = scores.clone()
    wide = torch.stack([scores, scores], -1)[..., 0]
    assert torch.equal(family.kernel(wide, amount), plain)
    assert torch.equal(family.kernel(scores.t().contiguous().t(), amount), plain)
    assert torch.equal(family.kernel(scores.view(2, 3, 8), amount), plain.view(2, 3, 8))
    assert torch.equal(family.kernel(scores[0], amount), plain[0])
    assert torch.equal(family.kernel(scores[:1].expand(5, 8), amount), plain[:1].expand(5, 8))
    assert torch.equal(scores, before)


@pytest.mark.parametrize("verb", ["penalized", "constrained", "cvar"])
def test_amounts_per_row_and_every_field_of_the_solution(verb):
    scores, prior = random(6, 8, seed=5)
    amounts = torch.linspace(0.05, 0.9, 6, dtype=torch.float64)
    divergence = () if verb == "cvar" else (cp.KL(),)
    found = getattr(kernels, verb)(scores, *divergence, amounts, prior=prior)
    truth = getattr(cp, verb)(scores, *divergence, amounts, prior=prior)
    for field, a, b in zip(truth._fields, found, truth, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, msg=field)


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("kind", list(NASTY))
def test_a_nasty_row_does_not_touch_its_neighbours(kind, rows):
    scores, _ = random(2 * rows + 1, 6, seed=6, dtype=torch.float32)
    scores[rows] = torch.tensor(NASTY[kind])
    alone = torch.stack([kernels.project_simplex(row) for row in scores])
    torch.testing.assert_close(kernels.project_simplex(scores), alone, rtol=0, atol=2e-7, equal_nan=True)


BAD = [
    (TypeError, "takes torch tensors", lambda: kernels.project_simplex([1.0])),
    (TypeError, "int64", lambda: kernels.project_simplex(torch.tensor([1, 2]))),
    (ValueError, "at least one value", lambda: kernels.project_simplex(torch.zeros(3, 0))),
    (ValueError, "do not broadcast", lambda: kernels.project_simplex(torch.zeros(3), prior=torch.ones(2))),
    (TypeError, "mask has dtype", lambda: kernels.project_simplex(torch.zeros(3), mask=torch.ones(3))),
    (TypeError, "lengths has dtype", lambda: kernels.project_simplex(torch.zeros(3), lengths=torch.ones(()))),
    (ValueError, "lengths has shape", lambda: kernels.project_simplex(torch.zeros(3), lengths=torch.ones(2).int())),
    (ValueError, "impl is 'cuda'", lambda: kernels.project_simplex(torch.zeros(3), impl="cuda")),
    (TypeError, "out_dtype", lambda: kernels.project_simplex(torch.zeros(3), out_dtype=torch.int32)),
    (TypeError, "a float or a tensor", lambda: kernels.project_ball(torch.zeros(3), "1")),
    (TypeError, "a float or a tensor", lambda: kernels.project_ball(torch.zeros(3), True)),
    (ValueError, "radius has shape", lambda: kernels.project_ball(torch.zeros(2, 3), torch.ones(3))),
    (ValueError, "alpha is 1", lambda: kernels.entmax(torch.zeros(3), alpha=1)),
    (TypeError, "CressieRead", lambda: kernels.penalized(torch.zeros(3), cp.CressieRead(3.0), 1.0)),
    (TypeError, "KL\\(\\) or ChiSquare", lambda: kernels.constrained(torch.zeros(3), cp.Hellinger(), 1.0)),
    (
        TypeError, "prior requires grad",
        lambda: kernels.project_simplex(torch.zeros(3), prior=torch.ones(3, requires_grad=True)),
    ),
    (
        TypeError, "radius requires grad",
        lambda: kernels.project_ball(torch.zeros(3), torch.ones((), requires_grad=True)),
    ),
    (ValueError, "one device", lambda: kernels.project_simplex(torch.zeros(3), prior=torch.ones(3, device="meta"))),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words", "call"), BAD, ids=[words for _, words, _ in BAD])
def test_wrong_arguments_say_so(error, words, call):
    with pytest.raises(error, match=words):
        call()


def test_wrong_values_set_a_status():
    losses = torch.arange(3.0).repeat(5, 1)
    losses[1, 0] = math.nan
    losses[2] = -math.inf
    prior = torch.ones(5, 3)
    prior[3, 1] = -1
    solution = kernels.constrained(losses, cp.KL(), torch.tensor([0.1, 0.1, 0.1, 0.1, -1.0]), prior=prior)
    assert [cp.Status(int(code)).name for code in solution.status] == [
        "CONVERGED", "NAN_LOSS", "EMPTY_PRIOR", "INVALID_PRIOR", "INVALID_AMOUNT",
    ]  # fmt: skip
    assert torch.isnan(solution.weights[[1, 3, 4]]).all() and (solution.weights[2] == 0).all()
