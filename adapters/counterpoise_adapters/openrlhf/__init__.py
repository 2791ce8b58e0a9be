"""counterpoise for OpenRLHF: put robust weights on a trainer's loss, and take them off again; no code of it is copied.

`attach` takes a trainer that has been made, `patched` whatever OpenRLHF's own command lines make, and `with_columns`
brings the columns there. Importing this imports torch, and not OpenRLHF.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from counterpoise._extras import extra

with extra("torch", __name__):
    from ..pytorch.config import DIVERGENCES, RobustConfig
    from ..pytorch.weighing import Weighed
    from .columns import Batch, with_columns
    from .experience import AttachedMaker, Over, weigh_experiences
    from .trainer import Attached

__all__ = ["DIVERGENCES", "Attached", "AttachedMaker", "Batch", "RobustConfig", "Weighed"]
__all__ += ["attach", "patched", "weigh_experiences", "with_columns"]

TRAINERS = ("dpo_trainer.DPOTrainer", "rm_trainer.RewardModelTrainer", "sft_trainer.SFTTrainer")
MAKER = "ppo_utils.experience_maker.RemoteExperienceMaker"


def attach(
    trainer: Any, config: RobustConfig, *, over: Over | None = None, state: dict[str, float] | None = None
) -> Attached | AttachedMaker:
    """Minimise a `RobustConfig`'s objective with a trainer, until ``detach()`` or the end of a ``with`` statement.

    Parameters
    ----------
    trainer : DPOTrainer, RewardModelTrainer, SFTTrainer or RemoteExperienceMaker
        OpenRLHF's; of a PPO trainer, its ``experience_maker``.
    config : RobustConfig
        What is minimised, and over which examples.
    over : {"prompt", "sample"}, optional
        For experiences alone, see `weigh_experiences`; "prompt" by default.
    state : dict, optional
        ``Attached.state`` of a run that goes on; checkpoints hold it as "counterpoise" in their client states.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        For what is no such trainer, cannot be weighed, lacks a column, or is attached to already.
    """
    if not isinstance(config, RobustConfig):
        raise TypeError(f"config is a {type(config).__name__}; a RobustConfig is needed")
    if hasattr(trainer, "compute_advantages_and_returns"):
        return AttachedMaker(trainer, config, over or "prompt")
    if over is not None:
        raise ValueError(f"over is {over!r}; only experiences are weighed over prompts or samples")
    return Attached(trainer, config, state)


@contextmanager
def patched(config: RobustConfig, *, over: Over | None = None) -> Iterator[None]:
    """Attach to whatever trainer is made inside the ``with`` statement, and let the datasets carry the columns.

    Parameters
    ----------
    config : RobustConfig
        What is minimised.
    over : {"prompt", "sample"}, optional
        Attach to PPO's experience makers instead, which imports vLLM, as OpenRLHF's PPO does.
    """
    datasets = import_module("openrlhf.datasets")
    with ExitStack() as stack:
        for path in TRAINERS if over is None else (MAKER,):
            module, name = path.rsplit(".", 1)
            made = getattr(import_module(f"openrlhf.trainer.{module}"), name)
            stack.enter_context(_replaced(made, "__init__", _attaching(made.__init__, config, over)))
        for name in ("RewardDataset", "SFTDataset"):
            stack.enter_context(_replaced(datasets, name, with_columns(getattr(datasets, name), config)))
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give a class or module another attribute for a while."""
    stock = vars(owner)[name]  # its own, not one that it inherits: that is what is put back
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, stock)


def _attaching(stock: Callable[..., None], config: RobustConfig, over: Over | None) -> Callable[..., None]:
    @functools.wraps(stock)
    def init(trainer: Any, *args: Any, **kwargs: Any) -> None:
        stock(trainer, *args, **kwargs)
        attach(trainer, config, over=over)

    return init
