"""f-divergences D(q‖p) = Σ p f(q/p): what each is, and what the solvers ask of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import array_api_compat as aac

from ._types import Array
from ._xp import aligned, anywhere, namespace


def expm1_ratio(xp: Any, c: float, u: Array) -> Array:
    """(e^{cu} − 1)/c, and its limit u at c = 0."""
    return u if c == 0 else xp.expm1(c * u) / c


class Divergence:
    """A convex f with f(1) = 0 and f'(1) = 0, and its conjugate f*(s) = max_{t ≥ 0} s t − f(t).

    Subclass it to add a divergence: write `f`, `conjugate`, `link` = (f*)', and the class attributes; `penalized`
    and `constrained` then take an instance. All three act elementwise on arrays.

    Attributes
    ----------
    f_at_zero : float
        f(0), infinite where weights cannot vanish.
    link_limit : float
        The s at which `link` becomes infinite; infinite if it never does.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> class HalfChiSquare(cp.Divergence):
    ...     f_at_zero = 0.5
    ...     def f(self, t): return 0.5 * (t - 1) ** 2
    ...     def conjugate(self, s): return np.where(s > -1, s + 0.5 * s * s, -0.5)
    ...     def link(self, s): return np.maximum(1 + s, 0.0)
    >>> losses = np.array([0.0, 1.0, 2.0])
    >>> cp.constrained(losses, HalfChiSquare(), 0.25).weights.round(6)
    array([0.044658, 0.333333, 0.622008])
    >>> cp.constrained(losses, cp.ChiSquare(), 0.5).weights.round(6)
    array([0.044658, 0.333333, 0.622008])
    """

    f_at_zero: float
    link_limit: float = math.inf

    def f(self, t: Array, /) -> Array:
        """f(t) for t ≥ 0."""
        raise NotImplementedError(f"{type(self).__name__} must define f(t)")

    def conjugate(self, s: Array, /) -> Array:
        """f*(s)."""
        raise NotImplementedError(f"{type(self).__name__} must define conjugate(s)")

    def excess(self, s: Array, /, *, fine: Array) -> Array:
        """f*(s) − s; where not ``fine``, an absolute error of a rounding of 1 will do."""
        return self.conjugate(s) - s

    def link(self, s: Array, /) -> Array:
        """(f*)'(s): the ratio q/p at the scaled loss s = (l − η)/λ."""
        raise NotImplementedError(f"{type(self).__name__} must define link(s)")

    def link_below(self, d: Array, /) -> Array:
        """Return the link at ``link_limit`` − d; override it where that difference would cancel."""
        return self.link(self.link_limit - d)

    def curvature(self, t: Array, /) -> Array:
        """1/f''(t), the derivative of the link, where t > 0: needed for gradients of the weights only."""
        raise NotImplementedError(
            f"{type(self).__name__} must define curvature(t) = 1/f''(t) for gradients of its weights"
        )


class Power(Divergence):
    """``scale`` times the Cressie-Read divergence of exponent a: the family that shares one exact solver."""

    scale: ClassVar[float] = 1.0

    @property
    def exponent(self) -> float:
        """The Cressie-Read exponent a."""
        raise NotImplementedError

    @property
    def f_at_zero(self) -> float:  # type: ignore[override]
        """scale/a, infinite for a ≤ 0."""
        return self.scale / self.exponent if self.exponent > 0 else math.inf

    @property
    def link_limit(self) -> float:  # type: ignore[override]
        """scale/(1 − a) for a < 1."""
        return self.scale / (1 - self.exponent) if self.exponent < 1 else math.inf

    def f(self, t: Array, /) -> Array:
        """f(t), to an error of ε|t − 1| near t = 1: what rounding t to its dtype already costs."""
        xp, a = aac.array_namespace(t), self.exponent
        change = t - 1
        if a == 2:
            return self.scale / 2 * change * change
        if a == 1:
            smallest = float(xp.finfo(t.dtype).smallest_normal)
            return self.scale * (t * xp.log(xp.maximum(t, smallest)) - change)
        positive = t > 0
        inside = self.f_of_log(xp.log(xp.where(positive, t, 1.0)), t)
        return xp.where(positive, inside, self.f_at_zero)

    def f_of_log(self, u: Array, t: Array | None = None, /) -> Array:
        """f(t) at t = e^u."""
        xp, a = aac.array_namespace(u), self.exponent
        if a > 1:  # e^u may be 0; elsewhere weights never vanish
            u = xp.maximum(u, math.log(float(xp.finfo(u.dtype).smallest_normal)))
        change = xp.expm1(u) if t is None else t - 1
        if abs(a - 1) <= 0.5:
            t = xp.exp(u) if t is None else t
            return (self.scale / a) * (t * expm1_ratio(xp, a - 1, u) - change)
        return (self.scale / (a - 1)) * (expm1_ratio(xp, a, u) - change)

    def conjugate(self, s: Array, /) -> Array:
        """Return scale · [(1 + (a−1)s/scale)₊^{a/(a−1)} − 1]/a."""
        xp, a, z = aac.array_namespace(s), self.exponent, s / self.scale
        if a == 1:
            return self.scale * xp.expm1(z)
        if a == 2:
            z = xp.maximum(z, -1.0)
            return self.scale * (z * (1 + 0.5 * z))
        base = xp.maximum(1 + (a - 1) * z, 0.0)
        log = xp.log1p(xp.where(base > 0, (a - 1) * z, 0.0)) / (a - 1)
        inside = self.scale * expm1_ratio(xp, a, log)
        return xp.where(base > 0, inside, self.scale * -1 / a if a > 1 or a < 0 else math.inf)

    def link(self, s: Array, /) -> Array:
        """(1 + (a−1)s/scale)₊^{1/(a−1)}."""
        xp, k, z = aac.array_namespace(s), self.exponent - 1, s / self.scale
        if k == 0:
            return xp.exp(z)
        base = 1 + k * z
        inside = xp.exp(xp.log1p(xp.where(base > 0, k * z, 0.0)) / k)
        return xp.where(base > 0, inside, 0.0 if k > 0 else math.inf)

    def curvature(self, t: Array, /) -> Array:
        """t^{2−a}/scale for t > 0, and 0 at t = 0."""
        xp, a = aac.array_namespace(t), self.exponent
        if a == 2:
            return xp.where(t > 0, xp.ones_like(t), 0.0) / self.scale
        return xp.where(t > 0, xp.where(t > 0, t, 1.0) ** (2 - a), 0.0) / self.scale


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
        rough = xp.exp(s) - 1 - s
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
        if isinstance(self.a, bool) or not isinstance(self.a, int | float) or not math.isfinite(self.a):
            raise ValueError(f"the exponent a is {self.a!r}; a finite real number is needed")

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
        Infinite where q has mass outside the support of p.

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
    live = p > 0
    terms = xp.where(live, p * divergence.f(xp.where(live, q / xp.where(live, p, 1.0), 1.0)), 0.0)
    outside = xp.any((p == 0) & (q > 0), axis=-1)
    return xp.astype(xp.where(outside, xp.inf, xp.sum(terms, axis=-1)), dtype)


def require_divergence(divergence: object) -> None:
    """Say what a divergence is when something else was given."""
    if not isinstance(divergence, Divergence):
        raise TypeError(
            f"the divergence is {divergence!r}; pass an instance such as KL(), ChiSquare() or CressieRead(1.5), "
            "or one of your own subclass of Divergence"
        )
