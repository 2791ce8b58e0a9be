"""Presets against their published formulas, computed here by loops and 50-digit arithmetic, and their identities."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import counterpoise as cp

MP = mp.mp.clone()
MP.dps = 50


def thousandths(low, high):
    return st.integers(1000 * low, 1000 * high).map(lambda number: number / 1000)


finite = st.floats(-8, 8)
losses_of = st.lists(thousandths(0, 6), min_size=1, max_size=6).map(np.array)


@st.composite
def sources(draw):
    """Log ratios of n rows to k sources, with positive shares."""
    k = draw(st.integers(1, 4))
    masses = np.array(draw(st.lists(st.floats(0.05, 1), min_size=k + 1, max_size=k + 1)))
    log_ratio = np.array(draw(st.lists(st.lists(finite, min_size=k, max_size=k), min_size=1, max_size=4)))
    share, *others = masses / masses.sum()
    return log_ratio, float(share), [float(b) for b in others]


@st.composite
def slotted(draw):
    """Losses of n lists and weights of their K responses."""
    n, k = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    losses = np.array(draw(st.lists(thousandths(-2, 6), min_size=n, max_size=n)))
    weights = np.array(draw(st.lists(st.lists(thousandths(0, 4), min_size=k, max_size=k), min_size=n, max_size=n)))
    return losses, weights


# the paper's calibration


@given(given_sources=sources(), gamma=st.floats(0.2, 5))
def test_calibration_is_the_published_sum(given_sources, gamma):
    log_ratio, alpha, betas = given_sources
    ours = cp.stabilised_calibration(log_ratio, target_share=alpha, other_shares=betas)
    n = 1 + len(betas)
    for row, found in zip(log_ratio, ours, strict=True):
        # from classifier probabilities, as published: a classifier with imbalance γ says c = r/(r + γ)
        total = 1 / (MP.mpf(alpha) + MP.mpf(1) / n)
        for log_r, beta in zip(row, betas, strict=True):
            c = MP.exp(log_r) / (MP.exp(log_r) + gamma)
            total += 1 / (MP.mpf(beta) * (1 - c) / (gamma * c) + MP.mpf(1) / n)
        assert found == pytest.approx(float(total / n), rel=1e-12)
    odds = log_ratio - math.log(gamma)
    turned = cp.log_ratio_from_log_odds(odds, n_target=1.0, n_other=gamma)
    np.testing.assert_allclose(turned, log_ratio, atol=1e-12)  # γ is the ratio of class sizes


@given(given_sources=sources())
def test_calibration_is_no_density_ratio(given_sources):
    """Arithmetic against harmonic mean: h~ ≥ n·h unstabilised, ≥ n h/(1 + h) and ≤ n stabilised."""
    log_ratio, alpha, betas = given_sources
    n, shares = 1 + len(betas), {"target_share": alpha, "other_shares": betas}
    h = cp.mixture_ratio(log_ratio, **shares)
    plain = cp.stabilised_calibration(log_ratio, **shares, stabiliser=0.0)
    stable = cp.stabilised_calibration(log_ratio, **shares)
    assert (plain >= n * h * (1 - 1e-12)).all()
    assert (stable >= n * h / (1 + h) * (1 - 1e-12)).all() and (stable <= n * (1 + 1e-12)).all()


def test_calibration_equals_n_times_the_ratio_where_its_terms_agree():
    log_ratio = np.zeros((1, 2))
    h = cp.stabilised_calibration(log_ratio, target_share=1 / 3, other_shares=[1 / 3, 1 / 3], stabiliser=0.0)
    assert h == pytest.approx(3.0)


@given(given_sources=sources())
def test_the_exact_ratio_is_the_relative_ratio_of_one_source(given_sources):
    """h = 1/(α + Σ β_i/r_i) = q/(α q + (1-α) p), RuLSIF's ratio to the mixture p of the others; at most 1/α."""
    log_ratio, alpha, betas = given_sources
    h = cp.mixture_ratio(log_ratio, target_share=alpha, other_shares=betas)
    p = sum(b * np.exp(-log_ratio[:, i]) for i, b in enumerate(betas)) / (1 - alpha)  # in units of q
    np.testing.assert_allclose(h, 1.0 / (alpha + (1.0 - alpha) * p), rtol=1e-9)
    assert (h <= 1 / alpha).all()


def test_calibration_without_a_stabiliser_runs_to_infinity_and_not_past_it():
    found = cp.stabilised_calibration(
        np.array([[2000.0], [-2000.0]]), target_share=0.5, other_shares=[0.5], stabiliser=0.0
    )
    assert found[0] == np.inf and found[1] == 1.0  # the target's own term is left
    stable = cp.stabilised_calibration(np.array([[2000.0], [-2000.0]]), target_share=0.5, other_shares=[0.5])
    np.testing.assert_allclose(stable, [1.5, 0.5])


# the released code


@pytest.mark.parametrize(
    ("slots", "shares"),
    [(2, [0.5, 0.5]), (4, [0.25] * 4), (6, [0.125, 0.125, 0.125, 0.125, 1 - 1 / 6 - 1 / 2, 1 / 6])],
)
def test_released_slot_weights_have_the_constants_of_the_code(slots, shares):
    p = np.linspace(0.05, 1.0, slots)
    wanted = [1 / (1 / slots + b * ((1 - q) / q)) for b, q in zip(shares, p, strict=True)]
    np.testing.assert_allclose(cp.released_calibration(p), wanted, rtol=1e-12)
    assert cp.released_calibration(np.zeros(slots)).max() == 0.0


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=6).map(np.array))
def test_with_equal_shares_the_released_weight_is_k_times_p(p):
    k = len(p)
    found = cp.released_calibration(p, target_share=1 / k, slot_shares=[1 / k] * k)
    np.testing.assert_allclose(found, k * p, rtol=1e-12, atol=1e-15)


@given(c=st.floats(0.02, 0.98), k=st.integers(2, 6))
def test_the_released_weight_is_a_term_of_the_calibration_without_gamma(c, k):
    """DPO-PL's h~ up to γ: with balanced classes and the same share, slot weight and stabilised term agree."""
    slot = cp.released_calibration(np.array([c]), target_share=1 / k, slot_shares=[0.5])[0]
    both = cp.stabilised_calibration(
        np.array([[math.log(c / (1 - c))]]), target_share=0.5, other_shares=[0.5], stabiliser=1 / k
    )[0]
    assert 2 * both == pytest.approx(slot + 1 / (0.5 + 1 / k), rel=1e-12)


def log_mean_exp(values, penalty):
    return float(penalty * MP.log(sum(MP.exp(MP.mpf(float(v)) / penalty) for v in values) / len(values)))


@given(problem=slotted(), penalty=st.floats(0.2, 5))
def test_paper_and_released_values_are_their_formulas(problem, penalty):
    losses, weights = problem
    n = len(losses)
    tilted = [w.mean() * x for w, x in zip(weights, losses, strict=True)]
    everything = log_mean_exp(tilted, penalty)
    assert float(cp.paper_dora(losses, weights, penalty=penalty).value) == pytest.approx(everything, abs=1e-10)
    assert float(cp.released_dpo(losses, weights, micro_batch=n, penalty=penalty).value) == pytest.approx(
        everything, abs=1e-10
    )
    lire = weights.mean() * log_mean_exp(losses, penalty)
    assert float(cp.released_lire(losses, weights, micro_batch=n, penalty=penalty).value) == pytest.approx(
        lire, abs=1e-10
    )
    rrhf = log_mean_exp((losses.mean() * weights).ravel(), penalty)
    assert float(cp.released_rrhf(losses, weights, micro_batch=n, penalty=penalty).value) == pytest.approx(
        rrhf, abs=1e-10
    )


@given(problem=slotted(), penalty=st.floats(0.05, 20))
def test_released_dpo_and_lire_at_micro_batch_one_are_reweighting(problem, penalty):
    losses, weights = problem
    w = weights.mean(axis=1)
    for preset in (cp.released_dpo, cp.released_lire):
        found = preset(losses, weights, penalty=penalty)
        assert float(found.value) == pytest.approx((w * losses).mean(), abs=1e-11 * max(1, penalty))
        np.testing.assert_allclose(found.weights, w / len(losses), atol=1e-12)
    plain = cp.released_dpo(losses, np.ones_like(weights), penalty=penalty)
    np.testing.assert_allclose(plain.weights, 1 / len(losses))  # its "DRO" without weights is ERM


@given(problem=slotted(), penalty=st.floats(0.2, 5))
def test_released_lire_has_the_direction_of_kl_dro(problem, penalty):
    losses, weights = problem
    found = cp.released_lire(losses, weights, micro_batch=len(losses), penalty=penalty)
    np.testing.assert_allclose(found.weights, weights.mean() * cp.kl_dro(losses, penalty).weights, atol=1e-11)


@given(problem=slotted(), penalty=st.floats(0.2, 5))
def test_released_rrhf_tells_no_example_from_another(problem, penalty):
    losses, weights = problem
    found = cp.released_rrhf(losses, weights, micro_batch=len(losses), penalty=penalty)
    assert np.ptp(found.weights) <= 1e-12


OBJECTIVES = {
    "paper_dora": lambda x, w: cp.paper_dora(x, w, penalty=0.7),
    "released_dpo": lambda x, w: cp.released_dpo(x, w, micro_batch=2, penalty=0.7),
    "released_lire": lambda x, w: cp.released_lire(x, w, micro_batch=2, penalty=0.7),
    "released_rrhf": lambda x, w: cp.released_rrhf(x, w, micro_batch=2, penalty=0.7),
    "dr_dpo": lambda x, w: cp.dr_dpo(x, 0.7),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_weights_are_derivatives_of_the_value(name, batch):
    generator = np.random.default_rng(0)
    losses, weights = generator.gamma(2.0, size=(*batch, 4)), generator.gamma(1.0, size=(*batch, 4, 3))
    found, step = OBJECTIVES[name](losses, weights), 1e-5
    for i in range(4):
        up, down = losses.copy(), losses.copy()
        up[..., i] += step
        down[..., i] -= step
        slope = (OBJECTIVES[name](up, weights).value - OBJECTIVES[name](down, weights).value) / (2 * step)
        np.testing.assert_allclose(found.weights[..., i], slope, atol=1e-8)


@pytest.mark.parametrize("name", ["paper_dora", "released_dpo", "released_lire", "released_rrhf"])
def test_means_over_slots_reach_as_far_as_the_dtype(name):
    """Sums of the slots' weights leave float32 here, their means do not."""
    generator = np.random.default_rng(0)
    losses = 1e-38 * generator.uniform(0.1, 1.0, 4).astype("float32")
    weights = 1e38 * generator.uniform(2.0, 3.0, (4, 3)).astype("float32")
    found = OBJECTIVES[name](losses, weights)
    want = OBJECTIVES[name](losses.astype("float64"), weights.astype("float64"))
    assert found.status == want.status == 0
    np.testing.assert_allclose(found.value, want.value, rtol=1e-5)
    np.testing.assert_allclose(found.weights, want.weights, rtol=1e-5)


def test_micro_batches_are_objectives_of_their_own():
    generator = np.random.default_rng(1)
    losses, weights = generator.gamma(2.0, size=6), generator.gamma(1.0, size=(6, 2))
    penalty = np.array(0.5)  # an array, as a schedule would give it
    for preset in (cp.released_dpo, cp.released_lire, cp.released_rrhf):
        whole = preset(losses, weights, micro_batch=3, penalty=penalty)
        parts = [preset(losses[i : i + 3], weights[i : i + 3], micro_batch=3, penalty=0.5) for i in (0, 3)]
        assert float(whole.value) == pytest.approx(np.mean([part.value for part in parts]))
        np.testing.assert_allclose(whole.weights, np.concatenate([part.weights for part in parts]) / 2)


# ours


@given(problem=slotted(), spreads=st.floats(0.3, 20), factor=st.floats(0.1, 10))
def test_scaled_dora_is_dora_in_units_of_the_spread(problem, spreads, factor):
    losses, weights = problem
    h = weights[:, 0] + 0.1
    found = cp.scaled_dora(losses, factor * h, spreads=spreads)
    unit = h / h.mean()
    spread = np.sqrt(((unit * losses - (unit * losses).mean()) ** 2).mean())
    wanted = cp.dora(losses, unit, max(spreads * spread, 1e-9))
    np.testing.assert_allclose(found.value, wanted.value, atol=1e-7)
    if spread > 1e-3:
        np.testing.assert_allclose(found.weights, wanted.weights, atol=1e-8)
        scaled = cp.scaled_dora(factor * losses, h, spreads=spreads)
        np.testing.assert_allclose(scaled.weights, found.weights, atol=1e-7)  # units of the losses do not matter


def test_scaled_dora_at_an_infinite_penalty_is_reweighting():
    losses, h = np.array([1.0, 2.0, 0.5]), np.array([0.5, 2.0, 0.1])
    prior = np.array([1.0, 2.0, 0.0])
    found = cp.scaled_dora(losses, h, spreads=math.inf, prior=prior)
    np.testing.assert_allclose(found.weights, cp.reweighted(losses, h, prior=prior).weights)


def test_scaled_dora_without_a_spread_is_plain():
    found = cp.scaled_dora(np.full(3, 2.0), np.ones(3), spreads=1.0)
    np.testing.assert_allclose(found.weights, 1 / 3)


def test_scaled_dora_leaves_the_effective_samples_that_it_says():
    losses = np.random.default_rng(0).normal(5.0, 2.0, 200_000)
    for spreads in (1.0, 2.0, 4.0):
        weights = cp.scaled_dora(losses, np.ones_like(losses), spreads=spreads).weights
        share = float(cp.effective_sample_size(weights)) / len(losses)
        assert share == pytest.approx(math.exp(-1 / spreads**2), rel=0.05)


# levels and labels


@given(log_ratio=st.lists(finite, min_size=2, max_size=5).map(np.array))
def test_levels_are_products_and_means(log_ratio):
    r = np.exp(log_ratio)
    n = len(r)
    pairs = [r[j] * r[k] for j in range(n) for k in range(j + 1, n)]
    np.testing.assert_allclose(cp.ratio_at_level(log_ratio, level="token"), r)
    np.testing.assert_allclose(cp.ratio_at_level(log_ratio, level="pair"), pairs)
    np.testing.assert_allclose(cp.ratio_at_level(log_ratio, level="list mean"), r.mean())
    for level in ("response", "list"):
        np.testing.assert_allclose(cp.ratio_at_level(log_ratio, level=level), np.prod(r))


@pytest.mark.parametrize("level", ["token", "response", "pair", "list", "list mean"])
def test_masked_parts_do_not_count(level):
    log_ratio = np.array([0.3, np.nan, -0.7, 1.1])
    mask = np.array([True, False, True, True])
    found = cp.ratio_at_level(log_ratio, level=level, mask=mask)
    kept = cp.ratio_at_level(log_ratio[mask], level=level)
    if level == "token":
        assert found[1] == 0.0
        found = found[mask]
    if level == "pair":
        assert (found[[0, 3, 4]] == 0.0).all()
        found = found[[1, 2, 5]]
    np.testing.assert_allclose(found, kept)
    assert np.isnan(cp.ratio_at_level(log_ratio, level=level)).any()


def test_the_label_blind_ratio_is_the_mean_of_the_label_aware_one_over_both_orders():
    """Discrete pairs of three responses: exact densities, no fitting."""
    generator = np.random.default_rng(0)
    q, p = (generator.dirichlet(np.ones(9)).reshape(3, 3) for _ in range(2))  # of ordered pairs (chosen, rejected)
    aware = q / p
    blind = (q + q.T) / (p + p.T)
    np.testing.assert_allclose((p * aware + (p * aware).T) / (p + p.T), blind)
    for label_aware in (True, False):
        features = cp.pair_features(*np.meshgrid(*2 * [np.arange(3.0)], indexing="ij"), label_aware=label_aware)
        turned = cp.pair_features(*np.meshgrid(*2 * [np.arange(3.0)], indexing="xy"), label_aware=label_aware)
        assert (features == turned).all() == (not label_aware)


# neighbours


@given(losses=losses_of, temperature=st.floats(0.2, 5))
def test_dr_dpo_is_kl_dro_of_a_negative_temperature(losses, temperature):
    wanted = -log_mean_exp(-losses, temperature)
    found = cp.dr_dpo(losses, temperature)
    assert float(found.value) == pytest.approx(wanted, abs=1e-10)
    q = np.exp(-losses / temperature)
    np.testing.assert_allclose(found.weights, q / q.sum(), atol=1e-12)
    assert float(found.value) <= losses.mean() + 1e-12 <= float(cp.kl_dro(losses, temperature).value) + 2e-12


@given(losses=losses_of, temperature=st.floats(0.2, 5))
def test_kldpo_is_its_released_formula(losses, temperature):
    w = [min(math.exp((x - losses.mean()) / temperature), 10.0) for x in losses]
    found = cp.kldpo(losses, temperature)
    np.testing.assert_allclose(found.weights, np.array(w) / len(losses), rtol=1e-12)
    assert float(found.value) == pytest.approx(np.mean(w * losses), abs=1e-12)
    uncapped = cp.kldpo(losses, temperature, cap=math.inf).weights
    np.testing.assert_allclose(uncapped / uncapped.sum(), cp.kl_dro(losses, temperature).weights, atol=1e-11)


@given(loss=st.floats(0, 5), turned=st.floats(0, 5), q=st.floats(0, 1), rho=st.floats(0, 4))
def test_dpo_pro_is_the_worst_case_in_its_chi_square_ball(loss, turned, q, rho):
    found = float(cp.dpo_pro_preference(np.array([loss]), np.array([turned]), np.array([q]), radius=rho)[0])
    grid = np.linspace(0, 1, 2001)
    ball = grid[abs(grid - q) <= math.sqrt(rho * q * (1 - q))]
    if len(ball):
        assert found * loss + (1 - found) * turned >= (ball * loss + (1 - ball) * turned).max() - 1e-9
    assert 0 <= found <= 1 and (found - q) ** 2 <= rho * q * (1 - q) + 1e-9
    if loss > turned:
        assert found == pytest.approx(min(1.0, q + math.sqrt(rho * q * (1 - q))), abs=1e-12)  # as published
    if 0.05 < q < 0.95 and loss != turned:
        pair = cp.constrained(np.array([loss, turned]), cp.ChiSquare(), rho, prior=np.array([q, 1 - q]))
        assert found == pytest.approx(float(pair.weights[0]), abs=1e-6)


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > -30 else x - math.log1p(math.exp(x))


@given(m=st.floats(-30, 30), epsilon=st.floats(0, 0.45), alpha=st.floats(0.1, 20))
def test_margin_losses_are_their_formulas_and_slopes(m, epsilon, alpha):
    right, wrong = -log_sigmoid(m), -log_sigmoid(-m)
    calls = {
        (1 - epsilon) * right + epsilon * wrong: lambda x: cp.conservative_dpo(x, flip=epsilon),
        ((1 - epsilon) * right - epsilon * wrong) / (1 - 2 * epsilon): lambda x: cp.robust_dpo(x, flip=epsilon),
        4 * alpha / (1 + alpha) ** 2 * right + 4 * alpha**2 / (1 + alpha) ** 2 / (1 + math.exp(m)): lambda x: cp.ropo(
            x, strength=alpha
        ),
    }
    for wanted, call in calls.items():
        losses, slopes = call(np.array([m]))
        assert losses[0] == pytest.approx(wanted, abs=1e-9)
        step = 1e-4
        difference = (call(np.array([m + step])).losses - call(np.array([m - step])).losses) / (2 * step)
        assert slopes[0] == pytest.approx(difference[0], abs=1e-6)


@given(m=st.floats(-10, 10), epsilon=st.floats(0, 0.45))
def test_robust_dpo_is_unbiased_for_the_true_label(m, epsilon):
    ours = cp.robust_dpo(np.array([m, -m]), flip=epsilon).losses
    assert (1 - epsilon) * ours[0] + epsilon * ours[1] == pytest.approx(-log_sigmoid(m), abs=1e-9)


@given(alpha=st.floats(1, 50))
def test_ropos_steepest_slope_is_one_where_it_says(alpha):
    at = (1 + alpha) / (2 * alpha)
    margins = np.append(np.linspace(-30, 30, 2001), math.log((1 - at) / at) if at < 1 else -40.0)
    slopes = cp.ropo(margins, strength=alpha).slopes
    assert slopes.min() == pytest.approx(-1.0, abs=1e-9) and slopes.min() == pytest.approx(slopes[-1], abs=1e-9)


@given(loss=st.floats(0, 20), turned=st.floats(0, 20), eta=st.floats(0, 1))
def test_the_posterior_is_bayes_rule(loss, turned, eta):
    found = float(cp.label_posterior(np.array([loss]), np.array([turned]), reliability=eta)[0])
    right, wrong = eta * MP.exp(-loss), (1 - MP.mpf(eta)) * MP.exp(-turned)
    assert found == pytest.approx(float(right / (right + wrong)), abs=1e-12)


def test_em_finds_the_share_of_right_labels_of_a_calibrated_model():
    generator = np.random.default_rng(0)
    chance = generator.beta(0.5, 0.5, 50_000)  # the model's probability of the label's true side
    first = generator.random(50_000) < chance
    given_label = np.where(generator.random(50_000) < 0.8, first, ~first)
    p = np.where(given_label, chance, 1 - chance)
    eta = 0.6
    for _ in range(60):
        eta = float(cp.label_posterior(-np.log(p), -np.log1p(-p), reliability=eta).mean())
    assert eta == pytest.approx(0.8, abs=0.02)


def test_wpo_weighs_by_the_aligned_geometric_mean():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 5, 7))
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    tokens, mask = generator.integers(0, 7, (2, 5)), np.arange(5) < np.array([[5], [2]])
    ours = cp.wpo_weights(np.log(np.take_along_axis(p, tokens[..., None], -1)[..., 0]), np.log((p**2).sum(-1)), mask)
    for row in range(2):
        terms = [p[row, t, tokens[row, t]] / (p[row, t] ** 2).sum() for t in range(5) if mask[row, t]]
        assert ours[row] == pytest.approx(math.prod(terms) ** (1 / len(terms)))
    assert cp.wpo_weights(np.array([-1.0]), np.array([0.0]), np.array([False])) == 1.0


@given(r=st.lists(st.floats(0, 50), min_size=1, max_size=6).map(np.array), cap=st.floats(0.1, 60))
def test_truncation(r, cap):
    np.testing.assert_array_equal(cp.truncated_ratio(r, cap=cap), np.minimum(r, cap))
    np.testing.assert_allclose(cp.truncated_ratio(r), np.minimum(r, math.sqrt(len(r)) * r.mean()))
