"""Ratios by maximum likelihood: a mixture of bumps, solved to a certified optimum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from .. import _xp
from .._lending import on_host
from .._types import AllReduce, Array
from .features import Features, blocks_of, mapped, warn_unfelt
from .grids import FLAT, bandwidths, bumps_at, grid, judge, unseen, with_bandwidth
from .mixture import mixture_weights
from .model import Ratio
from .samples import chunks, draw, number_of_folds, samples, split_both, warn_disjoint, whole
from .tilts import Asked, Tilts, kind_of_tilts, with_tilts

__all__ = ["fit_kliep"]

SELECTION_ROWS = 2000
"""Most rows of a sample that a bandwidth is tried on."""
SELECTION_GAP = 1e-3
"""Duality gap, in nats, that is enough to compare bandwidths."""
SHARE = 0.01
"""Least β of the tilts: none exceeds 1/β, so that no row far out rules a mean."""
ASKED = Asked(in_effect=10.0, columns=0.0)
"""Few rows will do: folds fit tilts again."""
NEAR = 1.0
"""Wider than `grids.NEAR`: rows that are held out have no part in tilts and bumps."""


@on_host
def fit_kliep(
    *,
    target: Array,
    train: Array,
    features: Features | None = None,
    bandwidth: float | Sequence[float] | None = None,
    n_centres: int = 100,
    tilts: bool | Tilts = True,
    folds: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    all_reduce: AllReduce | None = None,
) -> Ratio:
    """Fit r = φᵀθ by likelihood: max E_target[log r] subject to E_train[r] = 1, θ ≥ 0, to a certified optimum.

    With s = θ ∘ E_train[φ] this is the maximum-likelihood mixture over the simplex, a convex programme; its duality gap
    max_k g_k − 1, g the gradient in s, comes with the result.

    Parameters
    ----------
    target : array, shape (n_target, d)
        Target samples, the numerator; a vector is a sample of one feature.
    train : array, shape (n_train, d)
        Training samples, the denominator.
    features : Features, optional
        φ ≥ 0; default Gaussian bumps at target rows, and tilts. Bumps that fewer than about 5 training rows feel are
        left out.
    bandwidth : float or sequence of float, optional
        σ in units of the scaled samples, one or a grid; default the median distance times 0.1 to 4 (nine values).
    n_centres : int
        Number of bumps.
    tilts : bool or {"linear", "proportional", "both", "independent", "all", "student"}
        Whether the mixture holds, beside default bumps, ratios of Gaussians: of one covariance, of proportional ones
        (see `fit_gaussian`), of independent ones or of any two; each as p/(βp + (1 − β)q), 1/β being 100, or the rows
        of the smaller sample if these are fewer. Where they fit, a hundred bumps need not find what means and
        covariances say. In their place comes that of independent Student's t where the tails of a column are heavier
        than a Gaussian's, symmetric and without ties. The first two ask for forty rows of both samples for each
        column, the third for thirty for each of its coefficients, the fourth for twenty; all but the first for fifty of
        each sample, and for a nat and a half of log loss, as a classifier of the two samples, for each coefficient more
        than one before it has; the second for two to ten columns, and the first beside it unless the samples look
        Gaussian (see `fit_ratio`). The first is that of logistic regression where there are more than ten columns: its
        ridge is worth forty rows, and with fifty of each sample it asks for ten for each coefficient in effect.
        ``"linear"`` and ``"proportional"`` have one of these, ``"both"`` the two, ``"independent"`` has the first as
        well, ``"all"`` the first, the third and the fourth, ``"student"`` that of Student's t with fewer rows as well.
    folds : int, optional
        Of the cross-validation that chooses among bandwidths; default 5, or the size of the smaller sample if that is
        less. It holds out both samples, with bumps at held-out rows, and scores by minus the Donsker-Varadhan bound,
        log E_train[r] − E_target[log r]. Best is the least loss plus half of its standard error; chosen is the largest
        bandwidth within one standard error of the paired difference from it.
    tolerance : float, optional
        Largest duality gap, in nats; default 1e-9, or a thousand roundings where the samples' device has no float64.
    seed : int
        Of the centres and the folds.
    all_reduce : callable, optional
        ``all_reduce(array, "sum")`` adds up arrays over ranks that each hold a shard of both samples; needs
        ``features`` and at most one bandwidth.

    Returns
    -------
    Ratio
        Its ``gap`` is the duality gap at the returned coefficients. If with fifty rows of each sample the best loss
        is not one and a half standard errors below that of r = 1, bumps are as wide as the grid has them; without a
        given grid so wide, 100 median distances, that r = 1. A warning says so where the training sample feels
        no bump, so that the ratio is 1.

    Raises
    ------
    TypeError, ValueError
        Samples that cannot be used, as `gaussian_features`; amounts out of their range; too few rows for the folds.
    RuntimeError
        The gap stayed above the tolerance.

    References
    ----------
    Sugiyama et al., AISM 60 (2008); mixture weights by second-order steps: Kim et al., JCGS 29 (2020).

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> rng = np.random.default_rng(0)
    >>> model = cp.fit_kliep(target=rng.normal(1, 1, (500, 1)), train=rng.normal(0, 1, (500, 1)))
    >>> cp.ratio(model, np.array([[-1.0], [0.5], [1.5]])).round(1), bool(model.gap < 1e-9)
    (array([0.2, 1.1, 3.2]), True)
    """
    xp, target, train = samples(target, train)
    seed = whole(seed)
    warn_disjoint(xp, target, train)
    if tolerance is None:
        tolerance = max(1e-9, 1000 * float(xp.finfo(target.dtype).eps))
    tolerance = _xp.number("tolerance", tolerance, lambda v: 0.0 < v < math.inf, "a positive number of nats")
    base = features or bumps_at(bandwidth, target=target, train=train, n_centres=n_centres, seed=seed)
    sigmas = bandwidths(base, bandwidth, given=features is not None)
    kind = kind_of_tilts(xp, base, target, train, tilts, ASKED) if features is None else None
    tilted = partial(with_tilts, xp, share=_share(int(target.shape[0]), int(train.shape[0])), kind=kind)
    if all_reduce is not None and (features is None or len(sigmas) > 1):
        raise ValueError("all_reduce needs the same features on every rank and one bandwidth; pass them")
    scores = None
    if len(sigmas) > 1:
        pool_t, pool_s = (
            xp.take(x, _xp.indices(xp, draw(int(x.shape[0]), SELECTION_ROWS, seed), x), axis=0) for x in (target, train)
        )
        folds = number_of_folds(folds, pool_t, pool_s)
        held_out = [*_folds(xp, base, pool_t, pool_s, folds, seed, tilted)]
        left = [_held_out_losses(xp, with_bandwidth(base, s), pool_t, pool_s, held_out) for s in sigmas]
        of_t, of_s = (xp.stack(parts, axis=1) for parts in zip(*left, strict=True))
        judged = judge(xp, of_t, of_s, [-s for s in sigmas], near=NEAR)
        scores = grid(xp, base.shift, sigmas, [0.0], [[loss] for loss in judged.losses])
        if unseen(judged, 0.0, int(target.shape[0]), int(train.shape[0])):
            sigmas = [max(sigmas) if bandwidth is not None else FLAT * float(base.bandwidth)]
            tilted = partial(tilted, kind=None)
        else:
            sigmas = [sigmas[judged.chosen]]
    bumps = tilted(with_bandwidth(base, sigmas[0]), target, train)
    blocks = blocks_of(xp, bumps, target)
    mean = _train_mean(xp, bumps, train, all_reduce)
    if not bool(xp.any(mean[1:] < xp.inf)):
        warn_unfelt()
    s, gap = mixture_weights(xp, blocks, mean, tolerance=tolerance, all_reduce=all_reduce)
    if not float(gap) <= tolerance:
        raise RuntimeError(
            f"the duality gap is {float(gap):.1e} nats, above the tolerance of {tolerance:.1e}; pass float64 samples "
            "or a larger tolerance"
        )
    return Ratio("kliep", bumps, s / mean, 0.0, xp.zeros_like(gap), gap, scores)


def _share(n_t: int, n_s: int) -> float:
    """Return β of the tilts: with a mean of 1 over n training rows no ratio exceeds n; few target rows bear no more."""
    return max(SHARE, 1 / max(2, min(n_t, n_s)))  # 1 would leave a constant


def _train_mean(xp: Any, features: Features, train: Array, all_reduce: AllReduce | None = None) -> Array:
    """Mean features of the training sample; infinite, which drops them, where too few rows feel a bump."""
    total = sum(xp.sum(mapped(xp, features, part), axis=0) for part in chunks(train))
    count = total[:1] * 0 + float(train.shape[0])
    if all_reduce is not None:
        total, count = all_reduce(total, "sum"), all_reduce(count, "sum")
    return felt(xp, total / count, float(count[0]))


def felt(xp: Any, mean: Array, count: float) -> Array:
    """Replace means of bumps that the training sample hardly feels by infinity."""
    return xp.where(mean >= min(5.0 / count, 0.5), mean, xp.zeros_like(mean) + xp.inf)


def _once(block: Array) -> Iterator[Array]:
    yield block


class _Fold(NamedTuple):
    """Rows of both samples that are kept and held out, columns of tilts fitted to those kept, and what is held out."""

    rows: tuple[tuple[Array, Array], tuple[Array, Array]]
    columns: tuple[Array, Array]
    lost: Array


def _folds(
    xp: Any, features: Features, target: Array, train: Array, folds: int, seed: int, tilted: Callable[..., Features]
) -> Iterator[_Fold]:
    """Hold out rows, and bumps at such rows alone: near them the weights of neighbours look better than elsewhere."""
    placed = _placed(xp, features, target)
    for rows in split_both(target, train, folds, seed):
        kept_t, kept_s = (xp.take(x, rest, axis=0) for x, (rest, _) in zip((target, train), rows, strict=True))
        alone = tilted(features, kept_t, kept_s)
        alone = alone._replace(centres=features.centres[:0, :])
        columns = mapped(xp, alone, target)[:, 1:], mapped(xp, alone, train)[:, 1:]
        kept, held = (xp.any(xp.take(placed, part, axis=0), axis=0) for part in rows[0])
        yield _Fold(rows, columns, xp.concat([held & ~kept, columns[0][0, :] < 0], axis=0))


def _placed(xp: Any, features: Features, target: Array) -> Array:
    """Tell which bump is at which row; the constant before them is at all."""
    z = (target - features.shift) / features.scale
    centres = (features.centres[k : k + 1, :] for k in range(int(features.centres.shape[0])))
    return xp.concat([z[:, :1] == z[:, :1], *(xp.all(z == c, axis=1, keepdims=True) for c in centres)], axis=1)


def _held_out_losses(
    xp: Any, features: Features, target: Array, train: Array, folds: Sequence[_Fold]
) -> tuple[Array, Array]:
    """−log r of target rows, log m + r/m − 1 of training rows, of fits that did not see their fold, m their mean ratio.

    Their means add up to minus the Donsker-Varadhan bound; r/m − 1, which has no mean, is what a row adds to log m. The
    mean is over all folds: the logarithm of that of few rows is too low, the more so the more ratios vary.
    """
    bumps = [mapped(xp, features._replace(tilts=None, share=None), x) for x in (target, train)]
    of_t, of_s = [], []
    for rows, columns, lost in folds:
        phis = [xp.concat(pair, axis=1) for pair in zip(bumps, columns, strict=True)]
        (kept_t, out_t), (kept_s, out_s) = (
            (xp.take(phi, rest, axis=0), xp.take(phi, held, axis=0))
            for phi, (rest, held) in zip(phis, rows, strict=True)
        )
        mean = felt(xp, xp.mean(kept_s, axis=0), float(kept_s.shape[0]))
        mean = xp.where(lost, xp.zeros_like(mean) + xp.inf, mean)
        s, _ = mixture_weights(xp, partial(_once, kept_t), mean, tolerance=SELECTION_GAP)
        at_t, at_s = (xp.matmul(out, s / mean) for out in (out_t, out_s))
        of_t.append(-xp.log(at_t))
        of_s.append(at_s)
    at_s = xp.concat(of_s, axis=0)
    mean = xp.mean(at_s)
    return xp.concat(of_t, axis=0), xp.log(mean) + at_s / mean - 1
