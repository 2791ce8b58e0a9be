"""Against independent methods: 24-digit root-finding, an interior-point solver, a linear programme, exact fractions."""

import itertools
import math

import cvxpy
import mpmath as mp
import numpy as np
import pytest
from formulas import SMOOTH, VERBS, largest_radius
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import exact
from scipy.optimize import linprog

import counterpoise as cp

both = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
smooth = pytest.mark.parametrize("d", SMOOTH, ids=repr)


def hard_problems(d, verb):
    """Skewed priors, near ties, outliers, amounts from tiny to nearly saturated."""
    generator = np.random.default_rng(7)
    for n, skew, tail in ((2, 0.0, False), (3, 3.0, True), (5, 6.0, False)):
        losses = generator.standard_cauchy(n) if tail else generator.normal(size=n)
        prior = np.exp(skew * generator.normal(size=n))
        p = prior / prior.sum()
        if verb is cp.penalized:
            for size in (1e-3, 0.1, 5.0):
                yield losses, prior, size * np.ptp(losses)
        else:
            most = min(float(largest_radius(d, p[losses.argmax()])), 3.0)
            for share in (1e-8, 0.05, 0.7):
                yield losses, prior, share * most


@both
@smooth
def test_weights_and_value_to_nine_digits(d, verb):
    solve = exact.penalized if verb is cp.penalized else exact.constrained
    for losses, prior, amount in hard_problems(d, verb):
        want = solve(losses, prior, d, amount)
        solution = verb(losses, d, amount, prior=prior)
        np.testing.assert_allclose(solution.weights, np.array(want, dtype=float), rtol=0, atol=1e-11)
        value = sum(q * mp.mpf(float(x)) for q, x in zip(want, losses, strict=True))
        if verb is cp.penalized:
            p = [mp.mpf(float(x)) for x in prior]
            value -= mp.mpf(amount) * exact.distance(d, want, [x / sum(p) for x in p])
        assert abs(float(solution.value) - float(value)) <= 1e-12 * np.ptp(losses)
        narrow = verb(losses.astype(np.float32), d, amount, prior=prior.astype(np.float32))
        assert abs(float(narrow.value) - float(value)) <= 1e-5 * np.ptp(losses)


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
def test_chi_square_where_the_largest_losses_have_next_to_no_prior(verb, dtype, data):
    eps = float(np.finfo(dtype).eps)
    n = data.draw(st.integers(2, 6))
    losses = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=dtype)
    assume(np.ptp(losses) > 0)
    logs = data.draw(st.lists(st.floats(1.2 * math.log(eps), 0.0), min_size=n, max_size=n))
    prior = np.exp(logs).astype(dtype)
    share = data.draw(st.floats(1e-3, 0.999))
    if verb is cp.constrained:
        top = prior[losses == losses.max()].astype(float).sum() / prior.astype(float).sum()
        assume(top < 0.9)
        amount = float(dtype(share * (1 / top - 1)))
        want = exact.shrunk(losses.tolist(), prior.tolist(), radius=amount)
    else:
        amount = float(dtype(eps**share))
        want = exact.shrunk(losses.tolist(), prior.tolist(), penalty=amount)
    solution = verb(losses, cp.ChiSquare(), amount, prior=prior)
    assert int(solution.status) == cp.Status.CONVERGED
    np.testing.assert_allclose(solution.weights.astype(float), np.array(want, dtype=float), rtol=0, atol=32 * eps)


CONVEX = {
    cp.KL(): lambda q, p: cvxpy.sum(cvxpy.kl_div(q, p)),
    cp.ChiSquare(): lambda q, p: cvxpy.sum(cvxpy.multiply(1 / p, cvxpy.square(q - p))),
    cp.ReverseKL(): lambda q, p: cvxpy.sum(cvxpy.kl_div(p, q)),
    cp.Hellinger(): lambda q, p: 1 - cvxpy.sum(cvxpy.multiply(np.sqrt(p), cvxpy.sqrt(q))),
    cp.TotalVariation(): lambda q, p: 0.5 * cvxpy.norm1(q - p),
}


@pytest.mark.slow
@both
@pytest.mark.parametrize("d", CONVEX, ids=repr)
def test_small_worlds_against_an_interior_point_solver(d, verb):
    """Losses in {0, 1, 2}, masses in {1, 2}."""
    atoms = list(itertools.product(range(3), (1, 2)))
    for n in (2, 3):
        for world in itertools.combinations_with_replacement(atoms, n):
            losses, prior = np.array(world, dtype=float).T
            p = prior / prior.sum()
            if np.ptp(losses) == 0:
                continue
            q, amount = cvxpy.Variable(n, nonneg=True), 0.1
            objective, constraints = q @ losses, [cvxpy.sum(q) == 1]
            if verb is cp.penalized:
                objective = objective - amount * CONVEX[d](q, p)
            else:
                constraints.append(CONVEX[d](q, p) <= amount)
            value = cvxpy.Problem(cvxpy.Maximize(objective), constraints).solve(solver=cvxpy.CLARABEL)
            assert float(verb(losses, d, amount, prior=prior).value) == pytest.approx(value, abs=2e-6)


def test_cvar_and_total_variation_against_a_linear_programme():
    generator = np.random.default_rng(3)
    for _ in range(60):
        n = int(generator.integers(1, 8))
        losses = generator.integers(0, 5, n).astype(float)
        prior = generator.integers(0, 4, n) + 1.0 * (np.arange(n) == 0)
        p = prior / prior.sum()
        level, radius = generator.uniform(0.05, 1.0), generator.uniform(0.0, 1.0)
        cap = linprog(-losses, A_eq=np.ones((1, n)), b_eq=[1], bounds=np.stack([0 * p, p / level], axis=1))
        assert float(cp.cvar(losses, level, prior=prior).value) == pytest.approx(-cap.fun, abs=1e-9)
        # q = p + up − down, Σ up = Σ down ≤ ρ, only where there is prior
        bounds = [(0, 1 if mass else 0) for mass in p] + [(0, mass) for mass in p]
        moved = linprog(
            np.concatenate([-losses, losses]), A_eq=[[1] * n + [-1] * n], b_eq=[0],
            A_ub=[[1] * n + [0] * n], b_ub=[radius], bounds=bounds,
        )  # fmt: skip
        value = float(cp.constrained(losses, cp.TotalVariation(), radius, prior=prior).value)
        assert value == pytest.approx(losses @ p - moved.fun, abs=1e-9)


def test_smoothed_cvar_against_an_interior_point_solver():
    generator = np.random.default_rng(5)
    for _ in range(15):
        n = int(generator.integers(2, 7))
        losses, prior = generator.normal(size=n), generator.uniform(0.1, 2.0, n)
        p, level, penalty = prior / prior.sum(), generator.uniform(0.2, 0.9), 10.0 ** generator.uniform(-1.5, 1)
        q = cvxpy.Variable(n, nonneg=True)
        objective = q @ losses - penalty * cvxpy.sum(cvxpy.kl_div(q, p))
        problem = cvxpy.Problem(cvxpy.Maximize(objective), [cvxpy.sum(q) == 1, q <= p / level])
        value = problem.solve(solver=cvxpy.CLARABEL)
        solution = cp.cvar(losses, level, prior=prior, smoothing=penalty)
        assert float(solution.value) == pytest.approx(value, abs=2e-6)
        assert (solution.weights <= p / level * (1 + 1e-12)).all()
        assert abs(float(solution.gap)) <= 1e-12
