"""Kernel mean matching: weights of the training rows alone, with a certified gap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import _xp
from .._lending import on_host
from .._types import Array
from ..projection import project_capped_simplex
from .features import Features
from .grids import amounts, best_of, bumps_at, grid, with_bandwidth
from .model import Scores
from .samples import number_of_folds, samples, split, squares, warn_disjoint, whole

__all__ = ["Matching", "kernel_mean_matching"]

STEPS = 20_000


class Matching(NamedTuple):
    """Weights that match means; see `kernel_mean_matching`.

    Attributes
    ----------
    weights : array, shape (n_train,)
        Ratios at the training rows, in [0, bound].
    discrepancy : array, shape ()
        Squared maximum mean discrepancy between the weighted training sample and the target.
    gap : array, shape ()
        How much lower any feasible weights' discrepancy can be at most.
    bandwidth : array, shape ()
        σ, in units of the scaled samples.
    scores : Scores or None
        The grid's; None if nothing was searched.
    """

    weights: Array
    discrepancy: Array
    gap: Array
    bandwidth: Array
    scores: Scores | None = None


@on_host
def kernel_mean_matching(
    *,
    target: Array,
    train: Array,
    bandwidth: float | Sequence[float] | None = None,
    bound: float = 1000.0,
    slack: float | None = None,
    tolerance: float | None = None,
    folds: int | None = None,
    seed: int = 0,
) -> Matching:
    """Solve min ‖E_train[w φ] − E_target[φ]‖² over 0 ≤ w ≤ B, |mean w − 1| ≤ ε, φ a Gaussian kernel's features.

    It has no way to weigh new rows, needs memory for n_train² numbers, and was the least accurate of the methods here:
    it is offered to compare with.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    bandwidth : float or sequence of float, optional
        σ in units of the scaled samples, one or a grid; default the median distance. Of a grid, the σ is chosen whose
        weights leave the least discrepancy to target rows that they were not fitted to, on average over the kernels of
        the grid: discrepancies of different kernels are not on one scale.
    bound : float
        B, at least 1.
    slack : float, optional
        ε ≥ 0; default the smaller of B/√n_train and 0.1. (The published default makes the constraint void.)
    tolerance : float, optional
        Largest gap of the squared discrepancy; default a tenth of its chance error, 0.1/n_train.
    folds : int, optional
        Of the target, when a grid is searched; default 5, or its size if that is less.
    seed : int
        Of the rows that the median distance is taken of, and of the folds.

    Returns
    -------
    Matching
        The weights with their certificate.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; amounts out of their range.
    RuntimeError
        The gap stayed above the tolerance.

    References
    ----------
    Huang et al., NIPS 19 (2006), equation 12; accelerated projected gradients: Beck and Teboulle, SIAM J. Imaging
    Sciences 2 (2009), restarted; the gap is Frank and Wolfe's.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> target, train = rng.normal(1, 1, (200, 1)), rng.normal(0, 1, (300, 1))
    >>> found = cp.kernel_mean_matching(target=target, train=train)
    >>> bool(abs(found.weights @ train / 300 - target.mean()) < 0.1)
    True
    """
    xp, target, train = samples(target, train)
    seed = whole(seed)
    warn_disjoint(xp, target, train)
    n = int(train.shape[0])
    bound = _xp.number("bound", bound, lambda v: 1.0 <= v < math.inf, "a finite number of at least 1")
    room, most = min(bound / math.sqrt(n), 0.1), 0.1 / n
    if slack is not None:
        room = _xp.number("slack", slack, lambda v: 0.0 <= v < math.inf, "a finite number of at least 0")
    if tolerance is not None:
        most = _xp.number("tolerance", tolerance, lambda v: v > 0, "a positive number")
    features = bumps_at(bandwidth, target=target, train=train, n_centres=1, seed=seed)
    sigmas = [float(features.bandwidth)] if bandwidth is None else amounts("bandwidth", bandwidth, zero=False)
    limits = (bound, (n * max(1 - room, 0.0), n * (1 + room)), most)
    scores = None
    if len(sigmas) > 1:
        folds = number_of_folds(folds, target)
        found = _held_out(xp, [with_bandwidth(features, s) for s in sigmas], target, train, limits, folds, seed)
        sigmas, scores = [sigmas[best_of(found)[0]]], grid(xp, features.shift, sigmas, [0.0], found)
    features = with_bandwidth(features, sigmas[0])
    kernel = _kernel(xp, features, train, train) / n**2
    pull = xp.mean(_kernel(xp, features, train, target), axis=1) / n
    constant = xp.mean(_kernel(xp, features, target, target))
    w, gap = _descend(xp, kernel, pull, *limits)
    if not float(gap) <= most:
        raise RuntimeError(f"the gap is {float(gap):.1e}, above the tolerance of {most:.1e}; pass a larger one")
    value = xp.sum(w * xp.matmul(kernel, w)) - 2 * xp.sum(w * pull) + constant
    return Matching(w, xp.maximum(value, xp.zeros_like(value)), gap, features.bandwidth, scores)


def _held_out(
    xp: Any,
    kernels: Sequence[Features],
    target: Array,
    train: Array,
    limits: tuple[float, tuple[float, float], float],
    folds: int,
    seed: int,
) -> list[list[float]]:
    """Squared discrepancy to held-out target rows, up to a constant, averaged over the kernels; one per kernel."""
    n, parts = int(train.shape[0]), list(split(target, folds, seed))
    weights: list[list[Array]] = []
    for features in kernels:
        kernel = _kernel(xp, features, train, train) / n**2
        pulls = [xp.mean(_kernel(xp, features, train, xp.take(target, kept, axis=0)), axis=1) / n for kept, _ in parts]
        weights.append([_descend(xp, kernel, pull, *limits)[0] for pull in pulls])
    totals = [0.0] * len(kernels)
    for features in kernels:
        kernel = _kernel(xp, features, train, train) / n**2
        pulls = [xp.mean(_kernel(xp, features, train, xp.take(target, out, axis=0)), axis=1) / n for _, out in parts]
        for k, of_folds in enumerate(weights):
            for w, pull in zip(of_folds, pulls, strict=True):
                totals[k] += float(xp.sum(w * xp.matmul(kernel, w)) - 2 * xp.sum(w * pull))
    return [[total / (len(parts) * len(kernels))] for total in totals]


def _kernel(xp: Any, features: Features, x: Array, y: Array) -> Array:
    a, b = ((v - features.shift) / features.scale for v in (x, y))
    return xp.exp(squares(xp, a, b) / (-2 * features.bandwidth**2))


def _descend(
    xp: Any, kernel: Array, pull: Array, bound: float, total: tuple[float, float], tolerance: float
) -> tuple[Array, Array]:
    """Accelerated projected gradients on wᵀKw − 2κᵀw, restarted whenever momentum points uphill."""
    # the largest row sum bounds the largest eigenvalue of a matrix without negative entries
    step = 1 / (2 * xp.max(xp.sum(kernel, axis=1)))
    w = before = xp.ones_like(pull)
    kw = kb = xp.matmul(kernel, w)
    momentum, gap = 1.0, pull[0] * 0 + xp.inf
    for k in range(STEPS):
        if k % 20 == 0:
            gradient = 2 * (kw - pull)
            gap = xp.sum(gradient * w) - _least(xp, gradient, bound, total)
            if bool(gap <= tolerance):
                break
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        push = (momentum - 1) / following
        ahead, k_ahead = w + push * (w - before), kw + push * (kw - kb)
        new = _project(xp, ahead - 2 * step * (k_ahead - pull), bound, total)
        if bool(xp.sum((ahead - new) * (new - w)) > 0):
            following = 1.0
        before, w, momentum = w, new, following
        kb, kw = kw, xp.matmul(kernel, new)
    return w, gap


def _project(xp: Any, v: Array, bound: float, total: tuple[float, float]) -> Array:
    clipped = xp.clip(v, 0.0, bound)
    size = float(xp.sum(clipped))
    if total[0] <= size <= total[1]:
        return clipped
    goal = total[0] if size < total[0] else total[1]
    cap = xp.zeros_like(v) + bound / goal
    return xp.minimum(goal * project_capped_simplex(v / goal, cap=cap), xp.zeros_like(v) + bound)


def _least(xp: Any, gradient: Array, bound: float, total: tuple[float, float]) -> Array:
    """Least value of a linear function over the weights: fill the lowest entries, while they help or must."""
    ranked = xp.sort(gradient)
    place = xp.cumulative_sum(xp.ones_like(ranked)) - 1
    must = xp.clip(total[0] - bound * place, 0.0, bound)
    may = xp.clip(total[1] - bound * place, 0.0, bound)
    return xp.sum(ranked * xp.where(ranked < 0, may, must))
