"""Weigh the loss of a trainer that is made already and holds its loss and its data loader as attributes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .columns import usable
from .config import RobustConfig
from .watch import Watch, terms
from .weighing import Weighed, Weigher, reweigh


class Attachment:
    """Attributes of an object that are replaced until `detach`, or the end of a ``with`` statement.

    Parameters
    ----------
    target : object
        Its instance dictionary is changed; its class is not.
    **replaced
        The attributes, of which one at least is a method of this object.

    Raises
    ------
    RuntimeError
        If something is attached to the object.
    """

    def __init__(self, target: Any, **replaced: Any) -> None:
        if any(isinstance(getattr(value, "__self__", None), Attachment) for value in vars(target).values()):
            raise RuntimeError(f"weights are attached to this {type(target).__name__} already; detach() them first")
        self._target, self._replaced = target, replaced
        self._found = {name: vars(target)[name] for name in replaced if name in vars(target)}
        vars(target).update(replaced)

    def detach(self) -> None:
        """Leave the object as it was found; a second call does nothing."""
        for name in self._replaced:
            vars(self._target).pop(name, None)
        vars(self._target).update(self._found)
        self._replaced, self._found = {}, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.detach()


class Turn(NamedTuple):
    """What is known of a micro-batch before its loss is."""

    columns: dict[str, Tensor]
    progress: float
    weights: Tensor | None = None
    value: Tensor | None = None


class AttachedLoss(Attachment):
    """A trainer's ``loss_fn`` that scales its examples' gradients, and a ``train_dataloader`` that announces them.

    Every batch of the loader may have ``columns``, a dict of tensors of shape (examples,). Without gradient, as in
    evaluation, the loss is the stock one.

    Parameters
    ----------
    trainer : object
        Calls ``loss_fn`` once for every batch of ``train_dataloader``, in their order, with a row for each example in
        the first argument. A tuple that it returns begins with the loss.
    config : RobustConfig
        What is minimised.
    state : dict, optional
        η of scope "running", of a run that goes on.
    **replaced
        More attributes, see `Attachment`.

    Attributes
    ----------
    config, state
        As given.
    weighed : Weighed or None
        The last micro-batch that was trained on.
    """

    name = "the trainer"
    """In messages."""
    of_step = False
    """Whether the losses are divided by the whole step's examples or tokens, not by their micro-batch's."""
    group: dist.ProcessGroup | None = None
    """The ranks of scope "world"; the default group when None."""
    steps = 1
    """Micro-batches of an optimiser step."""

    def __init__(self, trainer: Any, config: RobustConfig, state: dict[str, float] | None, **replaced: Any) -> None:
        self.config, self.state = config, {} if state is None else state
        self.weighed: Weighed | None = None
        self.weigher = Weigher(config)
        self.stock_loss, self.stock_loader = trainer.loss_fn, trainer.train_dataloader
        loader = Announced(self.stock_loader, self, self.steps if config.looks_ahead else 1)
        super().__init__(trainer, loss_fn=self._loss, train_dataloader=loader, **replaced)
        self.begin(0, 1)

    def begin(self, done: int, total: int) -> None:
        """Forget batches that were not trained on, and say how many steps of how many are done."""
        self._turns: deque[Turn] = deque()
        self._done, self._total, self._seen = done, total, 0

    def looks(self, window: list[Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Yield the arguments of the loss for every micro-batch, with graphs that begin at the models' outputs."""
        raise NotImplementedError

    def announce(self, window: list[Any]) -> None:
        """Take note of the micro-batches that come next: of a whole step where weights look ahead."""
        progress = min((self._done + self._seen // self.steps) / max(self._total - 1, 1), 1.0)
        turns = [Turn(self._columns(batch), progress) for batch in window]
        if self.config.looks_ahead:
            parts = [self._watched(*call)[1] for call in self.looks(window)]
            weights, value = self._weigh(parts, turns)
            turns = [turn._replace(weights=w, value=value) for turn, w in zip(turns, weights, strict=True)]
        self._seen += len(window)
        self._turns.extend(turns)

    def _columns(self, batch: Any) -> dict[str, Tensor]:
        columns: dict[str, Tensor] = getattr(batch, "columns", {})
        if (name := self.config.column) is not None:
            if name not in columns:
                raise ValueError(f"a training batch lacks the column {name!r}, which the dataset's collate_fn adds")
            usable(columns[name], name)
        return columns

    def _watched(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Tensor, list[Tensor]]:
        with Watch(len(args[0]), ()) as watch:
            out = self.stock_loss(*args, **kwargs)
        return (out, *terms(out[0] if isinstance(out, tuple) else out, watch, self.name))

    def _weigh(self, parts: list[Tensor], turns: list[Turn]) -> tuple[list[Tensor], Tensor]:
        name = self.config.column
        return self.weigher(
            parts,
            [t.columns[name].to(p.device) if name else None for p, t in zip(parts, turns, strict=True)],
            progress=turns[0].progress,
            steps=self.steps,
            held=self.state,
            of_step=self.of_step,
            group=self.group,
        )

    def _loss(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.stock_loss(*args, **kwargs)
        if not self._turns:
            raise RuntimeError(f"{self.name} has a loss of a batch that its train_dataloader did not give; use fit()")
        turn = self._turns.popleft()
        out, parts, rows = self._watched(args, kwargs)
        if turn.weights is None or turn.value is None:
            (weights,), value = self._weigh([parts], [turn])
        else:
            weights, value = turn.weights, turn.value
        self.weighed = Weighed(parts * len(parts), weights, turn.columns)
        if self.config.uniform:
            return out
        loss, *rest = out if isinstance(out, tuple) else (out,)
        loss = reweigh(loss, rows, weights, value - parts.sum())
        return (loss, *rest) if isinstance(out, tuple) else loss


class Announced:
    """A data loader that announces its batches in windows; what does not fill a window at an epoch's end is left out.

    Parameters
    ----------
    stock : DataLoader
        Whatever else is asked for is its.
    attached : AttachedLoss
        Is told of every window before its first batch.
    window : int
        Batches in a window.
    """

    def __init__(self, stock: Any, attached: AttachedLoss, window: int) -> None:
        self._stock, self._attached, self._window = stock, attached, window

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stock, name)

    def __len__(self) -> int:
        return len(self._stock) // self._window * self._window

    def __iter__(self) -> Iterator[Any]:
        held: list[Any] = []
        for batch in self._stock:
            held.append(batch)
            if len(held) == self._window:
                self._attached.announce(held)
                yield from held
                held = []


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Evaluate with a model in training, as a first look at losses does."""
    training = model.training
    model.eval()
    for module in model.modules():
        if getattr(module, "normalize_reward", False):  # what OpenRLHF's reward models do in evaluation only
            module.training = training
    try:
        yield
    finally:
        model.train(training)
