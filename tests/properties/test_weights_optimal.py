"""Every solution is feasible, and its duality gap, recomputed here, proves that none is better."""

import itertools
import math

import numpy as np
import pytest
from certify import certify
from formulas import DIVERGENCES, SMOOTH, VERBS, divergence, largest_radius, normalised
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems

import counterpoise as cp

both = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
every = pytest.mark.parametrize("d", DIVERGENCES, ids=repr)
smooth = pytest.mark.parametrize("d", SMOOTH, ids=repr)


@both
@every
@given(data=st.data())
def test_solutions_are_certified(d, verb, data):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    certify(losses, prior, d, verb, amount, verb(losses, d, amount, prior=prior))


@both
@every
@given(data=st.data(), exponent=st.integers(-8, 8), offset=st.sampled_from([0.0, 1.0, -1e3]))
def test_solutions_of_any_scale_are_certified(d, verb, data, exponent, offset):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    scale = 10.0**exponent
    losses = losses * scale + offset
    if np.ptp(losses[prior > 0]) < 1e-6 * abs(losses).max():
        return  # the offset has rounded the losses away
    amount = amount * scale if verb is cp.penalized else amount
    certify(losses, prior, d, verb, amount, verb(losses, d, amount, prior=prior))


@both
@every
@given(data=st.data())
def test_float32_solutions_are_certified(d, verb, data):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    narrow, masses = losses.round(6).astype(np.float32), prior.astype(np.float32)
    solution = verb(narrow, d, float(np.float32(amount)), prior=masses)
    assert solution.weights.dtype == np.float32
    certify(narrow.astype(np.float64), masses.astype(np.float64), d, verb, float(np.float32(amount)), solution)


def test_a_radius_far_below_rounding_is_kept():
    """Under a prior of 1e-34 on the top atom a radius of 1e-33 is not small; KL's two sums cannot tell it from 0."""
    prior, radius = np.array([1.0, 1e-34]), 1e-33
    for d in (cp.ChiSquare(), cp.Hellinger(), cp.JensenShannon()):
        q = cp.constrained(np.array([0.0, 1.0]), d, radius, prior=prior).weights
        # the other atom gives less than 1e-66
        assert 0.25 * radius <= prior[1] * float(d.f(q[1] / prior[1])) <= 2 * radius, d


@pytest.mark.parametrize("d", DIVERGENCES, ids=repr)
def test_a_subnormal_radius_is_none(d):
    solution = cp.constrained(np.array([[0.0, 1.0, 5.0]] * 3), d, np.array([5e-324, 2e-313, 0.0]))
    assert (solution.status == cp.Status.CONVERGED).all()
    assert (solution.weights == 1 / 3).all()


@pytest.mark.parametrize("n", range(2, 40))
def test_constant_losses_have_no_radius(n):
    prior = np.random.default_rng(n).uniform(size=n)
    for d in DIVERGENCES:
        assert cp.max_radius(d, np.ones(n), prior=prior) == 0


def test_a_multiplier_near_the_smallest_number_is_found():
    losses, prior = np.array([0.0, 1.0], np.float32), np.array([2.0, 314.19066029], np.float32)
    solution = cp.constrained(losses, cp.ReverseKL(), 0.5, prior=prior)
    assert 1.6e-35 < float(solution.multiplier) < 1.8e-35
    certify(losses.astype(float), prior.astype(float), cp.ReverseKL(), cp.constrained, 0.5, solution)


@every
@settings(max_examples=25)
@given(data=st.data())
def test_no_feasible_direction_improves(d, data):
    losses, prior, radius = data.draw(problems(d, "constrained", min_size=2))
    solution = cp.constrained(losses, d, radius, prior=prior)
    p = normalised(prior, losses)
    spread = np.ptp(losses[p > 0])
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    q = np.asarray(solution.weights)
    for _ in range(20):
        other = q * np.exp(generator.normal(size=q.shape) * 10.0 ** generator.uniform(-4, 0))
        other = other / other.sum()
        # pulled back towards the prior until it is feasible, as the ball is convex and holds the prior
        for share in (1.0, 0.9, 0.5, 0.1, 0.01):
            mixed = share * other + (1 - share) * p
            if divergence(d, mixed, p) <= radius:
                assert mixed @ losses <= float(solution.value) + 1e-12 * spread + 1e-14 * abs(losses).max()
                break


def small_worlds(most):
    """All worlds with losses in {0, 1, 2} and masses in {0, 1, 2}, up to order and shift."""
    atoms = [(loss, mass) for loss in range(3) for mass in range(3)]
    for n in range(1, most + 1):
        for world in itertools.combinations_with_replacement(atoms, n):
            losses, prior = np.array(world, dtype=np.float64).T
            if prior.sum() > 0:
                yield losses, prior


@both
@every
def test_every_small_world_is_certified(d, verb):
    for losses, prior in small_worlds(4):
        p = prior / prior.sum()
        most = largest_radius(d, p[losses == losses[prior > 0].max()].sum())
        amounts = np.array([0.0, 0.05, 0.5 if not math.isfinite(most) else 0.5 * most, 1.0, math.inf])
        solutions = verb(np.tile(losses, (5, 1)), d, amounts, prior=prior)
        for amount, *fields in zip(amounts.tolist(), *solutions, strict=True):
            certify(losses, prior, d, verb, amount, cp.Solution(*fields))


@pytest.mark.parametrize("n", [1, 2, 17, 1000, 20_000])
@both
@every
def test_long_rows_with_heavy_tails_are_certified(d, verb, n):
    generator = np.random.default_rng(n)
    losses = generator.standard_cauchy(n)
    prior = np.exp(3 * generator.normal(size=n))
    for amount in (1e-6, 0.03, 0.4):
        scaled = amount * (np.ptp(losses) or 1.0) if verb is cp.penalized else amount
        certify(losses, prior, d, verb, scaled, verb(losses, d, scaled, prior=prior))


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8, 1e30])
@both
@every
def test_scale_and_offset_are_ordinary_inputs(d, verb, scale):
    losses = np.array([0.0, 0.5, 1.0, 2.0, 2.0])
    amount = 0.3 if verb is cp.constrained else 0.3 * scale
    plain = verb(losses, d, 0.3)
    scaled = verb(losses * scale, d, amount)
    np.testing.assert_allclose(scaled.weights, plain.weights, rtol=0, atol=1e-14)
    assert float(scaled.value) == pytest.approx(float(plain.value) * scale, rel=1e-13)
    moved = verb(losses + 1e8, d, 0.3)
    np.testing.assert_allclose(moved.weights, plain.weights, rtol=0, atol=1e-13)


@smooth
def test_weights_just_inside_and_outside_saturation_meet(d):
    losses, prior = np.array([0.0, 1.0, 3.0, 3.0]), np.array([1.0, 2.0, 1.0, 0.5])
    most = largest_radius(d, 1.5 / 4.5)
    if not math.isfinite(most):
        assert int(cp.constrained(losses, d, 1e6, prior=prior).status) == cp.Status.CONVERGED
        assert float(cp.max_radius(d, losses, prior=prior)) == math.inf
        return
    assert float(cp.max_radius(d, losses, prior=prior)) == pytest.approx(most, rel=1e-14)
    outside = cp.constrained(losses, d, most * (1 + 1e-12), prior=prior)
    assert int(outside.status) == cp.Status.SATURATED and float(outside.multiplier) == 0
    inside = cp.constrained(losses, d, most * (1 - 1e-9), prior=prior)
    assert int(inside.status) == cp.Status.CONVERGED and float(inside.multiplier) > 0
    assert float(inside.value) == pytest.approx(3.0, abs=1e-3)
