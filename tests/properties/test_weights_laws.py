"""Laws that hold between solutions: symmetries, derivatives, monotonicity, limits, relatives."""

import math
import warnings

import numpy as np
import pytest
from formulas import DIVERGENCES, SMOOTH, VERBS, divergence, largest_radius, normalised
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import losses_and_priors, problems

import counterpoise as cp

both = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
every = pytest.mark.parametrize("d", DIVERGENCES, ids=repr)
smooth = pytest.mark.parametrize("d", SMOOTH, ids=repr)
NAN, INF = math.nan, math.inf


def close(a, b, atol=1e-11):
    np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def tame(d, verb, losses, prior, amount):
    """Leave out what is ill-conditioned in itself: radii within rounding of saturation or of nothing."""
    p = normalised(prior, losses)
    if verb is cp.constrained:
        most = largest_radius(d, p[losses == losses[p > 0].max()].sum())
        assume(amount > 1e-8 and not 0.999 < amount / max(float(most), 1e-300) < 1.001)
    if verb is cp.penalized and isinstance(
        d, cp.TotalVariation
    ):  # a linear programme: weights jump where λ is a distance
        assume(np.abs(losses[p > 0].max() - losses - amount).min() > 1e-6)
    assume(np.ptp(losses[p > 0]) > 0.1)


@both
@every
@given(data=st.data())
def test_permuting_the_atoms_permutes_the_weights(d, verb, data):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    tame(d, verb, losses, prior, amount)
    order = np.array(data.draw(st.permutations(range(len(losses)))))
    close(
        verb(losses[order], d, amount, prior=prior[order]).weights,
        np.asarray(verb(losses, d, amount, prior=prior).weights)[order],
    )


@both
@every
@given(data=st.data(), shift=st.floats(-100, 100), factor=st.floats(1e-8, 1e8), mass=st.floats(1e-8, 1e8))
def test_shifts_scales_and_prior_scales_change_nothing(d, verb, data, shift, factor, mass):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    tame(d, verb, losses, prior, amount)
    plain = verb(losses, d, amount, prior=prior)
    scaled = verb(losses * factor, d, amount * factor if verb is cp.penalized else amount, prior=prior * mass)
    close(scaled.weights, plain.weights)
    assert float(scaled.value) == pytest.approx(float(plain.value) * factor, rel=1e-11, abs=1e-11 * factor)
    close(verb(losses + shift, d, amount, prior=prior).weights, plain.weights, atol=1e-9)


@both
@every
@given(data=st.data(), share=st.floats(0.05, 0.95))
def test_splitting_an_atom_splits_its_weight(d, verb, data, share):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    tame(d, verb, losses, prior, amount)
    plain = verb(losses, d, amount, prior=prior)
    parts = np.append(prior, (1 - share) * prior[0])
    parts[0] = share * prior[0]
    split = verb(np.append(losses, losses[0]), d, amount, prior=parts)
    close(split.weights[0] + split.weights[-1], plain.weights[0])
    close(split.weights[1:-1], plain.weights[1:])
    close(split.weights[0] * (1 - share), split.weights[-1] * share)


@both
@every
@given(data=st.data(), padding=st.lists(st.sampled_from([0.0, 1e30, -1e30, INF, -INF, NAN]), min_size=1, max_size=3))
def test_atoms_without_prior_do_not_exist_whatever_their_loss(d, verb, data, padding):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    tame(d, verb, losses, prior, amount)
    plain = verb(losses, d, amount, prior=prior)
    padded = verb(np.append(losses, padding), d, amount, prior=np.append(prior, np.zeros(len(padding))))
    for name in ("value", "multiplier", "shift"):
        assert float(getattr(padded, name)) == pytest.approx(float(getattr(plain, name)), rel=1e-9, abs=1e-12)
    close(padded.weights[: len(losses)], plain.weights)
    assert (np.asarray(padded.weights)[len(losses) :] == 0).all()


@both
@every
def test_a_loss_of_minus_infinity_is_a_mask(d, verb):
    masked = verb(np.array([0.0, 1.0, -INF, 2.0]), d, 0.2, prior=np.array([1.0, 2.0, 3.0, 1.0]))
    gone = verb(np.array([0.0, 1.0, 2.0]), d, 0.2, prior=np.array([1.0, 2.0, 1.0]))
    assert masked.weights[2] == 0
    close(np.delete(masked.weights, 2), gone.weights)


@every
def test_an_infinite_loss_takes_all_mass_that_the_constraint_allows(d):
    losses, prior = np.array([0.0, INF, -5.0, INF]), np.array([1.0, 1.0, 2.0, 3.0])
    free = cp.penalized(losses, d, 1.0, prior=prior)
    close(free.weights, [0, 0.25, 0, 0.75])
    assert float(free.value) == INF
    most = largest_radius(d, 4 / 7)
    radius = 0.3 * float(most) if math.isfinite(most) else 0.3
    bound = cp.constrained(losses, d, radius, prior=prior)
    assert float(bound.value) == INF and int(bound.status) == cp.Status.CONVERGED
    q = np.asarray(bound.weights)
    p = prior / prior.sum()
    assert float(divergence(d, q, p)) == pytest.approx(radius, rel=1e-9)
    close(q[1] / q[3], 1 / 3)
    if not isinstance(d, cp.TotalVariation):
        close(q[0] / q[2], 1 / 2)


@both
@every
def test_batched_rows_equal_single_ones_twelve_orders_apart(d, verb):
    generator = np.random.default_rng(0)
    losses = generator.normal(size=(3, 5, 6)) * 10.0 ** np.array([-6, 0, 6])[:, None, None]
    losses[1, 2] = 1.0
    prior = generator.integers(0, 3, (5, 6)) + np.array([1.0, 0, 0, 0, 0, 0])
    amount = generator.uniform(0.01, 0.3, (3, 5)) * (np.ptp(losses, axis=-1) + 1e-9 if verb is cp.penalized else 1)
    whole = verb(losses, d, amount, prior=prior)
    for i in np.ndindex(3, 5):
        single = verb(losses[i], d, float(amount[i]), prior=prior[i[1]])
        for name, ours, theirs in zip(cp.Solution._fields, whole, single, strict=True):
            np.testing.assert_allclose(ours[i], theirs, rtol=1e-12, atol=1e-13, err_msg=name)


@both
@every
def test_large_batches_go_in_blocks_without_a_trace(d, verb):
    """Above 131,072 elements rows are solved in blocks; the answer must not show where they were cut."""
    generator = np.random.default_rng(1)
    losses = generator.normal(size=(2100, 64))
    amount = 10 ** generator.uniform(-3, 1.5, 2100)  # across every threshold of rough and fine sums
    whole = verb(losses, d, amount)
    for start in (0, 1000, 2090):
        part = verb(losses[start : start + 10], d, amount[start : start + 10])
        np.testing.assert_array_equal(whole.weights[start : start + 10], part.weights)
        np.testing.assert_array_equal(whole.status[start : start + 10], part.status)


@smooth
@given(data=st.data())
def test_derivatives_of_the_value_are_weights_multiplier_and_divergence(d, data):
    losses, prior, radius = data.draw(problems(d, "constrained", min_size=2))
    tame(d, cp.constrained, losses, prior, radius)
    assume(radius > 1e-4)
    step = 1e-5
    solution = cp.constrained(losses, d, radius, prior=prior)
    direction = np.linspace(-1, 1, len(losses))
    ahead = cp.constrained(losses + step * direction, d, radius, prior=prior).value
    behind = cp.constrained(losses - step * direction, d, radius, prior=prior).value
    # the value is convex in the losses: its slope lies between the one-sided ones
    slope = float(solution.weights @ direction)
    assert (solution.value - behind) / step - 1e-8 <= slope <= (ahead - solution.value) / step + 1e-8
    h = 1e-4 * radius
    up, down = (float(cp.constrained(losses, d, radius + s, prior=prior).value) for s in (h, -h))
    low, high = (up - float(solution.value)) / h, (float(solution.value) - down) / h
    assert low - 1e-8 * high - 1e-9 <= float(solution.multiplier) <= high * (1 + 1e-8) + 1e-9


@smooth
@given(data=st.data())
def test_the_value_falls_with_the_penalty_at_the_rate_of_the_divergence(d, data):
    losses, prior, penalty = data.draw(problems(d, "penalized", min_size=2))
    tame(d, cp.penalized, losses, prior, penalty)
    solution = cp.penalized(losses, d, penalty, prior=prior)
    spent = float(divergence(d, np.asarray(solution.weights), normalised(prior, losses)))
    h = 1e-4 * penalty
    up, down = (float(cp.penalized(losses, d, penalty + s, prior=prior).value) for s in (h, -h))
    rounding = 1e-13 * np.abs(losses).max() / h
    assert (up - float(solution.value)) / h >= -spent - rounding  # convex in λ, slope −D
    assert (float(solution.value) - down) / h <= -spent + rounding


@every
@settings(max_examples=25)
@given(data=st.data())
def test_the_value_rises_with_the_radius_and_bends_down(d, data):
    losses, prior = data.draw(losses_and_priors(min_size=2))
    assume(np.ptp(losses[prior > 0]) > 0.1)
    radii = np.linspace(0.0, 1.0, 21)
    values = np.asarray(cp.constrained(np.tile(losses, (21, 1)), d, radii, prior=prior).value)
    slopes = np.diff(values)
    assert (slopes >= -1e-13).all()
    assert (np.diff(slopes) <= 1e-12).all()


@both
@every
@given(data=st.data())
def test_larger_losses_never_weigh_less_than_their_share(d, verb, data):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    solution = verb(losses, d, amount, prior=prior)
    live = prior > 0
    ratio = (np.asarray(solution.weights)[live] / prior[live])[np.argsort(losses[live], kind="stable")]
    assert (np.diff(ratio) >= -1e-9 * ratio.max()).all()


@every
def test_limits(d):
    losses, prior = np.array([0.0, 1.0, 3.0, 3.0]), np.array([1.0, 2.0, 1.0, 0.5])
    p, top = prior / prior.sum(), np.array([0, 0, 2 / 3, 1 / 3])
    for verb, none, all_ in ((cp.penalized, INF, 0.0), (cp.constrained, 0.0, INF)):
        close(verb(losses, d, none, prior=prior).weights, p, atol=1e-15)
        assert int(verb(losses, d, none, prior=prior).status) == cp.Status.CONVERGED
        close(verb(losses, d, all_, prior=prior).weights, top, atol=1e-15)
        assert int(verb(losses, d, all_, prior=prior).status) == cp.Status.SATURATED
    close(cp.penalized(losses, d, 1e9, prior=prior).weights, p, atol=1e-8)
    close(cp.constrained(losses, d, 1e-14, prior=prior).weights, p, atol=1e-6)
    close(cp.penalized(losses, d, 1e-9, prior=prior).weights, top, atol=1e-4)


@both
@every
@pytest.mark.parametrize("n", [1, 2, 5])
def test_constant_losses_give_the_prior(d, verb, n):
    prior = np.arange(1.0, n + 1)
    for value in (0.0, -7.5, 1e30, 1e-30):
        for amount in (0.0, 1e-9, 0.3, 1e9):
            solution = verb(np.full(n, value), d, amount, prior=prior)
            close(solution.weights, prior / prior.sum(), atol=1e-15)
            assert float(solution.value) == pytest.approx(value, rel=1e-14)
            assert int(solution.status) < cp.Status.NOT_CONVERGED


@smooth
@given(data=st.data())
def test_a_penalty_and_the_radius_that_it_spends_agree(d, data):
    losses, prior, penalty = data.draw(problems(d, "penalized", min_size=2))
    tame(d, cp.penalized, losses, prior, penalty)
    free = cp.penalized(losses, d, penalty, prior=prior)
    p = normalised(prior, losses)
    spent = float(divergence(d, np.asarray(free.weights), p))
    most = float(largest_radius(d, p[losses == losses[p > 0].max()].sum()))
    assume(1e-7 < spent < 0.999 * most)
    bound = cp.constrained(losses, d, spent, prior=prior)
    close(bound.weights, free.weights, atol=1e-7)
    nearby = cp.penalized(losses, d, 1.001 * penalty, prior=prior)
    if abs(float(divergence(d, np.asarray(nearby.weights), p)) - spent) > 1e-10:
        # else the radius hardly depends on the penalty, and rounding it moves the penalty that it stands for
        assert float(bound.multiplier) == pytest.approx(penalty, rel=1e-5)


@both
@given(data=st.data())
def test_cressie_read_meets_its_relatives(verb, data):
    losses, prior, amount = data.draw(problems(cp.KL(), verb.__name__))
    tame(cp.KL(), verb, losses, prior, amount)
    pairs = [
        (cp.CressieRead(1.0), cp.KL(), 1.0),
        (cp.CressieRead(0.0), cp.ReverseKL(), 1.0),
        (cp.CressieRead(0.5), cp.Hellinger(), 4.0),
        (cp.CressieRead(2.0), cp.ChiSquare(), 0.5),
    ]
    for power, relative, times in pairs:
        # power = times · relative: a penalty shrinks by that factor, a radius grows by it
        tame(relative, verb, losses, prior, amount)
        scaled = amount / times if verb is cp.penalized else amount * times
        close(verb(losses, power, scaled, prior=prior).weights, verb(losses, relative, amount, prior=prior).weights)


@both
@pytest.mark.parametrize(("limit", "d"), [(1.0, cp.KL()), (0.0, cp.ReverseKL())])
def test_cressie_read_passes_through_its_limits_without_a_jump(verb, limit, d):
    losses, prior = np.array([0.0, 0.3, 1.0, -2.0]), np.array([1.0, 3.0, 0.5, 2.0])
    centre = verb(losses, d, 0.3, prior=prior).weights
    for step in (1e-3, 1e-6, 1e-9, 1e-12):
        for a in (limit - step, limit + step):
            close(verb(losses, cp.CressieRead(a), 0.3, prior=prior).weights, centre, atol=step + 1e-12)


@both
@every
@given(data=st.data())
def test_float32_tracks_float64(d, verb, data):
    losses, prior, amount = data.draw(problems(d, verb.__name__))
    tame(d, verb, losses, prior, amount)
    losses, prior = losses.round(3), prior.astype(np.float32).astype(np.float64)
    assume(np.ptp(losses[prior > 0]) > 0.1)
    wide = verb(losses, d, amount, prior=prior)
    narrow = verb(losses.astype(np.float32), d, amount, prior=prior.astype(np.float32))
    assert abs(float(narrow.value) - float(wide.value)) <= 1e-5 * np.abs(losses).max() + 1e-6 * amount * (
        verb is cp.penalized
    )


@both
@every
def test_inputs_are_left_alone_even_read_only(d, verb):
    losses, prior, amount = np.array([[0.0, 1.0, NAN]]), np.array([1.0, 2.0, 0.0]), np.array([0.1])
    kept = [a.copy() for a in (losses, prior, amount)]
    for a in (losses, prior, amount):
        a.flags.writeable = False
    verb(losses, d, amount, prior=prior)
    for a, b in zip((losses, prior, amount), kept, strict=True):
        np.testing.assert_array_equal(a, b)


@both
@every
def test_no_prior_is_a_prior_of_ones(d, verb):
    """Where no prior is given it is a factor, and an array where ones are: the sums differ, their results do not."""
    generator = np.random.default_rng(2)
    for n in (1, 2, 7, 64, 1500):
        losses = np.concatenate([generator.normal(size=(3, n)), generator.integers(0, 3, (2, n)).astype(float)])
        for amount in (1e-6, 0.013, 0.3, 2.0):
            bare, ones = verb(losses, d, amount), verb(losses, d, amount, prior=np.ones(n))
            np.testing.assert_array_equal(bare.status, ones.status)
            np.testing.assert_allclose(bare.weights, ones.weights, rtol=0, atol=1e-10)
            np.testing.assert_allclose(bare.value, ones.value, rtol=0, atol=1e-12 * (1 + np.abs(losses).max()))


def test_a_kl_radius_takes_few_evaluations_and_a_large_penalty_keeps_its_shift(monkeypatch):
    from counterpoise._solvers import kl

    losses, calls, stock = np.random.default_rng(0).normal(size=(200, 64)), [], kl._tilt
    monkeypatch.setattr(kl, "_tilt", lambda problem, *a, **k: calls.append(problem.x.dtype) or stock(problem, *a, **k))
    cp.constrained(losses, cp.KL(), 0.1)
    # of third order: a first guess to a hundredth is a root of float32 after one step, and of float64 after one more
    assert calls == [np.float32, np.float64]
    penalty = 1e9
    mean, variance = losses.mean(-1), losses.var(-1)
    shift = cp.penalized(losses, cp.KL(), penalty).shift
    np.testing.assert_allclose(shift, mean + variance / (2 * penalty), rtol=0, atol=1e-14)


@every
@pytest.mark.parametrize("size", [5e-324, 1e-309, 1e-300, 1e-30])
def test_a_penalty_that_dwarfs_the_range_returns_the_prior_without_a_warning(d, size):
    prior = np.random.default_rng(0).random(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = cp.penalized(np.arange(50) * size, d, 1.0, prior=prior)
    assert int(solution.status) == int(cp.Status.CONVERGED) and float(solution.value) >= 0
    np.testing.assert_allclose(solution.weights, prior / prior.sum(), rtol=1e-14)
