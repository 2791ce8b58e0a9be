"""Elementary functions where a compiler's own are too slow, or cancel."""

# mypy: ignore-errors
import triton
import triton.language as tl

LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def log1p(z):
    """log(1 + z); Kahan's quotient undoes the rounding of 1 + z."""
    u = 1.0 + z
    safe = tl.where(u == 1.0, 2.0, u)
    return tl.where(u == 1.0, z, tl.log(tl.where(safe > 0, safe, 1.0)) * (z / (safe - 1.0)))


@triton.jit
def grown(z, e):
    """e^z − 1 from z and e = e^z: Taylor's polynomial below ½, where the difference would cancel."""
    near = z * (1 / 5040) + 1 / 720
    near = near * z + 1 / 120
    near = near * z + 1 / 24
    near = near * z + 1 / 6
    near = near * z + 0.5
    near = near * z * z + z
    return tl.where(tl.abs(z) < 0.5, near, e - 1.0)


@triton.jit
def expm1(z):
    """e^z − 1."""
    return grown(z, tl.exp(z))


@triton.jit
def over(a, b):
    """Return a / b for b > 0 to three roundings, in three instructions where a quotient takes eight."""
    root = tl.rsqrt(b)
    return a * root * root


@triton.jit
def tilted(x, centre, t):
    """Return z = t(centre − x) in units of log 2, finite so that 0 z is 0 where 2^z vanishes, and 2^z."""
    steep = t * LOG2E
    z = tl.maximum(tl.fma(x, -steep, centre * steep), -1e30)
    return z, tl.exp2(z)


@triton.jit
def power_log(z, k):
    """Return the log of (1 + z)₊^{1/k}, whether its base is positive, and the base."""
    inside = z > -1
    z = tl.where(inside, z, 0.0)
    return log1p(z) * (1 / k), inside, 1 + z
