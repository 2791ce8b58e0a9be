"""The readable implementation: the core's own solvers on torch tensors, and a faster one for plain projections."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import counterpoise as cp

from ..projection import ball_in_metric
from ._spec import Rows, Spec, Weighed, accumulated
from ._threshold import threshold_weights

STEEP = 8.0
"""Largest exponent 1/(α − 1) for which (y − τ)₊^e is accurate without logarithms."""


def reference(spec: Spec, rows: Rows) -> Weighed:
    """Solve the rows; what is masked, by whatever means, counts as -inf."""
    x = rows.scores.to(accumulated(rows.scores.dtype)).contiguous()
    if rows.mask is not None:
        x = x.masked_fill(~rows.mask, -math.inf)
    if rows.lengths is not None:
        beyond = torch.arange(x.shape[1], device=x.device) >= rows.lengths.unsqueeze(1)
        x = x.masked_fill(beyond, -math.inf)
    prior = None if rows.prior is None else rows.prior.to(x.dtype)
    if prior is not None and (rows.mask is not None or rows.lengths is not None):
        prior = torch.where(x == -math.inf, 0.0, prior)  # what is masked may hold anything
    amount = spec.amount if rows.amounts is None else rows.amounts.to(x.dtype)
    if spec.metric or spec.family == "entmax":
        numbers = torch.zeros((4, len(x)), dtype=x.dtype, device=x.device)
        numbers[3] = 1.0
        if spec.family == "project_ball":
            weights, multiplier = ball_in_metric(x, amount, prior)
            numbers[0], numbers[3] = multiplier, torch.where(multiplier > 0, 0.5 / multiplier, 0.0)
        else:
            weights = _projected(spec, x, prior, rows.caps)
        status = torch.zeros(len(x), dtype=torch.int32, device=x.device)
        return Weighed(weights.to(spec.dtype), numbers[0].clone(), numbers, status)
    solution = _solution(spec, x, prior, amount)
    numbers = torch.stack([solution.multiplier, solution.shift, solution.gap, _rate(spec, x, prior, solution)])
    return Weighed(solution.weights.to(spec.dtype), solution.value.clone(), numbers, solution.status)


def _projected(spec: Spec, x: Tensor, prior: Tensor | None, caps: Tensor | None) -> Tensor:
    if spec.family == "project_capped_simplex":
        cap = spec.cap if caps is None else caps.to(x.dtype)
        weights: Tensor = cp.project_capped_simplex(x, cap=cap, prior=prior)
        return weights
    if spec.family == "project_simplex":
        return threshold_weights(x, 1.0, 1.0) if prior is None else cp.project_simplex(x, prior=prior)
    k = spec.exponent - 1
    if k * STEEP >= 1:
        return threshold_weights(x, k, 1 / k)
    live = (x != -math.inf).sum(-1).clamp(min=1).to(x.dtype)
    weights = cp.penalized(x, cp.CressieRead(spec.exponent), live**-k).weights
    return weights


def _solution(spec: Spec, x: Tensor, prior: Tensor | None, amount: float | Tensor) -> cp.Solution:
    if spec.family == "cvar":
        return cp.cvar(x, amount, prior=prior)
    divergence: cp.Divergence = cp.KL()
    if spec.family.startswith("chi_square"):
        divergence = cp.ChiSquare()
    elif spec.family == "power_penalty":
        divergence = cp.CressieRead(spec.exponent)
    verb = cp.constrained if spec.family.endswith("ball") else cp.penalized
    return verb(x, divergence, amount, prior=prior)


def _rate(spec: Spec, x: Tensor, prior: Tensor | None, solution: cp.Solution) -> Tensor:
    """Return the factor of the Jacobian that `pull` leaves out: 1/λ, and what normalises the prior in h = p t^{2−a}."""
    moving = (solution.multiplier > 0) & (solution.multiplier < math.inf)
    moving = moving & (solution.status == int(cp.Status.CONVERGED)) & (spec.family != "cvar")
    rate = torch.where(moving, 1 / torch.where(moving, solution.multiplier, 1.0), 0.0)
    live = (x != -math.inf).to(x.dtype)
    if spec.family.startswith("kl"):
        return rate
    mass = (live if prior is None else torch.where(live > 0, prior, 0.0)).sum(-1)
    mass = torch.where(mass > 0, mass, 1.0)
    return rate / mass / 2 if spec.family.startswith("chi_square") else rate * mass ** (1 - spec.exponent)


def reference_pull(spec: Spec, rows: Rows, weights: Tensor, numbers: Tensor, up: Tensor, forward: bool) -> Tensor:
    """Return the Jacobian of the weights times ``up``, or its transpose: the residual of an h-weighted regression.

    They differ for values in the metric of a prior only, where the symmetric Jacobian is that in values/prior.
    """
    wide = numbers.dtype
    q, g = weights.to(wide), up.to(wide)
    p = None if rows.prior is None else rows.prior.to(wide)
    h = _curvature(spec, q, p, rows.caps)
    moving = h > 0
    in_metric = spec.metric and p is not None
    p = torch.ones_like(h[:1]) if p is None else p
    g = torch.where(moving, g / torch.where(p > 0, p, 1.0) if in_metric and forward else g, 0.0)
    total = h.sum(-1, keepdim=True)
    total = torch.where(total > 0, total, 1.0)
    residual = g - (h * g).sum(-1, keepdim=True) / total
    if spec.family.endswith("ball"):
        x = rows.scores.to(wide)
        off = torch.where(moving, x / p if in_metric else x, 0.0)
        off = torch.where(moving, off - (h * off).sum(-1, keepdim=True) / total, 0.0)
        size = off.abs().amax(-1, keepdim=True)
        off = off / torch.where(size > 0, size, 1.0)
        spread = (h * off * off).sum(-1, keepdim=True)
        slope = (h * off * residual).sum(-1, keepdim=True) / torch.where(spread > 0, spread, 1.0)
        binds = (numbers[0] > 0.5).unsqueeze(-1) | (spec.family != "project_ball")
        residual = residual - torch.where(binds, slope, 0.0) * off
    h = moving.to(wide) if in_metric and not forward else h
    return numbers[3].unsqueeze(-1) * h * torch.where(moving, residual, 0.0)


def _curvature(spec: Spec, q: Tensor, p: Tensor | None, caps: Tensor | None) -> Tensor:
    """H = p t^{2−a} on the moving atoms, up to a factor a row."""
    if spec.family.startswith("kl"):
        return q
    moving = q > 0
    if spec.family == "project_capped_simplex":
        moving = moving & (q < (spec.cap if caps is None else caps.to(q.dtype)))
    if spec.family in ("entmax", "power_penalty") and spec.exponent < 2:
        h = torch.where(moving, q, 1.0) ** (2 - spec.exponent)
        h = h if p is None else h * torch.where(p > 0, p, 0.0) ** (spec.exponent - 1)
    else:
        h = torch.ones_like(q) if p is None else p.expand(q.shape)
    return torch.where(moving, h, 0.0)
