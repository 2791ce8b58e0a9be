"""Level and power of the label-bias test that `advise` reports, on generated pairs.

    python -m benchmarks.advise.label_bias

Every setting is drawn anew a few hundred times and tested as `advise` tests it: features go to the cross-fitted score
of likeness, and labels to the permutation test. The table is Markdown; the page on advice holds it.
"""

import argparse
from typing import NamedTuple

import numpy as np
from counterpoise_adapters.advise import Pairs, label_bias
from counterpoise_adapters.advise._data import prepare
from counterpoise_adapters.advise._ratio import blind_score
from rich.console import Console
from rich.progress import track

from .worlds import Floats

D = 5


class Setting(NamedTuple):
    """How a file is drawn.

    Attributes
    ----------
    bias : float
        How far the others' taste turns away from the target's: 0 is the same, 1 lies at 45 degrees to it.
    shift : float
        Standard deviations between the others' style and the target's.
    bend : float
        Of the truth, which a linear policy cannot represent: a square of the shifted feature and a sine.
    n_target, n_other : int
        Pairs.
    """

    bias: float
    shift: float
    bend: float
    n_target: int
    n_other: int


SETTINGS = tuple(
    Setting(bias, shift, bend, n_target, 6 * n_target)
    for bias, shifts in ((0.0, (0.0, 1.0, 2.0)), (1.0, (0.0, 1.0)), (2.0, (0.0, 1.0)))
    for shift in shifts
    for bend in ((0.0, 1.0) if bias == 0.0 else (0.0,))
    for n_target in (50, 150)
)


def p_value(setting: Setting, seed: int, draws: int) -> float:
    """Draw a file and test it, as `advise` does."""
    generator = np.random.default_rng(seed)
    items, is_target = draw_file(setting, generator)
    prepared = prepare(Pairs(items[:, 0], items[:, 1]))
    score = blind_score(prepared.blind, is_target, group=None, seed=seed)
    return label_bias(prepared.x, is_target, score, draws=draws, seed=seed).p_value


def draw_file(setting: Setting, generator: np.random.Generator) -> tuple[Floats, np.ndarray]:
    """Draw pairs of responses, preferred first, and say which are the target's."""
    is_target = np.arange(setting.n_target + setting.n_other) < setting.n_target
    axes = np.eye(D)
    items = generator.normal(size=(len(is_target), 2, D)) + setting.shift * ~is_target[:, None, None] * axes[-1]
    turned = (axes[0] + setting.bias * axes[1]) / np.hypot(1.0, setting.bias)
    score = 1.5 * np.einsum("nkd,nd->nk", items, np.where(is_target[:, None], axes[0], turned))
    score += setting.bend * (items[..., -1] ** 2 + np.sin(2.0 * items[..., 2]))
    first = generator.random(len(items)) < 1.0 / (1.0 + np.exp(score[:, 1] - score[:, 0]))
    return np.where(first[:, None, None], items, items[:, ::-1]), is_target


def interval(found: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in per cent."""
    share, z2 = found / n, 1.96**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2) * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return 100 * (centre - half), 100 * (centre + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200, help="drawn of each setting")
    parser.add_argument("--draws", type=int, default=199, help="permutations a test; advise uses 999")
    options = parser.parse_args()
    if options.files < 1 or options.draws < 19:
        parser.error("at least 1 file and 19 permutations are needed")
    lines = []
    for setting in track(SETTINGS, "testing", console=Console(stderr=True)):
        found = sum(p_value(setting, seed, options.draws) <= 0.05 for seed in range(options.files))
        low, high = interval(found, options.files)
        labels = "the same" if setting.bias == 0.0 else f"turned by {np.degrees(np.arctan(setting.bias)):.0f}°"
        truth = "linear" if setting.bend == 0.0 else "bent"
        lines.append(
            f"| {labels} | {setting.shift:g} | {truth} | {setting.n_target} + {setting.n_other} "
            f"| {100 * found / options.files:.1f} [{low:.1f}, {high:.1f}] |"
        )
    print("| taste of the others | shift, sd | truth | pairs, target + others | called different, % |")
    print("|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
