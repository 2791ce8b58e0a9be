"""Weights by rank, over groups, and by projection: against definitions spelt out, and against each other."""

import cvxpy
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import losses_and_priors

import counterpoise as cp

SPECTRA = [cp.Superquantile(0.3), cp.Superquantile(1.0), cp.Extremile(1.0), cp.Extremile(3.5), cp.Exponential(2.0)]
spectra = pytest.mark.parametrize("spectrum", SPECTRA, ids=repr)


@spectra
@given(problem=losses_and_priors())
def test_spectral_weights_are_differences_of_the_spectrum_by_rank(spectrum, problem):
    losses, prior = problem
    p, want, above = prior / prior.sum(), np.zeros(len(losses)), 0.0
    for loss in sorted(set(losses[prior > 0]), reverse=True):
        tied = (losses == loss) & (prior > 0)
        below = min(above + p[tied].sum(), 1.0)
        top = spectrum.top(np.array([above, below]))
        want[tied] = p[tied] / p[tied].sum() * (top[1] - top[0])
        above = below
    solution = cp.spectral(losses, spectrum, prior=prior)
    np.testing.assert_allclose(solution.weights, want, rtol=0, atol=1e-14)
    assert float(solution.value) == pytest.approx(want @ losses, abs=1e-13 * max(np.abs(losses).max(), 1))
    assert abs(float(solution.gap)) <= 1e-13 * max(np.ptp(losses), 1e-300)
    assert int(solution.status) == cp.Status.CONVERGED


@given(problem=losses_and_priors(), level=st.floats(0.01, 1.0))
def test_the_superquantile_is_cvar(problem, level):
    losses, prior = problem
    a = cp.spectral(losses, cp.Superquantile(level), prior=prior)
    b = cp.cvar(losses, level, prior=prior)
    np.testing.assert_allclose(a.weights, b.weights, rtol=0, atol=1e-13)
    assert int(b.status) == cp.Status.CONVERGED


def test_the_extremile_is_the_expected_largest_of_r_draws():
    losses, p = np.array([0.0, 1.0, 4.0]), np.array([0.5, 0.3, 0.2])
    draws = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)
    want = (p[draws].prod(axis=1) * losses[draws].max(axis=1)).sum()
    assert float(cp.spectral(losses, cp.Extremile(3.0), prior=p).value) == pytest.approx(want, rel=1e-14)


def test_a_small_exponential_is_the_mean_and_a_large_one_the_maximum():
    losses = np.array([0.0, 1.0, 5.0])
    assert float(cp.spectral(losses, cp.Exponential(1e-9)).value) == pytest.approx(2.0, abs=1e-8)
    assert float(cp.spectral(losses, cp.Exponential(1e4)).value) == pytest.approx(5.0)


@pytest.mark.parametrize("n", [1, 2, 1000, 100_000])
def test_long_rows_keep_their_certificate(n):
    losses = np.round(np.random.default_rng(n).standard_cauchy(n), 2)
    for spectrum in SPECTRA:
        solution = cp.spectral(losses, spectrum)
        assert int(solution.status) == cp.Status.CONVERGED
        assert abs(float(solution.weights.sum()) - 1) < 1e-12
    assert int(cp.cvar(losses, 0.1).status) == cp.Status.CONVERGED


@given(problem=losses_and_priors(max_size=9), data=st.data())
def test_group_weights_are_the_verbs_over_group_means(problem, data):
    losses, prior = problem
    groups = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(losses), max_size=len(losses))))
    adjustment = data.draw(st.sampled_from([0.0, 0.7]))
    p = prior / prior.sum()
    live = [g for g in range(4) if p[groups == g].sum() > 0]
    mass = np.array([p[groups == g].sum() for g in live])
    mean = np.array([p[groups == g] @ losses[groups == g] for g in live]) / mass
    size = np.array([((groups == g) & (p > 0)).sum() for g in live])
    mean = mean + adjustment / np.sqrt(size)
    assume(len(live) == 1 or np.diff(np.sort(mean)).min() > 1e-6)  # else rounding decides which group is the worst
    cases = [
        ({}, cp.penalized(mean, cp.KL(), 0.0, prior=mass)),
        ({"divergence": cp.KL(), "penalty": 0.5}, cp.penalized(mean, cp.KL(), 0.5, prior=mass)),
        ({"divergence": cp.ChiSquare(), "radius": 0.2}, cp.constrained(mean, cp.ChiSquare(), 0.2, prior=mass)),
    ]
    for how, over in cases:
        found = cp.group_weights(losses, groups, n_groups=4, prior=prior, size_adjustment=adjustment, **how)
        want = np.zeros(len(losses))
        for g, m, w in zip(live, mass, np.asarray(over.weights), strict=True):
            want[groups == g] = w * p[groups == g] / m
        np.testing.assert_allclose(found.weights, want, rtol=0, atol=1e-7)
        assert float(found.value) == pytest.approx(float(over.value), abs=1e-10)
        same = cp.group_dro(losses, groups, n_groups=4, prior=prior, size_adjustment=adjustment, **how)
        np.testing.assert_array_equal(same.weights, found.weights)


def test_masks_and_infinities_in_groups():
    losses, groups = np.array([1.0, -np.inf, np.inf, np.nan]), np.array([0, 0, 1, 0])
    found = cp.group_weights(losses, groups, n_groups=3, prior=np.array([1.0, 1.0, 1.0, 0.0]))
    assert found.weights.tolist() == [0, 0, 1, 0] and float(found.value) == np.inf
    bad = cp.group_weights(losses, groups, n_groups=3)
    assert int(bad.status) == cp.Status.NAN_LOSS and np.isnan(bad.weights).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_groups_may_be_of_a_dtype_too_narrow_for_their_number(dtype):
    torch = pytest.importorskip("torch")
    losses, groups = np.array([1.0, 2.0, 3.0, 0.5]), np.array([44, 44, 3, 100])  # 300 is 44 in eight bits
    want = cp.group_weights(losses, groups, n_groups=400, divergence=cp.KL(), penalty=1.0)
    narrow = torch.tensor(groups, dtype=getattr(torch, dtype))
    found = cp.group_weights(torch.tensor(losses), narrow, n_groups=400, divergence=cp.KL(), penalty=1.0)
    np.testing.assert_allclose(found.weights, want.weights, rtol=1e-12)
    assert int(found.status) == cp.Status.CONVERGED


def project(values, p, cap=np.inf, radius=None):
    w = cvxpy.Variable(len(p), nonneg=True)
    constraints = [cvxpy.sum(w) == 1, *([w <= cap] if np.all(np.isfinite(cap)) else [])]
    if radius is not None:
        constraints.append(cvxpy.sum(cvxpy.multiply(1 / p, cvxpy.square(w - p))) <= radius)
    objective = cvxpy.Minimize(cvxpy.sum(cvxpy.multiply(1 / p, cvxpy.square(w - values))))
    cvxpy.Problem(objective, constraints).solve(solver=cvxpy.CLARABEL)
    return w.value


def test_projections_against_an_interior_point_solver():
    generator = np.random.default_rng(0)
    for _ in range(40):
        n = int(generator.integers(1, 7))
        values, prior = generator.normal(size=n), generator.uniform(0.2, 2.0, n)
        p, cap, radius = prior / prior.sum(), generator.uniform(1.0, 2.0, n) / n, 10.0 ** generator.uniform(-2, 0.5)
        for ours, theirs in (
            (cp.project_simplex(values, prior=prior), project(values, p)),
            (cp.project_capped_simplex(values, cap=cap, prior=prior), project(values, p, cap=cap)),
            (cp.project_ball(values, cp.ChiSquare(), radius, prior=prior), project(values, p, radius=radius)),
        ):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


@given(problem=losses_and_priors(), cap=st.floats(0.2, 2.0), scale=st.integers(-30, 30))
def test_projections_obey_their_optimality_conditions(problem, cap, scale):
    """w = clip(v + τp, 0, c): one τ serves all atoms that are at neither bound."""
    values, prior = problem
    values, p = values * 10.0**scale, prior / prior.sum()
    caps = np.full(len(p), max(cap, 1.1 / (p > 0).sum()))
    for w, c in (
        (cp.project_simplex(values, prior=prior), np.full(len(p), np.inf)),
        (cp.project_capped_simplex(values, cap=float(caps[0]), prior=prior), caps),
    ):
        assert abs(w.sum() - 1) <= 1e-14 * (1 + len(p)) and (w >= 0).all() and (w <= c).all() and (w[p == 0] == 0).all()
        live = p > 0
        shift = (w[live] - values[live]) / p[live]  # τ, where free; at least τ at 0, at most τ at the cap
        at_zero, at_cap = w[live] == 0, w[live] >= c[live]
        rounding = 1e-12 * (np.abs(values[live] / p[live]).max() + 1 / p[live].min())
        low = shift[~at_zero].max()
        assert (shift[at_zero] >= low - rounding).all()
        free = shift[~at_zero & ~at_cap]
        assert free.size == 0 or np.ptp(free) <= rounding
        assert free.size == 0 or (shift[at_cap] <= free.min() + rounding).all()


def thresholded(v, p, radius=None):
    """Project in float64 and products by halving τ two hundred times: w = (v + τp)₊/s."""
    v, p = v.astype(float), p.astype(float) / p.astype(float).sum()

    def at(tau):
        return np.maximum(v + tau * p, 0)

    def root(excess):
        high = 2 * (1 + np.abs(v).max()) / p.min() * (1 + (radius or 1.0) ** -0.5)  # a small ball is met from afar
        low = -high
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(at(middle)) < 0 else (low, middle)
        return at(high)

    w = root(lambda w: w.sum() - 1)
    if radius is None or (w**2 / p).sum() - 1 <= radius:
        return w
    w = root(lambda w: -1 if w.sum() == 0 else radius - ((w / w.sum()) ** 2 / p).sum() + 1)
    return w / w.sum()


@given(st.data())
def test_projections_err_by_a_rounding_however_many_decades_the_prior_spans(data):
    n, decades = data.draw(st.integers(2, 9)), data.draw(st.floats(0, 8))
    unit = st.floats(0, 1, width=32)
    prior = np.asarray([10 ** (-decades * data.draw(unit)) for _ in range(n)], dtype=np.float32)
    scale = data.draw(st.sampled_from([prior, np.sqrt(prior), np.ones(n)]))
    values = np.asarray([data.draw(st.floats(-2, 2, width=32)) for _ in range(n)] * scale, dtype=np.float32)
    radius = data.draw(st.sampled_from([1e-3, 0.3, 10.0]))
    bound = 32 * np.finfo(np.float32).eps  # of weights and values of about 1
    for found, exact in (
        (cp.project_simplex(values, prior=prior), thresholded(values, prior)),
        (cp.project_ball(values, cp.ChiSquare(), radius, prior=prior), thresholded(values, prior, radius=radius)),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, exact, rtol=0, atol=bound)


@pytest.mark.parametrize("scale", [1e-30, 1e9, 1e16, 1e23, 1e30])
def test_projections_in_float32_are_those_in_float64_at_any_scale(scale):
    """A weight of 1 may be far less than a rounding of the values."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(size=(40, 7)), rng.integers(-2, 3, size=(40, 7))]) * scale
    values, prior = values.astype(np.float32), (rng.random((80, 7)) + 0.01).astype(np.float32)
    for function in (
        cp.project_simplex,
        lambda v, prior: cp.project_capped_simplex(v, cap=1.5, prior=prior),
        lambda v, prior: cp.project_ball(v, cp.ChiSquare(), 0.4, prior=prior),
        lambda v, prior: cp.project_ball(v, cp.ChiSquare(), 9.0, prior=prior),
    ):
        exact = function(values.astype(float), prior=prior.astype(float))
        np.testing.assert_allclose(function(values, prior=prior), exact, rtol=0, atol=3e-6)
        np.testing.assert_allclose(exact.sum(axis=-1), 1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("with_prior", [False, True])
def test_projecting_without_the_masked_atoms_gives_the_same(with_prior):
    values, prior = np.random.default_rng(1).normal(size=(2, 20, 5))
    masked = np.concatenate([values, np.full((20, 2), -np.inf)], axis=1)
    p = np.exp(prior) if with_prior else None
    padded = np.concatenate([p, np.full((20, 2), 2.0)], axis=1) if with_prior else None
    for function in (
        cp.project_simplex,
        lambda v, prior: cp.project_capped_simplex(v, cap=0.3, prior=prior),
        lambda v, prior: cp.project_ball(v, cp.ChiSquare(), 0.4, prior=prior),
    ):
        found = function(masked, prior=padded)
        assert (found[:, 5:] == 0).all()
        np.testing.assert_allclose(found[:, :5], function(values, prior=p), rtol=0, atol=1e-14)


def test_projecting_a_projection_changes_nothing():
    values = np.random.default_rng(0).normal(size=(50, 9))
    for function in (
        cp.project_simplex,
        lambda v: cp.project_capped_simplex(v, cap=0.25),
        lambda v: cp.project_ball(v, cp.ChiSquare(), 0.4),
    ):
        once = function(values)
        np.testing.assert_allclose(function(once), once, rtol=0, atol=1e-15)
