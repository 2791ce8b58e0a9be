"""The forward kernel's families, and each one's unknown by its own solver."""

# mypy: ignore-errors
import triton
import triton.language as tl

from .capped import solve_capped
from .chi_square import shrink
from .cvar import solve_cvar
from .kl import solve_kl_ball, tilt
from .power import solve_power, solve_root
from .root import TINY
from .sums import unit
from .tile import LOOPED, PRIOR, SQUARED

CHI_PENALTY = tl.constexpr(0)
CHI_BALL = tl.constexpr(1)
KL_PENALTY = tl.constexpr(2)
KL_BALL = tl.constexpr(3)
POWER_PENALTY = tl.constexpr(4)
CVAR = tl.constexpr(5)
PROJECT_BALL = tl.constexpr(6)
CAPPED_SIMPLEX = tl.constexpr(7)
PROJECT_SIMPLEX = tl.constexpr(8)
ENTMAX = tl.constexpr(9)
STEEP = tl.constexpr(1e38)
FLAT = tl.constexpr(1e-38)
"""Slopes that leave the argmax alone and the prior as it is."""
LARGEST = tl.constexpr(1e9)
"""A penalty beyond, in units of the range, moves no weight by a rounding; times a divergence's rounding it is large."""


@triton.jit
def solve(tile, env, given, look, k, scale_of, FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Return a row's numbers: what its weights are made of, some sums, penalty, shift, and if it is known without.

    The four numbers are a limit, an origin, a reach and a slope, as `finish` puts them together.

    ``look`` is what `first_look` returns, and which rows have failed. Penalty and shift
    are in units of the range; a row is known where it is saturated (the argmax) or uniform (the prior).
    """
    argmass, mean, spread, failed = look
    zero = mean * 0.0
    never = failed != failed
    if FAMILY == CHI_BALL:
        return _chi_square_ball(tile, env, given, look, scale_of, FLAGS, BLOCK)
    elif FAMILY == PROJECT_BALL:
        return _project_ball(tile, env, given, look, scale_of, FLAGS, BLOCK)
    elif FAMILY == KL_BALL:
        saturated = given >= tl.where(argmass < 1, -tl.log(argmass), 0.0)
        uniform = given == 0
        done = saturated | uniform | failed
        known = tl.where(saturated, zero + STEEP, FLAT)
        radius = tl.where(saturated, 1.0, given)
        t, centre, masses, first = solve_kl_ball(tile, env, radius, mean, spread, done, known, FLAGS, BLOCK)
        return _tilted(t, centre, masses, first, saturated, uniform)
    elif FAMILY == CVAR:
        uniform = given == 1
        last, part, mass = solve_cvar(tile, env, given, mean, spread, uniform | failed, FLAGS, BLOCK)
        return (last, zero, part, zero), (mass, zero, zero), zero + 1.0, last, never, uniform
    elif FAMILY == CAPPED_SIMPLEX:
        numbers = solve_capped(tile, env, env[2][3], failed, FLAGS, BLOCK)
        return numbers, (zero, zero, zero), zero + 1.0, zero, never, never
    else:
        return _penalised(tile, env, given, look, k, scale_of, FAMILY, FLAGS, BLOCK)


@triton.jit
def _tilted(t, centre, masses, first, saturated, uniform):
    """Return what `solve` does for KL at t = 1/λ, from what `tilt` returns there."""
    zero = t * 0.0
    penalty = 1 / tl.where(t > 0, t, 1.0)
    shift = centre - penalty * masses[1]
    return (zero, centre, masses[1], t), (masses[0], first, zero), penalty, shift, saturated, uniform


@triton.jit
def _most(env, argmass, FLAGS: tl.constexpr):
    """Return a mass that the argmax has at least: without a prior one atom's, for which no pass counts ties."""
    if PRIOR & FLAGS:
        return argmass
    else:
        return unit(env, FLAGS)


@triton.jit
def _reached(env, strength, look, FLAGS: tl.constexpr):
    """Return a bound of the threshold: of all atoms' own, and of the argmax's, whose weight is at most 1."""
    argmass, mean, _, _ = look
    return tl.minimum(strength + mean, strength / _most(env, argmass, FLAGS))


@triton.jit
def _penalised(tile, env, given, look, k, scale_of, FAMILY: tl.constexpr, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    argmass, mean, spread, failed = look
    _, half, _, mass, infinite, _, _ = env[2]
    if FAMILY == PROJECT_SIMPLEX:
        given = 0.5 / mass
    elif FAMILY == ENTMAX:
        given = tl.exp(-k * tl.log(mass))
    penalty = 0.5 * given / half
    saturated = (penalty < TINY) | ((infinite > 0) & (given < float("inf")))
    uniform = penalty > LARGEST
    done = saturated | uniform | failed
    penalty = tl.where(done, 1.0, penalty)
    zero = mean * 0.0
    if FAMILY == CHI_PENALTY or FAMILY == PROJECT_SIMPLEX:
        strength = penalty * scale_of
        start = _reached(env, strength, look, FLAGS)
        numbers, moments = shrink(tile, env, strength, mean, start, done, False, FLAGS, BLOCK)
        return numbers, moments, penalty, zero, saturated, uniform
    elif FAMILY == KL_PENALTY:
        t = tl.where(saturated, STEEP, tl.where(uniform, FLAT, 1 / penalty))
        centre, masses, first, _ = tilt(tile, env, t, mean, FLAGS, BLOCK)
        return _tilted(t, centre, masses, first, saturated, uniform)
    else:
        log_mass = zero
        shift = zero  # of a = 1.5, `root_shift` finds it when the weights are summed
        if SQUARED & FLAGS:
            most = _most(env, argmass, FLAGS)
            tau = solve_root(tile, env, penalty, most, mean, spread, done, FAMILY == POWER_PENALTY, FLAGS, BLOCK)
        else:
            tau, log_mass, shift = solve_power(tile, env, penalty, argmass, k, done, FLAGS, BLOCK)
        return (zero + float("inf"), zero, log_mass, 1 / tau), (zero, zero, zero), penalty, shift, saturated, uniform


@triton.jit
def _chi_square_ball(tile, env, given, look, scale_of, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    argmass, mean, spread, failed = look
    saturated = given >= tl.where(argmass < 1, 1 / argmass - 1, 0.0)
    uniform = given == 0
    done = saturated | uniform | failed
    radius = tl.where(done, 1.0, given)
    start = mean * 0.0 + float("inf")
    if ((PRIOR | LOOPED) & FLAGS) == 0:  # what normal losses ask for, to 0.06 of their spread, or all atoms together
        spread = tl.sqrt(tl.maximum(spread, 0.0))
        steep = 1 / tl.sqrt(radius)
        steep = tl.where(steep < 2, steep - 2.377 * tl.exp(-1.8 * steep), steep)
        start = tl.where(spread > 0, tl.maximum(mean + spread * steep, 0.25 * mean), start)
    numbers, moments = shrink(tile, env, radius, mean, start, done, True, FLAGS, BLOCK)
    reach = numbers[2]
    return numbers, moments, (reach * moments[0] - moments[1]) / scale_of, mean * 0.0, saturated, uniform


@triton.jit
def _project_ball(tile, env, given, look, scale_of, FLAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Project onto the simplex where that lies in the ball, else onto the ball."""
    _, mean, _, failed = look
    _, half, _, mass, infinite, _, _ = env[2]
    ball, moments, penalty, _, saturated, uniform = _chi_square_ball(
        tile, env, given, look, scale_of, FLAGS, BLOCK
    )  # fmt: skip
    uniform = uniform & (saturated == 0)
    own = 0.25 / mass / half
    bound = tl.where(uniform | (infinite > 0), float("inf"), penalty)
    free = tl.where(saturated, 0.0, bound) <= own
    plain = (infinite > 0) | (own == 0)
    stays = failed | (free == 0) | plain | (own == float("inf"))
    own = tl.where(stays & (free == 0), 1.0, own)
    start = _reached(env, own * scale_of, look, FLAGS)
    simplex, _ = shrink(tile, env, own * scale_of, mean, start, stays, False, FLAGS, BLOCK)
    a = tl.where(free, simplex[0], ball[0])
    b = tl.where(free, simplex[1], ball[1])
    d = tl.where(free, simplex[2], ball[2])
    penalty = tl.where(free, own, penalty)
    uniform = tl.where(free, own == float("inf"), uniform)
    return (a, b, d, mean * 0.0 + 1.0), moments, penalty, mean * 0.0, free & plain, uniform
