"""Derivatives of weights and values at a solution, by the implicit function theorem (no autograd inside).

With q = p g(s), s = (l − η)/λ, t = q/p and h = p g'(s), a change of the data moves the weights by
dq = t dp + h ds,  ds = dl/λ − dη/λ − s dλ/λ,  where dη (and dλ, for a radius) keep Σ dq = 0 (and dD = dρ).
Hence a vector-Jacobian product is the residual of the h-weighted regression of the upstream gradient on 1 (and s).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

import counterpoise as cp


class Point(NamedTuple):
    """A solution and what its derivatives are made of; shapes (..., n) or (..., 1)."""

    mass: Tensor
    p: Tensor
    t: Tensor
    s: Tensor
    h: Tensor
    f: Tensor
    """f(t)."""
    rate: Tensor
    """1/λ, and 0 where the weights do not move with the losses."""
    spread: Tensor
    """Σ h (s − s̄)² of a radius; 0 for a penalty, and where the radius fixes nothing."""
    centre: Tensor
    """s̄, the h-weighted mean of s."""
    total: Tensor
    """Σ h."""
    amount_rate: Tensor
    """dq/d(amount) before the constraints act, a CVaR's cap only; shape (..., n)."""


def _mean(h: Tensor, total: Tensor, v: Tensor) -> Tensor:
    return (h * v).sum(-1, keepdim=True) / total


def point(
    verb: str,
    divergence: cp.Divergence,
    losses: Tensor,
    prior: Tensor,
    amount: Tensor,
    solution: cp.Solution,
) -> Point:
    """Collect the pieces at a solution of ``penalized``, ``constrained`` or ``cvar``."""
    live = (prior > 0) & (losses > -torch.inf)
    masked = torch.where(live, prior, 0.0)
    mass = masked.sum(-1, keepdim=True)
    p = masked / mass
    q, lam, eta = solution.weights, solution.multiplier.unsqueeze(-1), solution.shift.unsqueeze(-1)
    t = torch.where(live, q / torch.where(live, p, 1.0), 0.0)
    moving = (lam > 0) & (lam < torch.inf) & (solution.status == int(cp.Status.CONVERGED)).unsqueeze(-1)
    safe = torch.where(moving, lam, 1.0)
    s = torch.where(live & moving, (losses - eta) / safe, 0.0)
    amount_rate = torch.zeros_like(q)
    if verb == "cvar":
        level = amount.unsqueeze(-1)
        # rounding leaves a filled weight a few ulp beside its cap
        at_cap = t * level >= 1 - 32 * torch.finfo(t.dtype).eps
        capped = live & torch.where(moving, losses > eta - safe * torch.log(level), at_cap)
        h = torch.where(moving, q, p * (t > 0)) * ~capped
        # a level below 1 moves every capped weight p/α, as far as others can make up for it
        amount_rate = torch.where(capped & (h > 0).any(-1, keepdim=True), -q / level, 0.0)
    else:
        h = torch.where(moving, p * divergence.curvature(t), q)
    h = torch.where(live, h, 0.0)
    total = h.sum(-1, keepdim=True)
    total = torch.where(total > 0, total, 1.0)
    centre = _mean(h, total, s)
    spread = (h * (s - centre) ** 2).sum(-1, keepdim=True)
    fixed = moving if verb == "constrained" else torch.zeros_like(moving)
    # two or fewer moving atoms of equal loss leave nothing for the radius to fix
    spread = torch.where(fixed & (spread > 0), spread, 0.0)
    rate = torch.where(moving, 1 / safe, 0.0)
    f = torch.where(live, divergence.f(t), 0.0) if verb == "constrained" else torch.zeros_like(t)
    return Point(mass, p, t, s, h, f, rate, spread, centre, total, amount_rate)


def weights_vjp(verb: str, at: Point, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients in losses, prior masses and amount of Σ upstream · weights."""
    mean = _mean(at.h, at.total, upstream)
    residual = upstream - mean
    amount: Tensor
    if verb == "constrained":
        determined = at.spread > 0
        off = at.s - at.centre
        slope = (at.h * off * residual).sum(-1, keepdim=True) / torch.where(determined, at.spread, 1.0)
        slope = torch.where(determined, slope, 0.0)
        residual = residual - slope * off
        level = mean - slope * at.centre
        p_grad = at.t * (upstream - level) - slope * at.f
        amount = slope
    else:
        p_grad = at.t * residual
        direct = at.amount_rate if verb == "cvar" else -at.h * at.s * at.rate
        amount = (direct * residual).sum(-1, keepdim=True)
    losses = at.h * residual * at.rate
    return losses, _to_mass(at, p_grad), amount.squeeze(-1)


def weights_jvp(verb: str, at: Point, losses: Tensor, prior: Tensor, amount: Tensor) -> Tensor:
    """Return the change of the weights under tangents of losses, prior masses and amount."""
    dp = _from_mass(at, prior)
    moved = at.t * dp
    amount = amount.unsqueeze(-1)
    if verb == "cvar":
        moved = moved + at.amount_rate * amount
    drift = torch.where(at.h > 0, losses, 0.0) * at.rate
    if verb == "penalized":
        drift = drift - at.s * at.rate * amount
    # h ds with ds = drift − a − b s must undo Σ moved, and for a radius meet dD = dρ
    shift = _mean(at.h, at.total, drift) + moved.sum(-1, keepdim=True) / at.total
    ds = drift - shift
    if verb == "constrained":
        determined = at.spread > 0
        off = at.s - at.centre
        want = amount - (at.f * dp).sum(-1, keepdim=True) + at.centre * moved.sum(-1, keepdim=True)
        have = (at.h * off * ds).sum(-1, keepdim=True)
        slope = (want - have) / torch.where(determined, at.spread, 1.0)
        ds = ds + torch.where(determined, slope, 0.0) * off
    return moved + at.h * ds


def value_gradients(
    verb: str, divergence: cp.Divergence, at: Point, losses: Tensor, amount: Tensor, solution: cp.Solution
) -> tuple[Tensor, Tensor, Tensor]:
    """Return d value in losses, prior masses and amount (envelope theorem)."""
    q, eta, lam = solution.weights, solution.shift.unsqueeze(-1), solution.multiplier.unsqueeze(-1)
    live = at.p > 0
    level = amount.unsqueeze(-1)
    if verb == "cvar":
        top = torch.log(1 / level)
        smooth = lam > 0
        over = (losses - eta) / torch.where(smooth, lam, 1.0)
        beyond = torch.clamp(over - top, min=0.0)
        inner = lam * (torch.expm1(torch.minimum(over, top)) + beyond / level)
        hard = torch.clamp(losses - eta, min=0.0)
        p_grad = torch.where(smooth, inner, hard / level)
        beyond_l = torch.where(smooth, lam * beyond, hard)
        change = -(at.p * torch.where(live, beyond_l, 0.0)).sum(-1) / amount**2
    else:
        # λ f*(s), which is the loss above η itself where λ has no part; the mean over the prior is subtracted below
        plain = losses
        p_grad = torch.where(at.rate > 0, lam * divergence.conjugate(at.s), plain)
        if verb == "penalized":
            spent = torch.where(live, at.p * divergence.f(at.t), 0.0).sum(-1)
            change = torch.where(at.rate.squeeze(-1) > 0, -spent, torch.zeros_like(spent))
        else:
            change = solution.multiplier
    p_grad = torch.where(live, p_grad, 0.0)
    if verb != "cvar":
        # frozen rows: the value is Σ q l with q ∝ p on its support
        frozen = at.t * (losses - solution.value.unsqueeze(-1))
        p_grad = torch.where(at.rate > 0, p_grad, torch.where(live & (at.t > 0), frozen, 0.0))
    return q, _to_mass(at, p_grad), change


def _to_mass(at: Point, p_grad: Tensor) -> Tensor:
    """Gradient in the masses m from that in p = m/Σm."""
    live = at.p > 0
    return torch.where(live, (p_grad - (at.p * p_grad).sum(-1, keepdim=True)) / at.mass, 0.0)


def _from_mass(at: Point, mass: Tensor) -> Tensor:
    """Tangent of p = m/Σm from that of the masses m."""
    mass = torch.where(at.p > 0, mass, 0.0)
    return (mass - at.p * mass.sum(-1, keepdim=True)) / at.mass
