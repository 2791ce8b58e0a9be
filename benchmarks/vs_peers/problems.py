"""The problems: what is asked, at which sizes, and the nasty ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import counterpoise as cp

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """One kind of problem under a uniform prior: its verb, divergence (None for CVaR) and amount."""

    name: str
    verb: str
    divergence: cp.Divergence | None
    amount: float

    def solve(self, losses: Floats, amount: float | None = None, prior: Floats | None = None) -> cp.Solution:
        """Solve it by counterpoise."""
        how_much = self.amount if amount is None else amount
        if self.divergence is None:
            return cp.cvar(losses, how_much, prior=prior)
        return getattr(cp, self.verb)(losses, self.divergence, how_much, prior=prior)


TASKS = (
    Task("KL radius", "constrained", cp.KL(), 0.1),
    Task("χ² radius", "constrained", cp.ChiSquare(), 0.5),
    Task("CVaR", "cvar", None, 0.1),
    Task("KL penalty", "penalized", cp.KL(), 1.0),
    Task("χ² penalty", "penalized", cp.ChiSquare(), 1.0),
)


def nasty() -> Iterator[tuple[Task, Floats, float, Floats | None]]:
    """Yield (task, losses, amount, prior): offsets, scales, tiny and nearly saturating amounts, skewed priors."""
    generator = np.random.default_rng(0)
    shapes = {
        "normal": generator.normal(size=30),
        "heavy tail": generator.standard_cauchy(size=30),
        "ties": generator.integers(0, 3, 30).astype(float),
        "two values": np.repeat([0.0, 1.0], [29, 1]),
        "negative": -1.0 - generator.uniform(size=30),
    }
    changes = {"": (1.0, 0.0), "offset 1e8": (1.0, 1e8), "scale 1e-30": (1e-30, 0.0), "scale 1e30": (1e30, 0.0)}
    skewed = np.exp(generator.uniform(-14, 14, 30))
    for task in TASKS:
        for shape in shapes.values():
            for scale, offset in changes.values():
                losses = shape * scale + offset
                spread = float(np.ptp(losses))
                amounts = {
                    "constrained": (1e-8, task.amount, 0.98 * float(cp.max_radius(task.divergence, losses)))
                    if task.divergence is not None and task.verb == "constrained" else (),
                    "cvar": (0.02, 0.5, 0.97),
                    "penalized": (1e-3 * spread, spread, 1e3 * spread),
                }[task.verb]  # fmt: skip
                for amount in amounts:
                    yield task, losses, amount, None
            yield task, shape, task.amount, skewed
