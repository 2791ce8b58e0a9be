"""How far `estimate_target_share` is above the truth, and whether discarding and refitting (TEDⁿ) brings it down.

    python benchmarks/share_bias.py

Target and rest are five-dimensional Gaussians, so many standard deviations apart; scores are cross-fitted logistic log
ratios. TEDⁿ (Garg et al., NeurIPS 2021) alternates: estimate the share, drop the most target-like rows of the mixture
accordingly, fit again. A tenth of a minute a line on one core.
"""

import argparse
from functools import partial

import numpy as np

import counterpoise as cp

FIT = partial(cp.fit_logistic, penalty=1e-2)
ROUNDS, DRAWS, FEATURES = 8, 12, 5


def estimates(share: float, distance: float, n: int, seed: int) -> tuple[float, float, float]:
    """Best bin, its upper bound, and TEDⁿ."""
    generator = np.random.default_rng([seed, n])
    target, count = generator.normal(size=(n, FEATURES)), generator.binomial(n, share)
    mixture = generator.normal(size=(n, FEATURES))
    mixture[count:, 0] += distance
    scores = cp.cross_fit(FIT, target=target, train=mixture)
    found = cp.estimate_target_share(scores.target_log_ratio, scores.train_log_ratio)
    first, second = np.array_split(generator.permutation(n), 2)
    kept, refined = mixture[first], 1.0
    for _ in range(ROUNDS):
        model = FIT(target=target[first], train=kept)
        held = [cp.log_ratio(model, sample[second]) for sample in (target, mixture)]
        refined = float(cp.estimate_target_share(*held).value)
        order = np.argsort(cp.log_ratio(model, mixture[first]))
        kept = mixture[first][order[: max(20, int(len(first) * (1.0 - refined)))]]
    return float(found.value), float(found.upper), refined


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| true share | distance | rows | best bin | upper bound | TEDⁿ |\n|---|---|---|---|---|---|")
    for share in (0.1, 0.3):
        for distance in (1, 2, 3, 5):
            for n in (500, 2000):
                means = np.mean([estimates(share, distance, n, seed) for seed in range(DRAWS)], axis=0)
                print(f"| {share} | {distance} | {n:,} | " + " | ".join(f"{value:.3f}" for value in means) + " |")


if __name__ == "__main__":
    main()
