"""Weights (y − τ)₊^e that sum to 1, on the CPU: Newton on τ from the left, laid out by the shape of the batch.

With e = 1 it is the Euclidean projection onto the simplex, with e = 1/(α − 1) and y = (α − 1)z it is α-entmax. The norm
(Σ (y − τ)₊^e)^{1/e} is convex in τ, so that Newton's steps from a lower bound are monotone; for e = 1 they end exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 1 << 18
"""Elements worked on at a time: three float32 arrays of a MiB, which stay in cache."""
CHUNK = 64
"""Neighbours in a long row whose maximum stands for them in the first estimate of τ."""
STEPS = 64
Over = Callable[[Tensor], Tensor]


def threshold_weights(scores: Tensor, slope: float, exponent: float) -> Tensor:
    """Return (kz − τ)₊^e for rows z of shape (rows, n), k the slope; -inf is a mask.

    Rows with NaN are NaN, rows without a finite or infinite score above -inf are 0, and +inf takes all.
    """
    rows, n = scores.shape
    out = torch.empty_like(scores, memory_format=torch.contiguous_format)
    size = max(1, BLOCK // n)
    upright = n <= 16 and rows >= 512  # reductions over a short last axis are slow: put the problem first
    for i in range(0, rows, size):
        z, w = scores[i : i + size], out[i : i + size]
        if upright:
            y = z.t().contiguous()
            weights = torch.empty_like(y)
            _cut(y, y.amax(0, keepdim=True), slope, y)
            _newton(y, _first(y, exponent, 0), exponent, weights, _down)
            w.copy_(weights.t())
        elif n >= 16 * CHUNK:
            _by_chunks(z, w, slope, exponent)
        else:
            y = _cut(z, z.amax(1, keepdim=True), slope)
            _newton(y, _first(y, exponent, 1), exponent, w)
    return _mended(out, scores)


def _cut(z: Tensor, top: Tensor, slope: float, out: Tensor | None = None) -> Tensor:
    """Return k(z − max z) cut at −1, below which no atom has weight."""
    y = torch.sub(z, top, out=out)
    if slope != 1:
        y *= slope
    return y.clamp_(min=-1)


def _first(y: Tensor, exponent: float, dim: int) -> Tensor:
    """Mean − n^{−1/e}: were all atoms above the threshold, it would be no lower."""
    return torch.clamp(y.mean(dim, keepdim=True) - y.shape[dim] ** (-1 / exponent), min=-1.0)


def _along(values: Tensor) -> Tensor:
    return values.sum(1, keepdim=True)


def _down(values: Tensor) -> Tensor:
    return values.sum(0, keepdim=True)


def _same(tau: Tensor) -> Tensor:
    return tau


def _newton(
    y: Tensor, tau: Tensor, exponent: float, weights: Tensor, add: Over = _along, spread: Over = _same
) -> Tensor:
    """Fill in the weights, return the threshold; the last correction scales, as rounding τ would cost their sum.

    ``add`` sums over a row, ``spread`` takes a number per row to its atoms.
    """
    rounding = 2 * torch.finfo(y.dtype).eps
    total, spare = tau, torch.empty_like(y)
    for _ in range(STEPS):
        if exponent == 1:
            torch.sub(y, spread(tau), out=weights).clamp_(min=0)
            slope = add(torch.sign(weights, out=spare))
        else:
            torch.sub(y, spread(tau), out=spare).clamp_(min=0)
            if exponent == 2:
                slope = add(spare)
                torch.mul(spare, spare, out=weights)
            else:
                slope = add(torch.pow(spare, exponent - 1, out=weights))
                weights.mul_(spare)
        total = add(weights)
        step = (total - (1 if exponent == 1 else total ** (1 - 1 / exponent))) / slope
        if not bool((step > rounding).any()):
            break
        tau = tau + step
    weights.mul_(spread(total.reciprocal_()))
    return tau


def _by_chunks(z: Tensor, out: Tensor, slope: float, exponent: float) -> None:
    """Solve long rows: a subset's threshold is never above its row's, so chunks below that of the peaks are 0."""
    rows, n = z.shape
    if n % CHUNK:
        z = torch.nn.functional.pad(z, (0, -n % CHUNK), value=-math.inf)
    chunks = z.view(-1, CHUNK)
    peaks = chunks.amax(1).view(rows, -1)
    top = peaks.amax(1, keepdim=True)
    y = _cut(peaks, top, slope)
    bound = _newton(y, _first(y, exponent, 1), exponent, torch.empty_like(y)) - 8 * torch.finfo(z.dtype).eps
    bound = bound.clamp_(min=-1)
    chosen = (y > bound).view(-1).nonzero().squeeze(1)
    if 2 * len(chosen) > len(chunks):
        _newton(_cut(z[:, :n], top, slope), bound, exponent, out)
        return
    row = chosen // peaks.shape[1]
    sums = torch.zeros_like(peaks)

    def add(values: Tensor) -> Tensor:
        sums.view(-1).index_copy_(0, chosen, values.sum(1))
        return sums.sum(1, keepdim=True)

    y = _cut(chunks[chosen], top[row], slope)
    weights = torch.empty_like(y)
    _newton(y, bound, exponent, weights, add, lambda tau: tau[row])
    full = torch.empty_like(z) if n % CHUNK else out
    full.zero_().view(-1, CHUNK).index_copy_(0, chosen, weights)
    full[:, :1] += 0 * top  # NaN where the top is not finite: mended later
    if n % CHUNK:
        out.copy_(full[:, :n])


def _mended(weights: Tensor, scores: Tensor) -> Tensor:
    """Fill in the rows that NaN, +inf or a mask of everything has made NaN; their first weight is NaN too."""
    bad = weights[:, 0] != weights[:, 0]
    if bool(bad.any()):
        z = scores[bad]
        at_top = (z == math.inf).to(z.dtype)
        share = at_top / at_top.sum(1, keepdim=True).clamp_(min=1)
        weights[bad] = torch.where((z != z).any(1, keepdim=True), math.nan, share)
    return weights
