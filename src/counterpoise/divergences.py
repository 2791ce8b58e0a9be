"""f-divergences D(q‖p) = Σ p f(q/p) by their names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import array_api_compat as aac

from ._divergence import Divergence, Power, require_divergence
from ._types import Array
from ._xp import aligned, anywhere, namespace, number


@dataclass(frozen=True)
class KL(Power):
    """Kullback-Leibler divergence Σ q log(q/p), in nats; largest radius −log P, P the prior mass of the argmax.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.KL(), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array(0.69314718)
    """

    @property
    def exponent(self) -> float:
        """1: the limit of the Cressie-Read family."""
        return 1.0

    def excess(self, s: Array, /, *, fine: Array) -> Array:
        """e^s − 1 − s: numpy's expm1 takes three times as long as exp."""
        xp = aac.array_namespace(s)
        rough = xp.exp(s)
        rough -= 1
        rough -= s
        return xp.where(fine, xp.expm1(s) - s, rough) if anywhere(fine) else rough


@dataclass(frozen=True)
class ChiSquare(Power):
    """Pearson's χ² divergence Σ (q − p)²/p (not half of it: published codes differ).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.ChiSquare(), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array(1.)
    """

    scale: ClassVar[float] = 2.0

    @property
    def exponent(self) -> float:
        """2: χ² is twice Cressie-Read(2)."""
        return 2.0


@dataclass(frozen=True)
class CressieRead(Power):
    """Cressie-Read divergence Σ p (t^a − a t + a − 1)/(a(a−1)) of t = q/p, for any real a.

    a = 1 is KL, a = 0 reverse KL, a = ½ four times squared Hellinger, a = 2 half of χ², a = −1 half of Neyman's χ²
    (Cressie and Read 1984). Near a = 0 and 1 the limits are met continuously.

    Parameters
    ----------
    a : float
        The exponent; structure, hence part of the object.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.CressieRead(2.0), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array(0.5)
    """

    a: float

    def __post_init__(self) -> None:
        number("the exponent a", self.a, math.isfinite, "a finite real number")

    @property
    def exponent(self) -> float:
        """The given a."""
        return float(self.a)


@dataclass(frozen=True)
class ReverseKL(Power):
    """Reverse Kullback-Leibler divergence Σ p log(p/q), in nats: weights never vanish, no radius saturates.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.ReverseKL(), np.array([0.75, 0.25]), np.array([0.5, 0.5]))
    array(0.14384104)
    """

    @property
    def exponent(self) -> float:
        """0."""
        return 0.0


@dataclass(frozen=True)
class Hellinger(Power):
    """Squared Hellinger distance ½ Σ (√q − √p)², in [0, 1].

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.Hellinger(), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array(0.29289322)
    """

    scale: ClassVar[float] = 0.25

    @property
    def exponent(self) -> float:
        """½: squared Hellinger is a quarter of Cressie-Read(½)."""
        return 0.5


@dataclass(frozen=True)
class JensenShannon(Divergence):
    """Jensen-Shannon divergence ½ KL(q‖m) + ½ KL(p‖m), m = (p + q)/2, in nats, in [0, log 2].

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.JensenShannon(), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array(0.21576155)
    """

    f_at_zero = 0.5 * math.log(2)
    link_limit = 0.5 * math.log(2)

    def f(self, t: Array, /) -> Array:
        """½[t log t − (t+1) log((t+1)/2)], through v = (t−1)/(t+1), in which it is an even series."""
        xp = aac.array_namespace(t)
        v = (t - 1) / (t + 1)
        near = xp.abs(v) < 0.3
        square = xp.where(near, v * v, 0.0)
        series = xp.zeros_like(v)
        for j in range(17, 0, -1):
            series = 1 / (j * (2 * j - 1)) + square * series
        positive = xp.where(t > 0, t, 1.0)
        closed = 0.5 * (t * xp.log(positive) - (t + 1) * xp.log((t + 1) / 2))
        return xp.where(near, 0.25 * (t + 1) * square * series, closed)

    def conjugate(self, s: Array, /) -> Array:
        """−½ log(2 − e^{2s}), infinite from s = ½ log 2 on."""
        xp = aac.array_namespace(s)
        rest = -xp.expm1(2 * s)
        return xp.where(rest > -1, -0.5 * xp.log1p(xp.where(rest > -1, rest, 0.0)), math.inf)

    def link(self, s: Array, /) -> Array:
        """1/(2e^{−2s} − 1), infinite from s = ½ log 2 on."""
        return self.link_below(self.link_limit - s)

    def link_below(self, d: Array, /) -> Array:
        """1/(e^{2d} − 1)."""
        xp = aac.array_namespace(d)
        z = -2 * xp.where(d > 0, d, 1.0)
        return xp.where(d > 0, -xp.exp(z) / xp.expm1(z), math.inf)

    def curvature(self, t: Array, /) -> Array:
        """2t(t + 1)."""
        return 2 * t * (t + 1)


@dataclass(frozen=True)
class TotalVariation(Divergence):
    """Total variation distance ½ Σ |q − p|, in [0, 1]: mass moves from the smallest losses to the largest.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.TotalVariation(), np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array(0.5)
    """

    f_at_zero = 0.5

    def f(self, t: Array, /) -> Array:
        """½|t − 1|."""
        return 0.5 * aac.array_namespace(t).abs(t - 1)

    def conjugate(self, s: Array, /) -> Array:
        """max(s, −½), infinite above s = ½."""
        xp = aac.array_namespace(s)
        return xp.where(s <= 0.5, xp.maximum(s, -0.5), math.inf)


def divergence_value(divergence: Divergence, q: Array, p: Array, /) -> Array:
    """D(q‖p) = Σ p f(q/p) over the last axis, for q ≪ p.

    Parameters
    ----------
    divergence : Divergence
        Which f.
    q, p : array, shape (..., n)
        Distributions, summing to 1 over the last axis.

    Returns
    -------
    array, shape (...,)
        Infinite where q has mass outside the support of p, NaN where a mass is negative, NaN or infinite.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.divergence_value(cp.KL(), np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.25, 0.5]))
    array(0.69314718)
    """
    require_divergence(divergence)
    xp = namespace(q=q, p=p)
    dtype = q.dtype
    q, p = aligned(xp, {"q": q, "p": p})
    masses = (q >= 0) & (q < xp.inf) & (p >= 0) & (p < xp.inf)
    live = masses & (p > 0)
    p = xp.where(live, p, 0.0)
    ratio = xp.where(live, q, 1.0) / xp.where(live, p, 1.0)
    terms = xp.where(masses, p * divergence.f(ratio), xp.nan)
    total = xp.sum(terms, axis=-1)
    outside = xp.any((p == 0) & (q > 0), axis=-1) & xp.all(masses, axis=-1)
    return xp.astype(xp.where(outside, xp.inf, total), dtype)
