"""Weights (y − τ)₊^e that sum to 1, on the CPU: Newton on τ from the left, laid out by the shape of the batch.

With e = 1 it is the Euclidean projection onto the simplex, with e = 1/(α − 1) and y = (α − 1)z it is α-entmax. The norm
(Σ (y − τ)₊^e)^{1/e} is convex in τ, so that Newton's steps from a lower bound are monotone; for e = 1 they end exactly.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 1 << 18
"""Elements worked on at a time: three float32 arrays of a MiB, which stay in cache."""
CHUNK = 64
"""Atoms of a long row whose maximum stands for them in the first estimate of τ."""
STEPS = 64


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
            _newton(y, _first(y, exponent, 0), weights, torch.empty_like(y), exponent, 0)
            w.copy_(weights.t())
        elif n >= 16 * CHUNK:
            _by_chunks(z, w, slope, exponent)
        else:
            y = _cut(z, z.amax(1, keepdim=True), slope)
            _newton(y, _first(y, exponent, 1), w, torch.empty_like(y), exponent, 1)
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


def _newton(y: Tensor, tau: Tensor, weights: Tensor, spare: Tensor, exponent: float, dim: int) -> Tensor:
    """Fill in the weights, return the threshold; the last correction scales, as rounding τ would cost their sum."""
    rounding = 2 * torch.finfo(y.dtype).eps
    total = tau
    for _ in range(STEPS):
        if exponent == 1:
            torch.sub(y, tau, out=weights).clamp_(min=0)
            slope = torch.sign(weights, out=spare).sum(dim, keepdim=True)
        else:
            torch.sub(y, tau, out=spare).clamp_(min=0)
            if exponent == 2:
                slope = spare.sum(dim, keepdim=True)
                torch.mul(spare, spare, out=weights)
            else:
                slope = torch.pow(spare, exponent - 1, out=weights).sum(dim, keepdim=True)
                weights.mul_(spare)
        total = weights.sum(dim, keepdim=True)
        step = (total - (1 if exponent == 1 else total ** (1 - 1 / exponent))) / slope
        if not bool((step > rounding).any()):
            break
        tau = tau + step
    weights.mul_(total.reciprocal_())
    return tau


def _by_chunks(z: Tensor, out: Tensor, slope: float, exponent: float) -> None:
    """Solve long rows: the threshold of a subset is never above the rows' own, so chunks below it have no weight."""
    rows, n = z.shape
    columns = n // CHUNK
    whole = columns * CHUNK
    parts, tail = z[:, :whole].reshape(rows, CHUNK, columns), z[:, whole:]
    coarse = torch.cat([parts.amax(1), tail], 1)
    top = coarse.amax(1, keepdim=True)
    coarse = _cut(coarse, top, slope)
    kept = torch.empty_like(coarse), torch.empty_like(coarse)
    bound = _newton(coarse, _first(coarse, exponent, 1), *kept, exponent, 1) - 8 * torch.finfo(z.dtype).eps
    coarse = coarse[:, :columns]
    most = max(1, int((coarse >= bound).sum(1).amax()))
    if 4 * most > columns:
        y = _cut(z, top, slope)
        _newton(y, bound, out, torch.empty_like(y), exponent, 1)
        return
    chosen = coarse.topk(most).indices.unsqueeze(1).expand(-1, CHUNK, -1)
    y = _cut(torch.cat([parts.gather(2, chosen).flatten(1), tail], 1), top, slope)
    weights = torch.empty_like(y)
    _newton(y, bound, weights, torch.empty_like(y), exponent, 1)
    out.zero_()
    out[:, :whole].view(rows, CHUNK, columns).scatter_(2, chosen, weights[:, : CHUNK * most].view(rows, CHUNK, most))
    out[:, whole:] = weights[:, CHUNK * most :]
    out[:, :1] += 0 * top  # NaN where the top is not finite: mended later


def _mended(weights: Tensor, scores: Tensor) -> Tensor:
    """Fill in the rows that NaN, +inf or a mask of everything has made NaN; their first weight is NaN too."""
    bad = weights[:, 0] != weights[:, 0]
    if bool(bad.any()):
        z = scores[bad]
        at_top = (z == math.inf).to(z.dtype)
        share = at_top / at_top.sum(1, keepdim=True).clamp_(min=1)
        weights[bad] = torch.where((z != z).any(1, keepdim=True), math.nan, share)
    return weights
