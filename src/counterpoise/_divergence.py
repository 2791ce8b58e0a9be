"""What the solvers ask of a divergence D(q‖p) = Σ p f(q/p), and the powers t^a, which share one exact solver."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import array_api_compat as aac

from ._types import Array


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


def require_divergence(divergence: object) -> None:
    """Say what a divergence is when something else was given."""
    if not isinstance(divergence, Divergence):
        raise TypeError(
            f"the divergence is {divergence!r}; pass an instance such as KL(), ChiSquare() or CressieRead(1.5), "
            "or one of your own subclass of Divergence"
        )
