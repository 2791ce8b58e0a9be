"""From held-out losses and what is known of the ratio to a recommendation, with its standard error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise import effective_sample_size, normalisation, two_sample_auc

from .._folds import Few
from ._candidates import ARMS, CANDIDATES, held_out_margins
from ._data import Labelled, Pairs, prepare
from ._evidence import LabelBias, label_bias
from ._linear import log_loss
from ._ratio import blind_score, out_of_fold
from ._sentences import Evidence, Score, headline, reasons_for

__all__ = ["STEPS", "Advice", "Evidence", "Score", "advise", "choose", "score_arms"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
DEFAULTS = ("ERM", "target + weighted", "target only")  # that which has least log-loss is recommended,
CAUTION = 4.0  # unless another is this many standard errors ahead of it
LEVEL = 0.05  # and the test does not reject equal labels at this level
STEPS = len(CANDIDATES) + 1
"""How often ``advance`` is called."""


@dataclass(frozen=True)
class Advice:
    """A recommendation; from `advise`.

    Parameters
    ----------
    recommended : Score
        The way to train.
    supported : bool
        Whether the evidence supports weighting: the recommended arm uses the ratio.
    headline : str
        In one sentence.
    reasons : tuple of str
        What was measured, in sentences.
    scores : tuple of Score
        Every arm's.
    evidence : Evidence
        The numbers behind the reasons.
    """

    recommended: Score
    supported: bool
    headline: str
    reasons: tuple[str, ...]
    scores: tuple[Score, ...]
    evidence: Evidence


def advise(
    data: Pairs | Labelled,
    /,
    *,
    target: ArrayLike,
    ratio: ArrayLike | None = None,
    source: ArrayLike | None = None,
    group: ArrayLike | None = None,
    folds: int = 5,
    repeats: int = 2,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> Advice:
    """Recommend ERM, the target rows, weighted rows, both, target-centred DRO or DoRA, with their amounts.

    Each arm trains linear policies, with every ridge, power of the ratio and penalty on its list, and keeps those with
    the least log-loss on target rows of held-out groups. Of ERM, "target only" and "target + weighted" (half the mean
    loss of the target rows, half the weighted mean of all rows) the one with least is recommended, unless another arm
    is ahead of it by more than four standard errors of the paired difference, and `label_bias` sees no difference of
    labels at 5 %: few target rows cannot tell six arms apart, and a ratio that must tell labels apart has learnt from
    the held-out rows too.

    Parameters
    ----------
    data : Pairs or Labelled
        n training rows.
    target : array-like of bool, shape (n,)
        Which of them are target rows, like those that the model will be judged by.
    ratio : array-like, shape (n,), optional
        dTarget/dTrain of each row by models that did not see it. Without it one is fitted (scikit-learn is needed): a
        function of features and label, because where labels differ by source a ratio that does not see them is not
        that of the labelled data.
    source : array-like, shape (n,), optional
        Labels of the sources: the target is then told from each source rather than from all other rows at once.
    group : array-like, shape (n,), optional
        Rows of one group (a prompt, an author) are held out together.
    folds, repeats : int
        Of the cross-validation.
    seed : int
        Of all draws.
    advance : callable, optional
        Called `STEPS` times on the way.

    Returns
    -------
    Advice
        The recommendation, every arm's score, and the evidence.

    Raises
    ------
    TypeError, ValueError
        Rows that cannot be used, as `Pairs` and `Labelled` say; shapes that do not fit; a ratio that is negative, not
        finite, or zero for all; no target rows, none but target rows, or fewer groups of them than folds.

    Notes
    -----
    What it cannot know: how another policy (a network, say) would fare, labels that no training row carries, and
    differences that the features do not show. The best of several arms looks better than it is, by its luck.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, target = rng.normal(size=(400, 2)), np.arange(400) < 80
    >>> truth = np.where(target, x[:, 0], x[:, 1]) > 0  # other rows follow another feature
    >>> advice = advise(Labelled(x, truth), target=target, ratio=np.where(target, 4.0, 0.25))
    >>> advice.headline
    'Train on the target rows alone: the evidence does not support weighting the others.'
    """
    prepared = prepare(data)
    n = len(prepared.x)
    is_target = _column("target", target, n).astype(bool)
    keys = np.arange(n) if group is None else np.unique(_column("group", group, n), return_inverse=True)[1]
    _check_target(is_target, keys, folds, repeats)
    labels, names = np.where(is_target, 0, 1), ["target", "others"]
    if source is not None:
        known, codes = np.unique(_column("source", source, n)[~is_target], return_inverse=True)
        labels[~is_target], names = 1 + codes, ["target", *known.tolist()]
    grouped = None if group is None else keys
    if ratio is None:
        try:
            values = np.asarray(out_of_fold(prepared.sighted, labels, group=grouped, seed=seed).ratio_)
        except Few as error:
            raise Few(error.args[0], names[error.args[1]]) from None
    else:
        values = _ratio("ratio", ratio, n)
    advance()
    margins = held_out_margins(
        prepared.x, is_target, values, keys, folds=folds, repeats=repeats, seed=seed, advance=advance
    )
    scores = score_arms(margins, keys[is_target])
    blind = blind_score(prepared.blind, is_target, group=grouped, seed=seed)
    bias = label_bias(prepared.x, is_target, blind, group=grouped, seed=seed)
    evidence = _evidence(values, is_target, bias)
    chosen = choose(scores, bias)
    supported = chosen.candidate.arm not in ("ERM", "target only")
    said = reasons_for(chosen, scores, evidence)
    return Advice(chosen, supported, headline(chosen.candidate), said, scores, evidence)


def score_arms(margins: Floats, key: NDArray[Any]) -> tuple[Score, ...]:
    """Keep every arm's best candidate and compare it with ERM.

    Parameters
    ----------
    margins : array, shape (repeats, candidates, m)
        From `held_out_margins`.
    key : array, shape (m,)
        Group of each target row.

    Returns
    -------
    tuple of Score
        In the order of the arms.
    """
    losses = log_loss(margins).mean(axis=0)
    right = ((margins > 0.0) + 0.5 * (margins == 0.0)).mean(axis=(0, 2))
    _, place = np.unique(key, return_inverse=True)
    mean = losses.mean(axis=1)
    best = {}
    for arm in ARMS:
        mine = [number for number, candidate in enumerate(CANDIDATES) if candidate.arm == arm]
        best[arm] = min(mine, key=lambda number: mean[number])
    default = min((best[arm] for arm in DEFAULTS), key=lambda number: mean[number])
    scores = []
    for number in best.values():
        gain, error = _paired(losses[best["ERM"]] - losses[number], place)
        lead, its_error = _paired(losses[default] - losses[number], place)
        scores.append(
            Score(CANDIDATES[number], float(mean[number]), float(right[number]), gain, error, lead, its_error)
        )
    return tuple(scores)


def _paired(gains: Floats, place: NDArray[Any]) -> tuple[float, float]:
    """Return the mean of paired differences, and its standard error over groups."""
    groups = int(place.max()) + 1
    sums = np.bincount(place, gains - gains.mean(), minlength=groups)
    return float(gains.mean()), float(np.sqrt(np.sum(sums**2) * groups / (groups - 1))) / len(gains)


def choose(scores: tuple[Score, ...], bias: LabelBias) -> Score:
    """Return the best of `DEFAULTS`, or what leads it by most beyond `CAUTION` standard errors where labels agree.

    Parameters
    ----------
    scores : tuple of Score
        ERM's first, which a tie falls to.
    bias : LabelBias
        Whether labels differ: then the ratio has to know them, and flatters the arms that stand on it alone.
    """
    default = min((s for s in scores if s.candidate.arm in DEFAULTS), key=lambda score: score.log_loss)
    if bias.p_value < LEVEL:
        return default
    others = [s for s in scores if s.candidate.arm not in DEFAULTS]
    return max([default, *others], key=lambda score: score.lead - CAUTION * score.lead_error)


def _column(name: str, values: ArrayLike, n: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; one value for each of the {n} rows is needed")
    if name == "target" and array.dtype.kind != "b":
        raise TypeError(f"target has dtype {array.dtype}; true or false, one per row, is needed")
    return array


def _check_target(is_target: Mask, key: NDArray[Any], folds: int, repeats: int) -> None:
    if folds < 2 or repeats < 1:
        raise ValueError(f"folds is {folds} and repeats {repeats}; at least 2 and 1 are needed")
    if is_target.all() or not is_target.any():
        found = "all" if is_target.all() else "none"
        raise ValueError(f"{found} of the {len(is_target)} rows are target rows; rows of both kinds are needed")
    groups = len(np.unique(key[is_target]))
    if groups < folds:
        raise ValueError(f"the target rows form {groups} groups, too few for {folds} folds; bring more, or lower folds")


def _ratio(name: str, values: ArrayLike, n: int) -> Floats:
    array = _column(name, values, n)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} has dtype {array.dtype}; numbers are needed")
    wide = array.astype(np.float64)
    bad = ~(np.isfinite(wide) & (wide >= 0.0))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(f"{name} is {wide[row]} in row {row}; a ratio is finite and not negative: cap it")
    if not wide.any():
        raise ValueError(f"{name} is zero in every row; no row resembles the target")
    return wide


def _evidence(ratio: Floats, is_target: Mask, bias: LabelBias) -> Evidence:
    log_ratio = np.log(np.maximum(ratio, np.finfo(np.float64).tiny))
    auc = two_sample_auc(log_ratio[is_target], log_ratio[~is_target])
    mean = normalisation(ratio)
    return Evidence(
        rows=len(ratio), n_target=int(is_target.sum()), ess=float(effective_sample_size(ratio)),
        auc=float(auc.value), auc_error=float(auc.standard_error),
        mean_ratio=float(mean.value), mean_error=float(mean.standard_error), bias=bias,
    )  # fmt: skip
