"""CVaR: the last atom that the level reaches, between two bounds that end on atoms themselves."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .sums import NEAREST, REACHED, scatter, sums

FEW = tl.constexpr(4.5)
"""Atoms between the bounds from which on a look asks for the nearest ones: it costs twice a plain one."""
STEPS = tl.constexpr(288)
"""Every eighth look halves the 30 bits of the integers between the bounds, and ends them within 240."""


@triton.jit
def _guess(lo, hi, before, upto, level, run, count):
    """Return an integer between the bounds: where the level lies if the mass between them is spread evenly.

    The bound that stays counts half as much with each look that it has stayed (Illinois' rule). The guess is pulled
    towards the farther bound by half of what the masses of as many random atoms would err by, so that the nearer one
    is passed and the bounds close from both sides.
    """
    left = (lo + 1).to(tl.float32, bitcast=True)
    right = hi.to(tl.float32, bitcast=True)
    near = (level - before) * tl.exp2(1 - tl.maximum(run, 1.0))
    far = (upto - level) * tl.exp2(1 - tl.maximum(-run, 1.0))
    share = near / tl.maximum(near + far, 1.1754943508222875e-38)
    atoms = tl.maximum((upto - before) * count, 1.0)
    pad = 0.5 * tl.sqrt(tl.maximum(share * (1 - share), 0.0)) * tl.rsqrt(atoms)
    share += tl.where(atoms <= FEW, 0.0, tl.where(share < 0.5, pad, -pad))
    return (left + (right - left) * tl.minimum(tl.maximum(share, 0.0), 1.0)).to(tl.int32, bitcast=True)


@triton.jit
def _start(tile, env, level, mean, count, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return where normal distances of this mean and spread have the level, and how far off a sample's may well be."""
    spread = tl.sqrt(tl.maximum(scatter(tile, env, mean, FLAGS, BLOCK), 0.0))
    inside = tl.maximum(level * (1 - level), 1e-12)
    odds = tl.log(tl.maximum(level, 1e-3) / tl.maximum(1 - level, 1e-3))
    normal = odds * (0.607 - 0.0038 * odds * odds)  # its quantile, to 5 % from 0.001 to 0.999
    return mean + spread * normal, 0.8 * spread / tl.sqrt(inside * count)


@triton.jit
def solve_cvar(tile, env, level, mean, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the last x reached, the share of its own mass that is filled, and the mass of all that is.

    Bounds are the integers that order distances as floats. The first two looks are to either side of where normal
    losses would have the level; most of them only sum the mass up to a guess. Where few atoms
    are left between the bounds, or a look passed none, the next moves its bound on to the nearest atom: what is left
    is then one distance, however many atoms tie there.
    """
    lo = level.to(tl.int32) * 0 - 1
    hi = tl.where(done, 0, lo + 0x3F800008)  # just above 1, the largest distance
    before = level * 0.0
    upto = before + 1.0
    run = before
    count = before + env[1][4].to(tl.float32)
    idle = lo * 0
    centre, width = _start(tile, env, level, mean, count, FLAGS, BLOCK)
    steps = 0
    while (tl.max(hi - lo) > 1) & (steps < STEPS):
        middle = lo + (hi - lo) // 2
        if steps < 2:
            aside = tl.where(steps == 0, width, tl.where(run > 0, -width, 3 * width))
            middle = (centre + aside).to(tl.int32, bitcast=True)
        elif steps % 8 != 7:
            middle = _guess(lo, hi, before, upto, level, run, count)
        middle = tl.minimum(tl.maximum(middle, lo + 1), hi - 1)
        open = (hi - lo) > 1
        at = middle.to(tl.float32, bitcast=True)
        reached, _, _, _ = sums(tile, env, at, before, 0.0, REACHED, FLAGS, BLOCK)
        up = open & (reached >= level)
        down = open & (reached < level)
        snap = open & (((upto - before) * count <= FEW) | (idle > 0))
        idle = ((reached == before) | (reached == upto)).to(tl.int32)
        last = middle
        first = middle + 1
        if tl.max(snap.to(tl.int32)) > 0:  # the last atom up to the guess, or the first one beyond
            side = tl.where(up, 1.0, -1.0)
            bound = tl.where(up, at, -first.to(tl.float32, bitcast=True))
            near, _, _, _ = sums(tile, env, side, bound, 0.0, NEAREST, FLAGS, BLOCK)
            last = tl.abs(near).to(tl.int32, bitcast=True)
            first = last
        hi = tl.where(up, last, hi)
        upto = tl.where(up, reached, upto)
        lo = tl.where(down, first - 1, lo)
        before = tl.where(down, reached, before)
        run = tl.where(up, tl.maximum(run, 0.0) + 1, tl.minimum(run, 0.0) - 1)
        steps += 1
    tie = upto - before
    part = tl.minimum(tl.maximum((level - before) / tl.where(tie > 0, tie, 1.0), 0.0), 1.0)
    return hi.to(tl.float32, bitcast=True), part, tl.where(done, 1.0, before + part * tie)
