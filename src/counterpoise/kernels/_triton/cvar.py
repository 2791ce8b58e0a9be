"""CVaR: the last atom that the level reaches, between two bounds that end on atoms themselves."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .elementary import LN2, over
from .sums import NEAREST, REACHED, sums
from .tile import PRIOR, once

FEW = tl.constexpr(2.5)
"""Atoms between the bounds from which on a look asks for the nearest one too: it costs twice a plain one."""
STEPS = tl.constexpr(288)
"""Every eighth look halves the 30 bits of the integers between the bounds, and ends them within 240."""


@triton.jit
def _guess(lo, hi, before, upto, level, weights, count):
    """Return an integer between the bounds: where the level lies if the mass between them is spread evenly.

    The bound that stays counts half as much with each look that it has stayed (Illinois' rule). The guess is pulled
    towards the farther bound by a part of what the masses of as many random atoms would err by, so that the nearer
    one is passed and the bounds close from both sides.
    """
    left = (lo + 1).to(tl.float32, bitcast=True)
    right = hi.to(tl.float32, bitcast=True)
    near = (level - before) * weights[0]
    far = (upto - level) * weights[1]
    share = over(near, near + far)
    pad = 0.2 * tl.rsqrt(tl.maximum((upto - before) * count, 1.0))
    share += tl.where(share < 0.5, pad, -pad)
    return (left + (right - left) * tl.minimum(tl.maximum(share, 0.0), 1.0)).to(tl.int32, bitcast=True)


@triton.jit
def _log2(v):
    """Return log₂ v + 127 to 0.01: a float's bits are its exponent and, as far as that, about its logarithm."""
    bits = v.to(tl.int32, bitcast=True)
    part = ((bits & 0x007FFFFF) | 0x3F800000).to(tl.float32, bitcast=True) - 1
    return bits.to(tl.float32) * (1 / 8388608) + 0.345 * part * (1 - part)


@triton.jit
def _start(level, mean, spread):
    """Return where normal distances of this mean and spread have the level, and how far that moves with it."""
    spread = tl.sqrt(tl.maximum(spread, 0.0))
    above = tl.maximum(1 - level, 1e-3)
    level = tl.maximum(level, 1e-3)
    odds = LN2 * (_log2(level) - _log2(above))
    quantile = odds * (0.607 - 0.0038 * odds * odds)  # to 5 % from 0.001 to 0.999
    width = spread * (0.607 - 0.0114 * odds * odds)
    return mean + spread * quantile, over(width, level * above)


@triton.jit
def _nearest(tile, env, lo, hi, low, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the atom between the bounds that is nearest to the lower one or to the other, as an integer."""
    bound = tl.where(low, lo + 1, hi).to(tl.float32, bitcast=True)
    side = tl.where(low, -1.0, 1.0)
    near, _, _, _ = sums(tile, env, side, side * bound, 0.0, NEAREST, FLAGS, BLOCK)
    return tl.abs(near).to(tl.int32, bitcast=True)


@triton.jit
def solve_cvar(tile, env, level, mean, spread, done, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the last x reached, the share of its own mass that is filled, and the mass of all that is.

    Bounds are the integers that order distances as floats. The first guess is where normal losses would have the
    level, the second where they would after what the first has shown; most looks only sum the mass up to a guess.
    Where few atoms are left between the bounds, or a look passed none, the bound nearer to the level moves on to the
    nearest atom: that alone, where no other is left, or else the next guess, which tells whether the level is there.
    """
    lo = level.to(tl.int32) * 0 - 1
    hi = tl.where(done, 0, lo + 0x3F800008)  # just above 1, the largest distance
    before = level * 0.0
    upto = before + 1.0
    weights = (upto, upto)
    run = before
    count = before + env[1][4].to(tl.float32)
    if (PRIOR & FLAGS) == 0:
        count = env[2][3]
    centre, slowness = _start(level, mean, spread)
    middle = centre.to(tl.int32, bitcast=True)
    steps = 0
    left = tl.max(hi - lo) - 1
    while (left > 0) & (steps < STEPS):
        lo = once(lo)
        hi = once(hi)
        before = once(before)
        upto = once(upto)
        run = once(run)
        weights = (once(weights[0]), once(weights[1]))
        middle = tl.minimum(tl.maximum(once(middle), lo + 1), hi - 1)
        reached, _, _, _ = sums(tile, env, middle.to(tl.float32, bitcast=True), before, 0.0, REACHED, FLAGS, BLOCK)
        open = (hi - lo) > 1
        up = open & (reached >= level)
        down = open & (reached < level)
        idle = (reached == before) | (reached == upto)
        near = tl.where(down, 1.0, tl.where(run > 0, 0.5 * weights[0], weights[0]))
        far = tl.where(up, 1.0, tl.where(run < 0, 0.5 * weights[1], weights[1]))
        weights = (near, far)
        run = tl.where(up, 1.0, -1.0)
        hi = tl.where(up, middle, hi)
        upto = tl.where(up, reached, upto)
        lo = tl.where(down, middle, lo)
        before = tl.where(down, reached, before)
        atoms = (upto - before) * count
        if steps == 0:
            middle = (centre + (level - reached) * slowness).to(tl.int32, bitcast=True)
        elif steps % 8 == 7:
            middle = lo + (hi - lo) // 2
        else:
            middle = _guess(lo, hi, before, upto, level, weights, count)
        open = open & ((hi - lo) > 1)
        snap = open & (idle | (atoms <= FEW))
        left = tl.max(tl.where(snap, 1, tl.where(open, 2, 0)))
        if left == 1:  # once for all rows of a program
            low = (level - before) <= (upto - level)
            low = tl.where(atoms <= FEW, low, down)
            atom = _nearest(tile, env, lo, hi, low, FLAGS, BLOCK)
            alone = snap & (atoms < 1.5)
            if PRIOR & FLAGS:
                alone = alone & (steps < 0)  # how many atoms a mass is of is not known
            lo = tl.where(alone | (snap & low), atom - 1, lo)
            hi = tl.where(alone | (snap & (low == 0)), atom, hi)
            middle = tl.where(snap, tl.where(low, atom, atom - 1), middle)
            left = tl.max(hi - lo) - 1
        steps += 1
    tie = upto - before
    part = tl.minimum(tl.maximum((level - before) / tl.where(tie > 0, tie, 1.0), 0.0), 1.0)
    return hi.to(tl.float32, bitcast=True), part, tl.where(done, 1.0, before + part * tie)
