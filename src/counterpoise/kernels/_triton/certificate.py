"""The sums of a duality gap: of all atoms, or without another look from sums that the weights needed."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .elementary import expm1, grown, power_log
from .families import CHI_BALL, CHI_PENALTY, CVAR, KL_BALL, KL_PENALTY, POWER_PENALTY
from .root import TINY
from .tile import SQUARED, clamped, fold


@triton.jit
def foreseen(numbers, sums, bound, mean, scale_of, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    """Return what `summed` sums over all atoms, and where it cancels: near the prior, but for KL.

    All of it follows from sums that were taken for the weights, if the dual is asked at the threshold that they have:
    any threshold bounds the optimum. Of KL from the mean of y = log e^{t(c − x)} under q; of χ² from Σ w and Σ w² of
    weights w = a(δ − x)₊, up to a factor; of a = 1.5 from those of (1 − x/2τ)₊² and its power 3/2.
    """
    size, extra = sums
    _, penalty = bound
    spent = mean * 0.0 + 1.0
    primal = spent
    convex = spent
    if FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        _, centre, log_mass, t = numbers
        primal = centre - extra / t
        spent = extra - log_mass
        convex = (mean - centre) * t + log_mass
        near = size != size  # y and its sums are small there, and err by a rounding of themselves
    elif FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        _, origin, reach, slope = numbers
        far = extra / size
        primal = origin + (reach - far) / slope
        spent = 0.5 * scale_of * (far / size - 1)
        near = (spent > 0.125 * scale_of) == 0
        steep = penalty * scale_of * slope
        convex = scale_of * (0.5 * (extra / steep / steep + 1) - (reach - (mean - origin) * slope) / steep)
    elif FAMILY == POWER_PENALTY and (SQUARED & FLAGS):
        tau = 1 / numbers[3]
        rise = tau / penalty
        cubed = extra / size
        primal = (1 - cubed) * 2 * tau
        spent = (cubed / tl.sqrt(size) - 1) * (1 / 0.75)
        near = (spent > 1 / 3) == 0
        convex = extra * rise * rise * rise * (2 / 3) + (4 / 3 - 2 * rise) + mean / penalty
    else:
        near = size == size
    return primal, spent, convex, near


@triton.jit
def summed(x, p, q, r, y, bound, k, scale_of, FAMILY: tl.constexpr, FLAGS: tl.constexpr):
    """Return sums of columns: Σ q x, D(q‖p), Σ p (f*(s) − s) at s = (η − x)/λ; f*(s) − s is a maximum at r = f'⁻¹."""
    shift, penalty = bound
    if FAMILY == CVAR:  # what else is in f*(s) − s is known: `report` adds it
        convex = fold(p * clamped(shift - x))
        return fold(q * tl.minimum(x, 2.0)), convex, convex
    live = x < 1e38
    x = tl.where(live, x, 0.0)
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        f = (r - 1) * (r - 1)
        h = (shift - x) * (1 / (penalty * scale_of))
        m = tl.maximum(h, -1.0)
        convex = 0.5 * m * m + (m - h)
    elif FAMILY == KL_PENALTY or FAMILY == KL_BALL:
        above = grown(y, r)
        f = r * y - above
        convex = above - y  # s = y
    elif SQUARED & FLAGS:  # polynomials in the roots of r and of the maximum's
        y = y - 1
        f = y * y * (y + 1.5)
        h = (shift - x) * (0.5 / penalty)
        m = tl.maximum(h, -1.0)
        convex = m * m * (m * (1 / 3) + 1) + (m - h)
    else:
        y = tl.log(tl.maximum(r, TINY))
        f = (r * expm1(k * y) / k - (r - 1)) / (k + 1)
        z = (shift - x) * (1 / penalty)
        y, inside, _ = power_log(z * k, k)
        convex = tl.where(inside, expm1((k + 1) * y), -1.0) / (k + 1) - z
    f = tl.where(live, p * f, 0.0)
    convex = tl.where(live, p * convex, 0.0)
    if FAMILY == CHI_PENALTY or FAMILY == CHI_BALL:
        return fold(q * x), fold(f) * (0.5 * scale_of), fold(convex) * scale_of
    elif SQUARED & FLAGS:
        return fold(q * x), fold(f) * (1 / 0.75), fold(convex) * 2
    else:
        return fold(q * x), fold(f), fold(convex)
