"""The one checker: weights are feasible, and no feasible weights do better, proved from the formulas."""

import numpy as np
from formulas import FORMULAS, divergence, limit, normalised

import counterpoise as cp


def certify(losses, prior, d, verb, amount, solution):
    """Check one problem's solution, recomputing everything that it claims; return p for further checks."""
    p = normalised(prior, losses)
    live = p > 0
    q = np.asarray(solution.weights, dtype=np.float64)
    eps = float(np.finfo(np.asarray(solution.weights).dtype).eps)
    n = live.sum()
    most, least = losses[live].max(), losses[live].min()
    x = np.where(live, most - losses, 0.0)
    size = most - least

    assert int(solution.status) in (cp.Status.CONVERGED, cp.Status.SATURATED), cp.Status(int(solution.status)).name
    assert (q >= 0).all() and (q[~live] == 0).all()
    assert abs(q.sum() - 1) <= (4 + n) * eps
    if size == 0:
        np.testing.assert_allclose(q, p, rtol=0, atol=8 * eps)
        assert abs(float(solution.value) - most) <= 8 * eps * abs(most) + (
            0 if verb is cp.constrained else n * eps * min(amount, 1e300)
        )
        return p
    spent = divergence(d, q, p)
    lam, eta = float(solution.multiplier), float(solution.shift)
    if verb is cp.constrained:
        # rounding q/p to its dtype moves D by ε√D (total variation: by ε), and f itself is known to 1e-19 here
        kink = eps if isinstance(d, cp.TotalVariation) else 0.0
        slack = eps * (np.sqrt(amount) + amount) + kink + np.finfo(np.longdouble).eps
        assert spent <= amount + (12 + n) * slack
        cost = 0.0
    else:
        cost = 0.0 if amount == 0 or np.isinf(amount) else amount * spent
    below = (q * x).sum() + cost
    scale = max(abs(most), abs(least))
    assert abs(float(solution.value) - (most - below)) <= 1e-13 * size + 1e3 * eps * (scale + cost)
    tolerance = 64 * eps**0.75 * 1e-0 * size
    if lam == 0:
        top = np.where(x == 0, p, 0)
        np.testing.assert_allclose(q, top / top.sum(), rtol=0, atol=8 * eps)
        return p
    if np.isinf(lam):
        np.testing.assert_allclose(q, p, rtol=0, atol=8 * eps)
        return p
    bound = dual_bound(d, p, x, lam, eta - most, budget=amount if verb is cp.constrained else 0.0)
    gap = bound + below  # bound on ⟨q, l⟩ − most, minus what q has
    assert gap >= -64 * eps * (size + lam)
    assert gap <= min(tolerance, 1e-9 * size if eps < 1e-10 else 1e-4 * size) + 64 * eps * lam
    assert abs(float(solution.gap)) <= 64 * eps**0.75 * size
    return p


def dual_bound(d, p, x, lam, shift, budget):
    """η + λ Σ p f*((l − η)/λ) + λρ for losses −x: above every feasible value, whatever λ > 0 and η."""
    live = p > 0
    x, p, lam, shift = np.longdouble(x), np.longdouble(p), np.longdouble(lam), np.longdouble(shift)
    s = (-x - shift) / lam
    if not np.isfinite(limit(d)) or s[live].max() <= limit(d) * (1 - 1e-18):
        return _bound_at(d, p, x, lam, s, budget)
    # the shift's rounding has crossed the conjugate's pole: the best of shifts just before it is a bound as well
    over = s[live].max() - limit(d) * (1 - np.longdouble(10.0) ** -np.arange(1, 19))
    return min(_bound_at(d, p, x, lam, s - step, budget) for step in over)


def _bound_at(d, p, x, lam, s, budget):
    live = p > 0
    conjugate = np.where(live, p * (FORMULAS[d][1](np.where(live, s, 0.0)) - np.where(live, s, 0.0)), 0).sum()
    return lam * conjugate - (p * x).sum() + lam * budget
