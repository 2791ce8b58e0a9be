"""The formulas of every divergence, written down once more for the tests: nothing here is the package's."""

import math

import numpy as np

import counterpoise as cp

LOG2 = np.log(np.longdouble(2))


def _power(a, scale=1.0):
    """f, f*, f(0), for scale times Cressie-Read(a), a not 0 or 1."""

    def f(t):
        with np.errstate(divide="ignore"):
            return scale * (t**a - a * t + a - 1) / (a * (a - 1))

    def conjugate(s):
        base = np.maximum(1 + (a - 1) * s / scale, 0)
        with np.errstate(divide="ignore"):
            return scale * (base ** (a / (a - 1)) - 1) / a

    return f, conjugate, scale / a if a > 0 else math.inf


def _kl(t):
    return np.where(t > 0, t * np.log(np.where(t > 0, t, 1)) - t + 1, 1.0)


def _js(t):
    return 0.5 * (np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0) - (t + 1) * np.log((t + 1) / 2))


def _reverse(t):
    with np.errstate(divide="ignore"):
        return -np.log(t) + t - 1


FORMULAS = {
    cp.KL(): (_kl, np.expm1, 1.0),
    cp.ChiSquare(): (lambda t: (t - 1) ** 2, lambda s: np.where(s > -2, s + s * s / 4, -1.0), 1.0),
    cp.CressieRead(1.5): _power(1.5),
    cp.CressieRead(3.0): _power(3.0),
    cp.CressieRead(0.3): _power(0.3),
    cp.CressieRead(-1.0): _power(-1.0),
    cp.ReverseKL(): (_reverse, lambda s: -np.log1p(-s), math.inf),
    cp.Hellinger(): (lambda t: 0.5 * (np.sqrt(t) - 1) ** 2, lambda s: s / (1 - 2 * s), 0.5),
    cp.JensenShannon(): (_js, lambda s: -0.5 * np.log(2 - np.exp(2 * s)), 0.5 * LOG2),
    cp.TotalVariation(): (lambda t: 0.5 * np.abs(t - 1), lambda s: np.maximum(s, -0.5), 0.5),
}
"""Divergence to (f, f*, f(0))."""

DIVERGENCES = list(FORMULAS)
SMOOTH = [d for d in DIVERGENCES if not isinstance(d, cp.TotalVariation)]
VERBS = [cp.penalized, cp.constrained]


def normalised(prior, like):
    """Prior masses that sum to 1, uniform for None, 0 where the loss is -inf."""
    p = np.ones_like(like) if prior is None else np.broadcast_to(np.asarray(prior, dtype=np.float64), like.shape)
    p = np.where(like == -np.inf, 0.0, p)
    p = p / p.max(axis=-1, keepdims=True)
    return p / p.sum(axis=-1, keepdims=True)


def divergence(d, q, p):
    """Σ p f(q/p)."""
    live = p > 0
    p, q = np.longdouble(p), np.longdouble(q)  # f(t) near t = 1 cancels; 64 bits of mantissa see through it
    t = np.where(live, q / np.where(live, p, 1), 1)
    return np.where(live, p * FORMULAS[d][0](t), 0).sum(axis=-1)


def largest_radius(d, mass):
    """Divergence of the prior restricted to an event of this mass."""
    f, _, at_zero = FORMULAS[d]
    return 0.0 if mass >= 1 else mass * f(1 / mass) + (1 - mass) * at_zero


def limit(d):
    """Where f* becomes infinite."""
    if isinstance(d, cp.TotalVariation):
        return 0.5
    return d.link_limit
