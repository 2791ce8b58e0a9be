"""Weights of a mixture by maximum likelihood over the simplex, to a certified optimum."""

from __future__ import annotations

from typing import Any

from .. import _xp
from .._types import AllReduce, Array
from .features import Blocks

NEWTON_STEPS = 60
EM_STEPS = 5000


def mixture_weights(
    xp: Any, blocks: Blocks, mean: Array, *, tolerance: float, all_reduce: AllReduce | None = None
) -> tuple[Array, Array]:
    """Maximise mean log(Gs) over the simplex, G = features/mean, and return s with its duality gap.

    Primal-dual interior-point steps on min x·1 − mean log Gx, x ≥ 0, whose solution sums to 1; multiplicative steps
    (EM) where the library has no linear algebra, or where rounding stops the others.
    """
    live = mean < xp.inf
    x = xp.where(live, xp.ones_like(mean), xp.zeros_like(mean))
    x = x / xp.sum(x)
    z = xp.ones_like(x)
    best, least = x, xp.zeros_like(x[0]) + xp.inf
    for _ in range(NEWTON_STEPS if hasattr(xp, "linalg") else 0):
        g, hessian = _derivatives(xp, blocks, mean, x, all_reduce, second=True)
        scale = xp.sum(x)
        gap = scale * xp.max(g) - 1
        if bool(gap < least):
            best, least = x / scale, gap
        if bool(gap <= tolerance) or not bool(xp.isfinite(gap)):
            break
        stepped = _interior_step(xp, x, z, g, hessian, live)
        if not bool(xp.all(xp.isfinite(stepped[0]))):
            break
        x, z = stepped
    for _ in range(EM_STEPS if not bool(least <= tolerance) else 0):
        g, _ = _derivatives(xp, blocks, mean, best, all_reduce, second=False)
        least = xp.max(g) - 1
        if bool(least <= tolerance):
            break
        best = best * g
        best = best / xp.sum(best)
    return best, xp.maximum(least, xp.zeros_like(least))


def _derivatives(
    xp: Any, blocks: Blocks, mean: Array, x: Array, all_reduce: AllReduce | None, *, second: bool
) -> tuple[Array, Array]:
    """Gradient g = mean G/(Gx) and the matrix mean GGᵀ/(Gx)², over the target rows."""
    g, hessian, count = xp.zeros_like(x), xp.zeros_like(x)[:, None] * x[None, :], 0
    for block in blocks():
        scaled = block / mean
        scaled = scaled / xp.matmul(scaled, x)[:, None]
        g = g + xp.sum(scaled, axis=0)
        count += int(block.shape[0])
        if second:
            hessian = hessian + xp.matmul(xp.matrix_transpose(scaled), scaled)
    number = g[0] * 0 + float(count)
    if all_reduce is not None:
        g, number = all_reduce(g, "sum"), all_reduce(number[None], "sum")[0]
        hessian = all_reduce(hessian, "sum") if second else hessian
    return g / number, hessian / number


def _interior_step(xp: Any, x: Array, z: Array, g: Array, hessian: Array, live: Array) -> tuple[Array, Array]:
    """One predictor-corrector step on 1 − g(x) = z, x∘z = μ (Mehrotra)."""
    safe = xp.where(live, x, xp.ones_like(x))
    matrix = hessian + xp.eye(int(x.shape[0]), dtype=x.dtype, device=_xp.device(x)) * (z / safe)
    count = xp.sum(xp.astype(live, x.dtype))
    centre = xp.sum(x * z) / count

    def direction(complement: Array) -> tuple[Array, Array]:
        # xz + x dz + z dx = complement, dz = 1 − g − z + H dx
        dx = xp.linalg.solve(matrix, (g - 1 + complement / safe)[:, None])[:, 0]
        dx = xp.where(live, dx, xp.zeros_like(dx))
        return dx, complement / safe - z - z / safe * dx

    def reach(v: Array, dv: Array) -> Array:
        falling = live & (dv < 0)
        ratio = xp.where(falling, -v / xp.where(falling, dv, -xp.ones_like(dv)), xp.zeros_like(v) + xp.inf)
        return xp.minimum(xp.min(ratio), xp.ones_like(ratio[0]) * 1e3)

    one = xp.ones_like(centre)
    dx, dz = direction(xp.zeros_like(x))
    ahead_x, ahead_z = xp.minimum(one, reach(x, dx)), xp.minimum(one, reach(z, dz))
    after = xp.sum(xp.where(live, (x + ahead_x * dx) * (z + ahead_z * dz), xp.zeros_like(x))) / count
    goal = centre * (after / centre) ** 3
    dx, dz = direction(goal - ahead_x * ahead_z * dx * dz)
    step_x, step_z = xp.minimum(one, 0.99 * reach(x, dx)), xp.minimum(one, 0.99 * reach(z, dz))
    return xp.where(live, x + step_x * dx, x), xp.where(live, z + step_z * dz, z)
