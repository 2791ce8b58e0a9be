"""A mixin for TRL's trainers: watch the stock loss being reduced, and weigh what it is reduced from."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ..pytorch.columns import check, number, usable
from ..pytorch.config import RobustConfig, Tilt
from ..pytorch.watch import Watch, terms
from ..pytorch.weighing import Weighed, Weigher, reweigh, warn_of_single
from .columns import Carrier, unpack

Base: Any = object  # a trainer comes here; type checkers run without TRL
BOOKS = ("_metrics", "_stored_metrics", "_total_train_tokens")  # what compute_loss writes down


class RobustMixin(Base):  # type: ignore[misc]
    """Before a trainer's class, minimise `RobustConfig`'s objective: see `robust`.

    Attributes
    ----------
    robust_config : RobustConfig
        What was asked for.
    weighed : Weighed or None
        The last micro-batch that was trained on.
    """

    data_collator: Any
    _signature_columns: Any

    def __init__(self, *args: Any, robust_config: RobustConfig, **kwargs: Any) -> None:
        if not isinstance(robust_config, RobustConfig):
            raise TypeError(f"robust_config is a {type(robust_config).__name__}; a RobustConfig is needed")
        self.robust_config = robust_config
        self.weighed: Weighed | None = None
        self._window: list[Tensor] = []
        self._value = torch.tensor(0.0)
        self._weigher = Weigher(robust_config)
        self._carried = robust_config.carried
        super().__init__(*args, **kwargs)
        self.current_gradient_accumulation_steps = self.args.gradient_accumulation_steps  # until Trainer counts them
        refuse(self)
        if robust_config.column is not None:
            check(self.train_dataset, robust_config.column, robust_config.objective)
        if not generates(self):
            self.data_collator = Carrier(self.data_collator, self._carried)
        for callback in self.callback_handler.callbacks:
            if hasattr(callback, "quantiles"):  # a WeightPlot, whose module is not imported before it is asked for
                callback.trainer = self

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, *self._carried]))

    def compute_ref_log_probs(self, *args: Any, **kwargs: Any) -> Any:
        """Keep the columns from the reference model, which swallows any keyword."""
        return super().compute_ref_log_probs(*(unpack(a)[0] for a in args), **kwargs)

    def prediction_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as TRL does, without the columns."""
        return super().prediction_step(model, unpack(inputs)[0], *args, **kwargs)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """Scale advantages by their rows' weights: TRL shuffles and splits them with the completions."""
        output = super()._generate_and_score_completions(inputs)
        name = self.robust_config.column
        if name is not None and self.model.training:
            plain = output["advantages"]
            weights = torch.tensor([number(row.get(name)) for row in inputs], dtype=plain.dtype, device=plain.device)
            usable(weights, name)
            self.weighed = Weighed(-plain, weights, {name: weights})
            self._weigher.note(Tilt((weights * -plain).mean(), weights, math.inf), -plain)
            output["advantages"] = plain * weights
        return output

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Look ahead at the losses of a step, when Trainer has fetched its micro-batches, if the scope needs it."""
        samples, items = super().get_batch_samples(*args, **kwargs)
        if samples and self.robust_config.looks_ahead:
            self.current_gradient_accumulation_steps = len(samples)
            kept = {name: copy.deepcopy(getattr(self, name)) for name in BOOKS if hasattr(self, name)}
            model, training = self.model_wrapped, self.model.training
            model.eval()  # no dropout
            try:
                parts = [self._look_at(model, batch, items) for batch in samples]
            finally:
                model.train(training)
                self.__dict__.update(kept)
            self._window, self._value = self._weigh(parts, self._scaled(items))
        return samples, items

    def _look_at(self, model: nn.Module, batch: Any, items: Any) -> tuple[Tensor, Tensor]:
        inputs, columns = self._take(self._prepare_inputs(batch))
        with self.compute_loss_context_manager(), self._watch(model, columns, without_gradient=True) as watch:
            loss = super().compute_loss(model, inputs, num_items_in_batch=items)
        return terms(loss, watch, type(self).__name__)[0], columns

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the stock loss with its examples weighed, reported as the objective; in evaluation, the stock loss."""
        stock = {"return_outputs": return_outputs, "num_items_in_batch": num_items_in_batch}
        if generates(self) or not self.model.training:
            return super().compute_loss(model, unpack(inputs)[0], **stock)
        inputs, columns = self._take(inputs)
        with self._watch(model, columns) as watch:
            out = super().compute_loss(model, inputs, **stock)
        loss = out[0] if return_outputs else out
        parts, rows = terms(loss, watch, type(self).__name__)
        scaled = self._scaled(num_items_in_batch)
        weights, value = (
            self._of_window(len(parts)) if self.robust_config.looks_ahead else self._of_batch(parts, columns, scaled)
        )
        steps = self.current_gradient_accumulation_steps if scaled else 1
        self.weighed = Weighed(parts * (len(parts) * steps), weights, dict(zip(self._carried, columns, strict=True)))
        if self.robust_config.uniform:
            return out
        loss = reweigh(loss, rows, weights, value / steps - parts.sum())
        return (loss, *out[1:]) if return_outputs else loss

    def _of_window(self, examples: int) -> tuple[Tensor, Tensor]:
        if not self._window or len(self._window[0]) != examples:
            raise RuntimeError(
                f"scope={self.robust_config.scope!r} met a micro-batch of {examples} examples that get_batch_samples "
                "did not announce; train by Trainer.train(), or use scope='microbatch'"
            )
        return self._window.pop(0), self._value

    def _of_batch(self, parts: Tensor, columns: Tensor, scaled: bool) -> tuple[Tensor, Tensor]:
        (weights,), value = self._weigh([(parts, columns)], scaled)
        return weights, value

    def _take(self, inputs: Any) -> tuple[Any, Tensor]:
        """Split a training batch into TRL's part and the columns, in the order of the trainer's losses."""
        inputs, columns = unpack(inputs)
        if columns is None:
            raise RuntimeError(
                "a training batch lacks the columns: pass data_collator to the constructor, do not set it afterwards"
            )
        if "KTOTrainer" in (base.__name__ for base in type(self).__mro__):  # it puts the desirable ones first
            label = torch.as_tensor(inputs["label"], dtype=torch.bool, device=columns.device)
            columns = torch.cat([columns[:, label], columns[:, ~label]], dim=1)
        side = self._side(columns)
        if side is not None:
            usable(side, str(self.robust_config.column))
        return inputs, columns

    def _side(self, columns: Tensor) -> Tensor | None:
        name = self.robust_config.column
        return None if name is None else columns[self._carried.index(name)]

    def _watch(self, model: nn.Module, columns: Tensor, *, without_gradient: bool = False) -> Watch:
        models = [m for m in (model, getattr(self, "ref_model", None)) if isinstance(m, nn.Module)]
        return Watch(columns.shape[1], models, without_gradient=without_gradient)

    def _scaled(self, items: Any) -> bool:
        """Tell whether the stock loss is divided by the whole step's items: Trainer's own rule."""
        declared = getattr(self, "loss_is_scaled_for_ga", None)
        given = (self.model_accepts_loss_kwargs and items is not None) or self.compute_loss_func is not None
        return bool(given if declared is None else declared)

    def _weigh(self, parts: list[tuple[Tensor, Tensor]], scaled: bool) -> tuple[list[Tensor], Tensor]:
        """Return the weights of each micro-batch, and the objective over the scope that they are."""
        steps, state = self.current_gradient_accumulation_steps, self.state
        running = self.robust_config.scope == "running"
        return self._weigher(
            [part * steps if scaled else part for part, _ in parts],  # Trainer sums what is scaled
            [self._side(columns) for _, columns in parts],
            progress=min(state.global_step / max(state.max_steps - 1, 1), 1.0),
            steps=steps,
            held=state.stateful_callbacks.setdefault("counterpoise", {}) if running else {},  # checkpoints hold η
            of_step=scaled,
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the means since the last log, over scopes and ranks, to the training logs."""
        if "loss" in logs and (means := self._weigher.means()):
            reduced = self.accelerator.reduce(torch.stack(list(means.values())), reduction="mean")
            logs.update(zip(means, reduced.tolist(), strict=True))
        super().log(logs, *args, **kwargs)


def generates(trainer: Any) -> bool:
    """Tell whether a trainer makes its own completions: then advantages are weighed, not losses."""
    return any("_generate_and_score_completions" in vars(c) for c in type(trainer).__mro__ if c is not RobustMixin)


def refuse(trainer: Any) -> None:
    """Raise where examples cannot be weighed; warn where a part of the loss is not."""
    args, config, name = trainer.args, trainer.robust_config, type(trainer).__name__
    sft = next((c for c in type(trainer).__mro__ if c.__name__ == "SFTTrainer"), None)
    if sft is not None and "log_probs" not in vars(sft)["compute_loss"].__code__.co_names:
        raise ValueError(
            "this release of TRL reduces the SFT loss inside the model, where none can be weighed: upgrade TRL"
        )
    kinds = getattr(args, "loss_type", None) or []
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    if generates(trainer) and config.objective not in ("erm", "weighted"):
        raise ValueError(
            f"{name} has advantages instead of per-example losses, so objective {config.objective!r} has nothing to "
            "tilt; use 'weighted', which scales them by the weight column"
        )
    if sorting := {kind for kind in kinds if kind.startswith("aot")}:
        raise ValueError(f"loss_type {sorting} sorts the batch, so no example has a loss of its own to weigh")
    if getattr(args, "packing", False) or getattr(trainer, "padding_free", False):
        raise ValueError("packing and padding_free join examples in one row, where none can be weighed; turn them off")
    fused = [n for n, v in vars(trainer).items() if type(v).__module__.startswith("liger_kernel")]
    if fused and not generates(trainer):
        raise ValueError(f"{fused[0]}: a fused Liger loss reduces inside its kernel; set use_liger_kernel=False")
    if getattr(args, "n_gpu", 1) > 1:
        raise ValueError("DataParallel splits a batch after its columns are taken; start one process per GPU")
    spread = getattr(trainer.accelerator, "parallelism_config", None)
    if spread is not None and (spread.cp_enabled or getattr(spread, "sp_enabled", False)):
        raise ValueError("context and sequence parallelism cut examples in parts, which cannot be weighed; use neither")
    if config.uniform:
        return
    if "sft" in kinds or "ORPO" in name or getattr(args, "cpo_alpha", False):
        warnings.warn(
            f"{name}: the token-averaged nll (sft) term has no per-example form and stays unweighted", stacklevel=4
        )
    warn_of_single(config, args.per_device_train_batch_size, stacklevel=4)
