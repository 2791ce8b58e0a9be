"""A callback that draws how the weights were spread over training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from counterpoise._extras import extra

LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class WeightPlot(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Draw quantiles of the micro-batches' weights against the step, into a file when training ends.

    Give it to a robust trainer in ``callbacks``. Needs matplotlib (``pip install 'counterpoise[plots]'``).

    Parameters
    ----------
    path : str or Path, optional
        ``weights.png`` in the trainer's output directory when None; the ending chooses the format.

    Attributes
    ----------
    steps, quantiles : list
        What was drawn: a step's number, and the weights' quantiles at 0, 10, 25, 50, 75, 90 and 100 %.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path
        self.trainer: Any = None
        self.steps: list[int] = []
        self.quantiles: list[list[float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note a step's weights."""
        weighed = getattr(self.trainer, "weighed", None)
        if weighed is None:
            raise RuntimeError("WeightPlot belongs in the callbacks of a robust trainer")
        self.steps.append(state.global_step)
        levels = torch.tensor(LEVELS, dtype=torch.float64, device=weighed.weights.device)
        self.quantiles.append(torch.quantile(weighed.weights.double(), levels).tolist())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw."""
        if not state.is_world_process_zero or not self.steps:
            return
        with extra("plots", "WeightPlot"):
            from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3.5), layout="constrained")
        axes = figure.subplots()
        columns = list(zip(*self.quantiles, strict=True))
        for low, high in zip(columns[:3], columns[:3:-1], strict=True):
            axes.fill_between(self.steps, low, high, color="tab:blue", alpha=0.2, linewidth=0)
        axes.plot(self.steps, columns[3], color="tab:blue")
        axes.axhline(1.0, color="black", linewidth=0.8, linestyle=":")
        axes.set(
            xlabel="step", ylabel="weight (1 is plain training)", title="median, 25–75, 10–90 and 0–100 % of weights"
        )
        figure.savefig(self.path or Path(args.output_dir) / "weights.png")
