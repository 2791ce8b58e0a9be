"""From lists of scored responses with class probabilities, the format of DoRA's released code, to weighted pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any, Literal

import numpy as np

import counterpoise as cp


def pairs_from_lists(
    rows: Iterable[Mapping[str, Any]],
    *,
    target_share: float,
    pair: Literal["mean", "product"] = "mean",
    which: Literal["all", "extremes"] = "all",
) -> Iterator[dict[str, Any]]:
    """Yield a pair for every two responses of a list whose scores differ, with the ratio of the pair.

    A response with probability p has the ratio h = 1/(α + (1 − α)(1 − p)/p), its density under the target over that
    under all responses (see `mixture_ratio`), between 0 and 1/α.

    Parameters
    ----------
    rows : iterable of mapping
        Each with ``prompt``, ``responses``, ``scores`` (the higher the better) and ``probs`` in [0, 1]: a balanced
        classifier's probability that the response is the target's. Other fields are copied.
    target_share : float
        α in (0, 1]: which share of the responses is the target's.
    pair : {"mean", "product"}
        How a pair's ratio follows from those of its two responses. The paper takes the mean.
    which : {"all", "extremes"}
        All pairs of a list, or the best with the worst response alone.

    Yields
    ------
    dict
        ``prompt``, ``chosen``, ``rejected``, ``ratio`` and the other fields.

    Raises
    ------
    ValueError
        For a list whose fields differ in length or hold what is no number, naming the row.

    Examples
    --------
    >>> row = {"prompt": "p", "responses": ["a", "b"], "scores": [0.1, 0.9], "probs": [0.5, 0.8]}
    >>> list(pairs_from_lists([row], target_share=0.5))
    [{'prompt': 'p', 'chosen': 'b', 'rejected': 'a', 'ratio': 1.3}]
    """
    if pair not in ("mean", "product") or which not in ("all", "extremes"):
        raise ValueError(f"pair is {pair!r} and which is {which!r}; 'mean' or 'product', and 'all' or 'extremes'")
    if not 0 < target_share <= 1:
        raise ValueError(f"target_share is {target_share!r}; it lies in (0, 1]")
    for number, row in enumerate(rows):
        if missing := {"prompt", "responses", "scores", "probs"} - set(row):
            raise ValueError(f"row {number} has no {', '.join(sorted(missing))}; its fields are {', '.join(row)}")
        scores, probs = (np.asarray(row[name], dtype=float) for name in ("scores", "probs"))
        if not (scores.shape == probs.shape == (len(row["responses"]),)):
            raise ValueError(
                f"row {number} has {len(row['responses'])} responses, {scores.size} scores, {probs.size} probs"
            )
        if not np.isfinite(scores).all() or not ((probs >= 0) & (probs <= 1)).all():
            raise ValueError(f"row {number}: scores have to be finite and probs in [0, 1]; they are {scores}, {probs}")
        with np.errstate(divide="ignore"):
            log_odds = np.log(probs) - np.log1p(-probs)
        ratio = cp.mixture_ratio(log_odds[:, None], target_share=target_share, other_shares=[1 - target_share])
        order = np.argsort(-scores, kind="stable").tolist()
        rest = {name: row[name] for name in row if name not in ("responses", "scores", "probs", "prompt")}
        for i, j in combinations(order, 2) if which == "all" else [(order[0], order[-1])]:
            if scores[i] > scores[j]:
                both = (ratio[i] + ratio[j]) / 2 if pair == "mean" else ratio[i] * ratio[j]
                texts = {"chosen": row["responses"][i], "rejected": row["responses"][j]}
                yield {"prompt": row["prompt"], **texts, "ratio": round(float(both), 12), **rest}
