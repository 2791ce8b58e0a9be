"""Objectives against their formulas, and their weights against differences of their values."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import logsumexp
from strategies import losses_and_priors

import counterpoise as cp

RATIO = np.array([0.3, 1.7, 1.0, 0.0, 2.5, 0.9, 0.1])


def means(losses, prior):
    p = prior / prior.sum()
    return p, RATIO[: len(losses)]


@given(problem=losses_and_priors(), penalty=st.floats(0.05, 50.0))
def test_values_are_their_formulas(problem, penalty):
    losses, prior = problem
    p, r = means(losses, prior)
    assert float(cp.erm(losses, prior=prior).value) == pytest.approx(p @ losses, abs=1e-12)
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
        tilted = penalty * logsumexp(losses / penalty + log_p)
        dora = penalty * logsumexp(r * losses / penalty + log_p)
    assert float(cp.kl_dro(losses, penalty, prior=prior).value) == pytest.approx(tilted, abs=1e-11 * max(1, penalty))
    assert float(cp.dora(losses, r, penalty, prior=prior).value) == pytest.approx(dora, abs=1e-11 * max(1, penalty))
    assume((p * r).sum() > 0)
    weighted = (p * r * losses).sum() / (p * r).sum()
    assert float(cp.reweighted(losses, r, prior=prior).value) == pytest.approx(weighted, abs=1e-12)
    around = cp.penalized(losses, cp.ChiSquare(), penalty, prior=p * r)
    centred = cp.target_dro(losses, r, cp.ChiSquare(), penalty=penalty, prior=prior)
    np.testing.assert_allclose(centred.weights, around.weights, rtol=0, atol=1e-12)


OBJECTIVES = {
    "erm": lambda x, r, p: cp.erm(x, prior=p),
    "reweighted": lambda x, r, p: cp.reweighted(x, r, prior=p),
    "kl_dro": lambda x, r, p: cp.kl_dro(x, 0.7, prior=p),
    "dora": lambda x, r, p: cp.dora(x, r, 0.7, prior=p),
    "target_dro, penalty": lambda x, r, p: cp.target_dro(x, r, cp.Hellinger(), penalty=0.7, prior=p),
    "target_dro, radius": lambda x, r, p: cp.target_dro(x, r, cp.ChiSquare(), radius=0.2, prior=p),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_weights_are_the_gradient_of_the_value(name):
    generator = np.random.default_rng(0)
    for _ in range(10):
        losses, prior = generator.normal(size=6), generator.uniform(0.1, 1.0, 6)
        found = OBJECTIVES[name](losses, RATIO[:6], prior)
        for i in range(6):
            step = 1e-6 * (np.arange(6) == i)
            ahead, behind = (OBJECTIVES[name](losses + s * step, RATIO[:6], prior).value for s in (1, -1))
            assert float(found.weights[i]) == pytest.approx((ahead - behind) / 2e-6, abs=1e-8)


def test_dora_never_overflows_where_exponentials_do():
    losses, ratio = np.array([0.0, 300.0], dtype=np.float32), np.array([1.0, 3.0], dtype=np.float32)
    found = cp.dora(losses, ratio, 1.0)
    assert float(found.value) == pytest.approx(900 - np.log(2), rel=1e-6)
    assert found.weights.tolist() == [0.0, 3.0]


def test_one_sample_has_nothing_to_tilt():
    """Over a batch of one λ log E e^{h l/λ} is h l: robust training on single examples is reweighting."""
    for penalty in (0.1, 1.0, 10.0):
        assert float(cp.dora(np.array([0.7]), np.array([1.3]), penalty).value) == pytest.approx(0.91)
