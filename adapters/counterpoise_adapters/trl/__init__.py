"""counterpoise for TRL: put robust weights before a trainer's class; no code of TRL is copied.

``robust(TrainerClass)`` and the ready-made ``Robust*Trainer`` take ``robust_config=RobustConfig(...)`` beside the
trainer's own arguments. TRL is imported when a trainer is first asked for.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from counterpoise._extras import extra

from .._lists import pairs_from_lists

with extra("trl", __name__):
    from ..pytorch.config import DIVERGENCES, RobustConfig
    from ..pytorch.weighing import Weighed
    from .trainer import RobustMixin

READY = ("DPO", "Reward", "KTO", "ORPO", "CPO", "SFT", "GRPO", "RLOO")

__all__ = ["DIVERGENCES", "RobustConfig", "RobustMixin", "Weighed", "WeightPlot", "pairs_from_lists", "robust"]
__all__ += [f"Robust{name}Trainer" for name in READY]


@functools.cache
def robust(trainer_class: type) -> type:
    """Return the trainer's class with robust weights: same arguments, and ``robust_config``.

    Parameters
    ----------
    trainer_class : type
        A TRL trainer, or another `transformers.Trainer` whose ``compute_loss`` reduces a tensor of per-example losses.

    Returns
    -------
    type
        A subclass of `RobustMixin` and of the trainer, always the same for the same class.

    Raises
    ------
    TypeError
        For anything that is no class with ``compute_loss``.

    Examples
    --------
    >>> class Trainer:
    ...     def compute_loss(self, model, inputs): ...
    >>> robust(Trainer).__mro__[:3]
    (<class '...RobustTrainer'>, <class '...RobustMixin'>, <class '...Trainer'>)
    """
    if not (isinstance(trainer_class, type) and hasattr(trainer_class, "compute_loss")):
        raise TypeError(f"{trainer_class!r} is no trainer's class: it has no compute_loss")
    # made by type(), in this module: datasets pickles trainers by reference
    return type(f"Robust{trainer_class.__name__}", (RobustMixin, trainer_class), {"__module__": __name__})


def __getattr__(name: str) -> Any:
    if name == "WeightPlot":  # imports transformers
        with extra("trl", f"{__name__}.WeightPlot"):
            return importlib.import_module(f"{__name__}.plot").WeightPlot
    short = name.removeprefix("Robust").removesuffix("Trainer")
    if name != f"Robust{short}Trainer" or short not in READY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with extra("trl", f"{__name__}.{name}"):
        importlib.import_module("trl")
    for home in ("trl", f"trl.experimental.{short.lower()}"):  # ORPO and CPO, and KTO in old releases, live there
        try:
            return robust(getattr(importlib.import_module(home), f"{short}Trainer"))
        except (AttributeError, ModuleNotFoundError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name not in (home, None):
                raise
    raise AttributeError(f"this release of TRL has no {short}Trainer")
