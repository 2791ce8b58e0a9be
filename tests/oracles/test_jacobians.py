"""Derivatives of the weights against differences of 24-digit solutions."""

import mpmath as mp
import numpy as np
import pytest
from formulas import SMOOTH
from oracles import exact

import counterpoise as cp

torch = pytest.importorskip("torch")
from counterpoise_adapters.pytorch import constrained, penalized  # noqa: E402

LOSSES = np.array([0.3, -1.1, 0.9, 0.2])
PRIOR = np.array([0.5, 2.0, 1.0, 0.25])


@pytest.mark.parametrize("wrt", ["losses", "prior", "amount"])
@pytest.mark.parametrize("verb", ["penalized", "constrained"])
@pytest.mark.parametrize("d", SMOOTH, ids=repr)
def test_directional_derivatives_to_eight_digits(d, verb, wrt):
    amount = 1.5 if verb == "penalized" else 0.07
    point = {"losses": LOSSES, "prior": PRIOR, "amount": np.array(amount)}
    direction = {"losses": np.array([1.0, -0.5, 0.25, 2.0]), "prior": np.array([0.5, 1.0, -1.0, 0.125])}
    step = direction.get(wrt, np.array(1.0))

    def solve(losses, prior, amount):
        return (penalized if verb == "penalized" else constrained)(losses, d, amount, prior=prior).weights

    inputs = tuple(torch.tensor(v) for v in point.values())
    tangents = tuple(torch.tensor(step if name == wrt else 0.0 * v) for name, v in point.items())
    _, ours = torch.func.jvp(solve, inputs, tangents)

    h = mp.mpf(2) ** -40

    def shifted(sign):
        moved = {
            name: [mp.mpf(float(x)) + sign * h * mp.mpf(float(s)) for x, s in zip(v, step, strict=True)]
            for name, v in point.items()
            if name == wrt and wrt != "amount"
        }
        how_much = mp.mpf(amount) + (sign * h if wrt == "amount" else 0)
        return getattr(exact, verb)(moved.get("losses", LOSSES), moved.get("prior", PRIOR), d, how_much)

    theirs = [(a - b) / (2 * h) for a, b in zip(shifted(1), shifted(-1), strict=True)]
    want = np.array(theirs, dtype=float)
    assert np.abs(want).max() > 1e-3
    np.testing.assert_allclose(ours.numpy(), want, rtol=0, atol=1e-8 * max(1.0, np.abs(want).max()))


def test_the_oracle_solves_the_problem_that_the_core_solves():
    q = exact.constrained(LOSSES, PRIOR, cp.KL(), 0.07)
    np.testing.assert_allclose(cp.constrained(LOSSES, cp.KL(), 0.07, prior=PRIOR).weights, np.array(q, dtype=float))
