"""Spectral risk measures: weights by rank, whatever the size of the losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import array_api_compat as aac

from ._blocks import in_blocks
from ._problem import Answer, Problem, finish, pose
from ._types import Array, Solution
from ._xp import device, number


class Spectrum:
    """How much weight the largest losses get: an increasing concave Ψ from [0, 1] onto [0, 1].

    Subclass it to add a risk measure: write `top`, elementwise on arrays.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> class Mean(cp.Spectrum):
    ...     def top(self, mass): return mass
    >>> cp.spectral(np.array([0.0, 3.0]), Mean()).weights
    array([0.5, 0.5])
    """

    def top(self, mass: Array, /) -> Array:
        """Weight Ψ(u) that the prior mass u of the largest losses gets together."""
        raise NotImplementedError(f"{type(self).__name__} must define top(mass)")


@dataclass(frozen=True)
class Superquantile(Spectrum):
    """Mean of the worst ``level`` of the mass, Ψ(u) = min(u/α, 1): conditional value at risk, as `cvar`.

    Parameters
    ----------
    level : float
        α in (0, 1].

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.spectral(np.array([0.0, 1.0, 2.0, 3.0]), cp.Superquantile(0.375)).weights.round(6)
    array([0.      , 0.      , 0.333333, 0.666667])
    """

    level: float

    def __post_init__(self) -> None:
        number("level", self.level, lambda v: 0 < v <= 1, "a float in (0, 1]")

    def top(self, mass: Array, /) -> Array:
        """min(u/α, 1)."""
        return aac.array_namespace(mass).minimum(mass / self.level, 1.0)


@dataclass(frozen=True)
class Extremile(Spectrum):
    """Expected largest of r independent draws, Ψ(u) = 1 − (1 − u)^r (Daouia, Gijbels and Stupfler 2019).

    Parameters
    ----------
    r : float
        ≥ 1; 1 is the mean.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.spectral(np.array([0.0, 1.0]), cp.Extremile(2.0)).weights
    array([0.25, 0.75])
    """

    r: float

    def __post_init__(self) -> None:
        number("r", self.r, lambda v: 1 <= v < math.inf, "a float finite and >= 1")

    def top(self, mass: Array, /) -> Array:
        """1 − (1 − u)^r."""
        xp = aac.array_namespace(mass)
        rest = xp.where(mass < 1, 1 - mass, 1.0)
        return xp.where(mass < 1, -xp.expm1(self.r * xp.log(rest)), 1.0)


@dataclass(frozen=True)
class Exponential(Spectrum):
    """Exponential spectrum, Ψ(u) = (1 − e^{−ru})/(1 − e^{−r}) (Acerbi 2002; Cotter and Dowd 2006).

    Parameters
    ----------
    r : float
        Risk aversion > 0; towards 0 it is the mean.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> cp.spectral(np.array([0.0, 1.0]), cp.Exponential(2.0)).weights.round(6)
    array([0.268941, 0.731059])
    """

    r: float

    def __post_init__(self) -> None:
        number("r", self.r, lambda v: 0 < v < math.inf, "a float finite and > 0")

    def top(self, mass: Array, /) -> Array:
        """(1 − e^{−ru})/(1 − e^{−r})."""
        xp = aac.array_namespace(mass)
        return xp.expm1(-self.r * mass) / xp.expm1(xp.zeros_like(mass) - self.r)


@in_blocks
def spectral(losses: Array, spectrum: Spectrum, /, *, prior: Array | None = None) -> Solution:
    """Solve max over q of ⟨q, l⟩ subject to Σ_{i∈S} q_i ≤ Ψ(Σ_{i∈S} p_i) for every set S of atoms.

    Parameters
    ----------
    losses : array of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask, as is zero prior.
    spectrum : Spectrum
        Ψ: `Superquantile`, `Extremile`, `Exponential` or one of your own.
    prior : array, shape broadcastable to the losses', optional
        Non-negative masses of any scale; uniform by default.

    Returns
    -------
    Solution
        The i-th largest loss gets Ψ of the mass down to it minus Ψ of the mass above it; equal losses share in
        proportion to the prior. ``value`` is the spectral risk; ``shift`` is the smallest loss, from which the
        dual (the Choquet integral of Ψ over the losses) starts; ``multiplier`` is 0.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`; wrong values set ``status``.

    Notes
    -----
    Acerbi, "Spectral measures of risk", Journal of Banking and Finance 26 (2002). These weights need a sort, so
    losses that are spread over processes have to be gathered first.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> solution = cp.spectral(np.array([3.0, 1.0, 1.0]), cp.Extremile(2.0))
    >>> solution.weights.round(6), float(solution.value)
    (array([0.555556, 0.222222, 0.222222]), 2.111111)
    """
    if not isinstance(spectrum, Spectrum):
        raise TypeError(
            f"the spectrum is {spectrum!r}; pass an instance such as Superquantile(0.1), Extremile(2.0), "
            "Exponential(1.0), or one of your own subclass of Spectrum"
        )
    problem = pose(losses, prior, 0.0, "radius", None)
    xp = problem.xp
    key = xp.where(problem.live, problem.x, 2.0)
    order = xp.argsort(key, axis=-1, stable=True)
    p, x = (xp.take_along_axis(v, order, axis=-1) for v in (problem.p, key))
    mass = _running_sum(xp, p)
    mass = xp.minimum(mass / xp.where(mass[..., -1:] > 0, mass[..., -1:], 1.0), 1.0)
    above, down_to = _ties(xp, x, mass)
    block = down_to - above
    share = xp.where(block > 0, p / xp.where(block > 0, block, 1.0), 0.0)
    q = share * (spectrum.top(down_to) - spectrum.top(above))
    back = xp.argsort(order, axis=-1, stable=True)
    lowest = xp.max(problem.x, axis=-1, keepdims=True)
    answer = Answer(xp.take_along_axis(q, back, axis=-1), xp.ones_like(problem.mean), lowest)
    gap = _choquet_gap(problem, spectrum, x, mass, answer.q)
    none = xp.zeros_like(gap)
    return finish(problem, answer, gap=gap, cost=none, saturated=none > 0, multiplier=none)


def _running_sum(xp: Any, p: Array) -> Array:
    """Cumulative sum in two levels: its rounding grows with √n instead of n."""
    n = p.shape[-1]
    width = math.isqrt(n - 1) + 1
    padded = xp.concat([p, xp.zeros((*p.shape[:-1], width * width - n), dtype=p.dtype, device=device(p))], axis=-1)
    blocks = xp.cumulative_sum(xp.reshape(padded, (*p.shape[:-1], width, width)), axis=-1)
    before = xp.cumulative_sum(blocks[..., -1], axis=-1) - blocks[..., -1]
    return xp.reshape(blocks + before[..., None], padded.shape)[..., :n]


def _ties(xp: Any, x: Array, mass: Array) -> tuple[Array, Array]:
    """Return the prior mass above and down to the end of each sorted atom's block of equal losses."""
    new = xp.concat([xp.ones_like(x[..., :1]), xp.astype(x[..., 1:] > x[..., :-1], x.dtype)], axis=-1) > 0
    last = xp.concat([new[..., 1:], xp.ones_like(x[..., :1]) > 0], axis=-1)
    before = xp.concat([xp.zeros_like(mass[..., :1]), mass[..., :-1]], axis=-1)
    above, down_to = xp.where(new, before, 0.0), xp.where(last, mass, 1.0)
    step = 1
    while step < x.shape[-1]:  # a running maximum from the left, a running minimum from the right
        above = xp.concat([above[..., :step], xp.maximum(above[..., step:], above[..., :-step])], axis=-1)
        down_to = xp.concat([xp.minimum(down_to[..., :-step], down_to[..., step:]), down_to[..., -step:]], axis=-1)
        step *= 2
    return above, down_to


def _choquet_gap(problem: Problem, spectrum: Spectrum, x: Array, mass: Array, q: Array) -> Array:
    """Return the Choquet integral of the losses minus ⟨q, l⟩, in units of the range."""
    xp = problem.xp
    steps = xp.where(x[..., 1:] <= 1, x[..., 1:] - x[..., :-1], 0.0)
    integral = xp.sum(steps * (1 - spectrum.top(mass[..., :-1])), axis=-1, keepdims=True)
    (below,) = problem.reduce.sum(q * problem.x)
    return below - integral
