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
    if rows <= 8 and n >= 1 << 15:
        out = torch.zeros_like(scores, memory_format=torch.contiguous_format)
        for row, weights in zip(scores, out, strict=True):
            _long_row(row, weights, slope, exponent)
        return _mended(out, scores)
    out = torch.empty_like(scores, memory_format=torch.contiguous_format)
    size = max(1, BLOCK // n)
    upright = n <= 16 and rows >= 512  # reductions over a short last axis are slow: put the problem first
    kept = [scores.new_empty(min(size, rows) * n) for _ in range(2 + upright)]
    for i in range(0, rows, size):
        z, w = scores[i : i + size], out[i : i + size]
        if upright:
            block, y, spare = (a[: z.numel()].view(n, -1) for a in kept)
            y.copy_(z.t())
            _solve(y, _cut(y, y.amax(0, keepdim=True), slope, y), block, spare, exponent, 0)
            w.copy_(block.t())
        else:
            y, spare = (a[: z.numel()].view(z.shape) for a in kept)
            _solve(*_shifted(z, slope, y), w, spare, exponent, 1)
    return _mended(out, scores)


def _cut(z: Tensor, top: Tensor, slope: float, out: Tensor | None = None) -> Tensor:
    """Return k(z − max z) cut at −1, below which no atom has weight."""
    y = torch.sub(z, top, out=out)
    if slope != 1:
        y *= slope
    return y.clamp_(min=-1)


def _shifted(z: Tensor, slope: float, out: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows cut, and their chunks' maxima, which are the rows themselves where they are short."""
    n = z.shape[1]
    if n < 16 * CHUNK:
        y = _cut(z, z.amax(1, keepdim=True), slope, out)
        return y, y
    whole = n // CHUNK * CHUNK
    coarse = z[:, :whole].unflatten(-1, (CHUNK, -1)).amax(1)  # type: ignore[no-untyped-call]
    coarse = torch.cat([coarse, z[:, whole:]], 1) if whole < n else coarse
    top = coarse.amax(1, keepdim=True)
    return _cut(z, top, slope, out), _cut(coarse, top, slope)


def _first(y: Tensor, exponent: float, dim: int) -> Tensor:
    """Mean − n^{−1/e}: were all atoms above the threshold, it would be no lower."""
    return torch.clamp(y.mean(dim, keepdim=True) - y.shape[dim] ** (-1 / exponent), min=-1.0)


def _solve(y: Tensor, coarse: Tensor, weights: Tensor, spare: Tensor, exponent: float, dim: int) -> None:
    """Newton from the mean's bound, or from the root of the coarse rows: a subset's threshold is never above."""
    start = _first(coarse, exponent, dim)
    if coarse is not y:
        kept = torch.empty_like(coarse), torch.empty_like(coarse)
        start = _newton(coarse, start, *kept, exponent, dim) - 8 * torch.finfo(y.dtype).eps
    _newton(y, start, weights, spare, exponent, dim)


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


def _long_row(z: Tensor, out: Tensor, slope: float, exponent: float) -> None:
    """Solve a row of ten thousands: its chunks' maxima have a threshold that leaves few chunks to iterate on."""
    whole = z.shape[0] // CHUNK * CHUNK
    parts = z[:whole].unflatten(0, (-1, CHUNK))  # type: ignore[no-untyped-call]
    maxima = torch.cat([parts.amax(-1), z[whole:]]).unsqueeze(0)
    top = maxima.amax()
    if not math.isfinite(top):
        out.fill_(math.nan)  # mended later
        return
    coarse = _cut(maxima, top, slope)
    kept = torch.empty_like(coarse), torch.empty_like(coarse)
    eps = torch.finfo(z.dtype).eps
    bound = _newton(coarse, _first(coarse, exponent, 1), *kept, exponent, 1) - 8 * eps
    chosen = (coarse[0, : len(parts)] >= bound[0]).nonzero().squeeze(1)
    y = _cut(torch.cat([parts[chosen].flatten(), z[whole:]]).unsqueeze(0), top, slope)
    weights = torch.empty_like(y)
    _newton(y, bound, weights, torch.empty_like(y), exponent, 1)
    tail = y.shape[1] - (z.shape[0] - whole)
    out[:whole].unflatten(0, (-1, CHUNK))[chosen] = weights[0, :tail].view(-1, CHUNK)  # type: ignore[no-untyped-call]
    out[whole:] = weights[0, tail:]


def _mended(weights: Tensor, scores: Tensor) -> Tensor:
    """Fill in the rows that NaN, +inf or a mask of everything has made NaN; their first weight is NaN too."""
    bad = weights[:, 0] != weights[:, 0]
    if bool(bad.any()):
        z = scores[bad]
        at_top = (z == math.inf).to(z.dtype)
        share = at_top / at_top.sum(1, keepdim=True).clamp_(min=1)
        weights[bad] = torch.where((z != z).any(1, keepdim=True), math.nan, share)
    return weights
