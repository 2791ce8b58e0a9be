"""Three rounds of self-training: a policy learns from what it wrote itself, with weights and without.

    python docs/examples/self_training.py

Twenty pairs are judged by people. In every round the policy writes responses, and a judge with a taste of its own
labels them. Each round

1. weighs earlier rounds' pairs by how likely today's policy would have written them: both policies are known, so the
   ratio is exact and only truncated; what truncation leaves out is printed;
2. fits the ratio of people's pairs to all pairs, out of fold, going on from the last round's fit;
3. trains on both weights together, by reweighting.

What stays unknown: where the policy writes what no person has judged, no ratio says which label is right.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

import counterpoise as cp

Floats = NDArray[np.float64]
FEATURES = 5
PEOPLE, WRITTEN, CHOICES = 20, 300, 6
TASTE = np.array([1.5, 1.0, 0.0, 0.0, 0.0])  # of people
JUDGE = np.array([1.5, 0.5, 1.0, 0.0, 0.0])  # of the judge, who likes the third feature (length, say)
CAP = 5.0


def label(generator: np.random.Generator, pairs: Floats, taste: Floats) -> Floats:
    """Put the preferred response of each pair first, by a Bradley-Terry judge."""
    score = pairs @ taste
    first = generator.random(len(pairs)) < 1.0 / (1.0 + np.exp(score[:, 1] - score[:, 0]))
    return np.where(first[:, None, None], pairs, pairs[:, ::-1])


def write(generator: np.random.Generator, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Write pairs: the policy chooses two of six drafts each; return pairs, drafts and the log-probability of both."""
    drafts = generator.normal(size=(WRITTEN, 2, CHOICES, FEATURES))
    logits = log_policy(drafts, theta)
    chosen = (logits + generator.gumbel(size=logits.shape)).argmax(axis=-1)
    at = np.take_along_axis
    pairs = at(drafts, chosen[..., None, None], axis=2)[:, :, 0]
    order = np.concatenate([pairs[:, :, None], drafts], axis=2)  # the one written, then what it was chosen from
    return pairs, order, at(logits, chosen[..., None], axis=2)[..., 0]


def log_policy(drafts: Floats, theta: Floats) -> Floats:
    """log π of each draft: a softmax of its score."""
    score = drafts @ theta
    return np.asarray(score - np.log(np.exp(score).sum(axis=-1, keepdims=True)))


def train(pairs: Floats, weights: Floats, steps: int = 30) -> Floats:
    """Fit a linear policy to weighted pairs by Newton's method (Bradley-Terry, ridge 0.01)."""
    x, theta = pairs[:, 0] - pairs[:, 1], np.zeros(FEATURES)
    for _ in range(steps):
        wrong = 1.0 / (1.0 + np.exp(x @ theta))
        objective = cp.reweighted(np.logaddexp(0.0, -x @ theta), weights)
        gradient = -x.T @ (objective.weights * wrong) + 0.01 * theta
        bend = (x.T * (objective.weights * wrong * (1.0 - wrong))) @ x + 0.01 * np.eye(FEATURES)
        theta = theta - np.linalg.solve(bend, gradient)
    return theta


def truncated(rounds: Sequence[tuple[Floats, Floats, Floats]], theta: Floats) -> tuple[Floats, float]:
    """Weights of all written pairs under today's policy, and the largest mass that truncation leaves out of a round."""
    weights, missing = [], 0.0
    for pairs, order, then in rounds:
        score = order @ theta
        now = score[..., 0] - np.log(np.exp(score[..., 1:]).sum(axis=-1))
        found = cp.policy_ratio(now, then, cap=CAP)  # the last axis holds the two responses of a pair
        weights.append(found.ratio)
        missing = max(missing, float(found.missing.value))
        assert len(found.ratio) == len(pairs)
    return np.concatenate(weights), missing


def main() -> None:
    """Run three rounds and print a line each."""
    generator = np.random.default_rng(0)
    fresh = generator.normal(size=(4000, 2, FEATURES))
    fresh = label(generator, fresh, TASTE)
    people = label(generator, generator.normal(size=(PEOPLE, 2, FEATURES)), TASTE)
    theta = alone = train(people, np.ones(PEOPLE))
    rounds: list[tuple[Floats, Floats, Floats]] = []
    judged: list[Floats] = []
    model = None
    heads = ("round", "pairs", "left out", "effective", "people", "plain", "weighted")
    print("  ".join(f"{head:>9s}" for head in heads))
    for number in range(1, 4):
        rounds.append(write(generator, theta))
        judged.append(label(generator, rounds[-1][0], JUDGE))
        written = np.concatenate(judged)
        policy, missing = truncated(rounds, theta)
        pairs = np.concatenate([people, written])
        rows = pairs.reshape(len(pairs), -1)  # both responses in their order: the ratio sees the label
        fit = partial(cp.fit_logistic, penalty=0.03, start=model)
        folds = cp.cross_fit(fit, target=rows[:PEOPLE], train=rows[PEOPLE:])
        model = fit(target=rows[:PEOPLE], train=rows[PEOPLE:])
        # to the written pairs alone; people's own are among all pairs
        against = np.concatenate([folds.target_log_ratio, folds.train_log_ratio])[:, None]
        share = PEOPLE / len(pairs)
        ratio = cp.mixture_ratio(against, target_share=share, other_shares=[1.0 - share])
        weights = ratio * np.concatenate([np.ones(PEOPLE), policy])
        theta, plain = train(pairs, weights), train(pairs, np.ones(len(pairs)))
        right = [float((fresh[:, 0] @ t > fresh[:, 1] @ t).mean()) for t in (alone, plain, theta)]
        size = float(cp.effective_sample_size(weights))
        numbers = (f"{missing:.3f}", f"{size:.0f}", *(f"{share:.3f}" for share in right))
        print("  ".join(f"{item:>9}" for item in (number, len(pairs), *numbers)))


if __name__ == "__main__":
    main()
