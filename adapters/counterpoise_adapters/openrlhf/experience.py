"""Weights on the advantages of PPO, GRPO and their kin, where the experiences of all ranks are in one place."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..pytorch.attaching import Attachment
from ..pytorch.columns import usable
from ..pytorch.config import RobustConfig
from ..pytorch.weighing import Weigher

Over = Literal["prompt", "sample"]


@torch.no_grad()
def weigh_experiences(experiences: list[Any], config: RobustConfig, *, over: Over, samples_per_prompt: int) -> Tensor:
    """Scale advantages in place, by weights over all prompts or samples, whose losses are minus their mean rewards.

    Parameters
    ----------
    experiences : list of Experience
        With ``advantages``, ``rewards`` and ``index``. Columns come from ``info``, where an agent's ``extra_logs``
        arrive, and what is logged goes there.
    config : RobustConfig
        Scope "world", unless its weights need no losses, and no schedule.
    over : {"prompt", "sample"}
        What an example is. A sample's weight depends on the reward that it scales: the gradient is approximate.
    samples_per_prompt : int
        ``rollout.n_samples_per_prompt``.

    Returns
    -------
    Tensor, shape (samples,)
        The weights, in the order of the experiences.
    """
    order = torch.tensor([place for e in experiences for place in e.index])
    ranked, size = order.argsort(), samples_per_prompt if over == "prompt" else 1
    losses = torch.cat([-e.rewards.double().cpu() for e in experiences])[ranked].reshape(-1, size).mean(1)
    name, side = config.column, None
    if name is not None:
        if any(name not in e.info for e in experiences):
            raise ValueError(f"experiences lack the column {name!r} in their info; an agent's extra_logs arrive there")
        values = torch.cat([torch.as_tensor(e.info[name]).double().reshape(-1).cpu() for e in experiences])
        usable(values, name)
        columns = values[ranked].reshape(-1, size)
        side = columns[:, 0]
        if bool((columns != side[:, None]).any()):
            raise ValueError(f"column {name!r} differs within a prompt; make it one value, or over='sample'")
    weigher = Weigher(config)
    (weights,), _ = weigher([losses / len(losses)], [side], progress=0.0, steps=1, held={})
    each, means = weights.repeat_interleave(size)[order], weigher.means()
    for e, part in zip(experiences, torch.split(each, [len(e.rewards) for e in experiences]), strict=True):
        e.advantages = e.advantages * part.to(e.advantages).reshape(-1, *[1] * (e.advantages.ndim - 1))
        e.info.update({key: mean.float().expand(len(part)).clone() for key, mean in means.items()})
    return each


class AttachedMaker(Attachment):
    """An experience maker whose advantages are weighed; ``weights`` are those of the last batch: see `attach`."""

    def __init__(self, maker: Any, config: RobustConfig, over: Over) -> None:
        if over not in get_args(Over):
            raise ValueError(f"over is {over!r}; it is one of {', '.join(get_args(Over))}")
        if config.scope != "world" and not config.linear:
            raise ValueError(f"scope is {config.scope!r}; all experiences are weighed at once: use scope='world'")
        if config.final is not None:
            raise ValueError("a schedule needs the number of steps, which an experience maker does not know")
        self.config, self.over = config, over
        self.weights: Tensor | None = None
        self._samples = int(maker.args.rollout.n_samples_per_prompt)
        self._stock = maker.compute_advantages_and_returns
        super().__init__(maker, compute_advantages_and_returns=self._compute)

    def _compute(self, experiences: list[Any]) -> list[Any]:
        made: list[Any] = self._stock(experiences)
        self.weights = weigh_experiences(made, self.config, over=self.over, samples_per_prompt=self._samples)
        return made
