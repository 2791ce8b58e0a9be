"""What a robust trainer minimises, whichever trainer it is: a dataclass for Python, YAML and the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.distributed as dist
from torch import Tensor

import counterpoise as cp

from .distributed import gather
from .recipe import Recipe

Name = Literal["erm", "weighted", "reweighted", "kl_dro", "dora", "target_dro", "cvar", "worst_case", "group_dro"]
Scope = Literal["microbatch", "step", "world", "running"]
Schedule = Literal["constant", "linear", "cosine"]
DIVERGENCES = {
    "kl": cp.KL(), "chi_square": cp.ChiSquare(), "reverse_kl": cp.ReverseKL(), "hellinger": cp.Hellinger(),
    "jensen_shannon": cp.JensenShannon(), "total_variation": cp.TotalVariation(),
}  # fmt: skip
AMOUNTS = ("penalty", "radius", "level")


class Tilt(NamedTuple):
    """What the losses of a scope were given: the objective, its weights where uniform is 1, the penalty or its kin."""

    value: Tensor
    weights: Tensor
    amount: float


@dataclass
class RobustConfig:
    """Which objective of the per-example losses l is minimised, over which examples, with which columns.

    Parameters
    ----------
    objective : str
        "weighted": the mean of w·l, w the ``weight`` column as it is (mean 1 over the file), the same in every scope.
        "reweighted", "dora", "target_dro": the functions of these names, with the ``ratio`` column. "kl_dro" and
        "cvar" likewise, "worst_case" in a divergence around uniform, "group_dro" over the ``group`` column, and "erm".
    penalty, radius, level : float, optional
        λ ≥ 0 in units of the losses, ρ ≥ 0 of the divergence, or CVaR's level in (0, 1]: see `Recipe`.
    divergence : str, optional
        Of "target_dro", "worst_case" and "group_dro": "kl", which the first two have by default, "chi_square",
        "reverse_kl", "hellinger", "jensen_shannon" or "total_variation".
    scope : {"microbatch", "step", "world", "running"}
        Over which examples: a micro-batch; all micro-batches of an optimiser step; those of all ranks too. The last
        two are exact and cost a forward pass without gradient. "running" costs none: weights exp((l − η)/λ) with η
        carried from step to step, for "kl_dro" and "dora".
    schedule : {"constant", "linear", "cosine"}
        How the amount goes from its value at the first step to ``final`` at the last.
    final : float, optional
        The amount at the last step, for a schedule other than "constant".
    target_ess : float, optional
        Share in (0, 1) of the examples that stay effective; the penalty is then found anew for every scope.
    memory : float
        In [0, 1): the share of e^(η/λ) that survives a step of scope "running".
    ratio_column, weight_column, group_column : str
        Names of the dataset's columns.

    Raises
    ------
    ValueError
        For an unknown name, and for an amount that is missing, unusable or out of range.

    Examples
    --------
    >>> RobustConfig("dora", penalty=2.0, schedule="cosine", final=1.0).amount(0.5)
    1.5
    """

    objective: Name = "dora"
    penalty: float | None = None
    radius: float | None = None
    level: float | None = None
    divergence: str | None = None
    scope: Scope = "microbatch"
    schedule: Schedule = "constant"
    final: float | None = None
    target_ess: float | None = None
    memory: float = 0.9
    ratio_column: str = "ratio"
    weight_column: str = "weight"
    group_column: str = "group"

    def __post_init__(self) -> None:
        allowed = {"objective": get_args(Name), "scope": get_args(Scope), "schedule": get_args(Schedule)}
        for name, choices in {**allowed, "divergence": (None, *DIVERGENCES)}.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it is one of {', '.join(map(str, choices))}")
        if self.divergence and self.objective not in ("target_dro", "worst_case", "group_dro"):
            raise ValueError(f"divergence is {self.divergence!r}, and objective {self.objective!r} takes none")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is {self.memory!r}; it lies in [0, 1)")
        if (self.schedule == "constant") != (self.final is None):
            raise ValueError(f"schedule is {self.schedule!r} and final is {self.final!r}; give both or neither")
        given = {name: value for name in AMOUNTS if (value := getattr(self, name)) is not None}
        if self.target_ess is not None:
            if not 0 < self.target_ess < 1 or given or self.objective in ("erm", "weighted", "reweighted", "cvar"):
                raise ValueError(
                    f"target_ess is {self.target_ess!r}; it is a share in (0, 1) that finds the penalty of an "
                    f"objective with one; {self.objective!r} was given with {', '.join(given) or 'no amount'}"
                )
            given = {"penalty": 1.0}
        self._check(given)
        if self.final is not None:
            if not given or not math.isfinite(self.final) or math.inf in given.values() or self.target_ess:
                raise ValueError("a schedule goes between two finite amounts; give a finite penalty, radius or level")
            self._check(dict.fromkeys(given, self.final))
        if self.scope == "running" and (
            self.objective not in ("kl_dro", "dora") or self.penalty in (None, 0.0, math.inf) or self.final == 0.0
        ):
            raise ValueError("scope 'running' is for 'kl_dro' and 'dora' with a penalty that is positive and finite")

    def _check(self, amounts: dict[str, Any]) -> None:
        if self.objective == "group_dro" and self.divergence is None:
            if amounts:
                raise ValueError(
                    f"group_dro takes {', '.join(amounts)} with a divergence only; without, the worst group"
                )
        elif self.objective in ("worst_case", "group_dro"):
            Recipe(DIVERGENCES[self.divergence or "kl"], **amounts)
        elif self.objective == "weighted" and amounts:
            raise ValueError(f"objective 'weighted' takes no amount; given: {', '.join(amounts)}")
        elif self.objective != "weighted":
            Recipe(self.objective, **amounts)

    @property
    def column(self) -> str | None:
        """The dataset's column that the objective is a function of."""
        if self.objective in ("reweighted", "dora", "target_dro"):
            return self.ratio_column
        return {"weighted": self.weight_column, "group_dro": self.group_column}.get(self.objective)

    @property
    def uniform(self) -> bool:
        """Whether this is plain training."""
        return self.objective == "erm" or (self.penalty == math.inf and self.column in (None, self.group_column))

    @property
    def linear(self) -> bool:
        """Whether the weights are known without the losses, and the scope does not matter."""
        return self.uniform or self.objective == "weighted" or (self.objective == "dora" and self.penalty == math.inf)

    @property
    def looks_ahead(self) -> bool:
        """Whether weights need the losses of a whole step before its first gradient."""
        return self.scope in ("step", "world") and not self.linear

    @property
    def carried(self) -> list[str]:
        """The dataset's columns that training may want to see: the objective's first."""
        named = (self.column, self.ratio_column, self.weight_column, self.group_column, "log_odds")
        return [name for name in dict.fromkeys(named) if name]

    @property
    def amount_name(self) -> str:
        """Which amount the objective takes: penalty, radius or level."""
        return next((name for name in AMOUNTS if getattr(self, name) is not None), "penalty")

    def amount(self, progress: float) -> float:
        """Return the penalty, radius or level in force; infinity where there is none.

        Parameters
        ----------
        progress : float
            Share of the training steps that are done, from 0 at the first to 1 at the last.
        """
        start: float | None = getattr(self, self.amount_name)
        if self.final is None or start is None:
            return math.inf if start is None else start
        way = progress if self.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return start + (self.final - start) * way

    def tilt(self, losses: Tensor, side: Tensor | None, *, progress: float = 0.0, shift: float | None = None) -> Tilt:
        """Return the weights of a scope's losses.

        Parameters
        ----------
        losses : Tensor, shape (n,)
            Held constant.
        side : Tensor, shape (n,), or None
            `column`'s values.
        progress : float
            See `amount`.
        shift : float, optional
            η of scope "running".

        Raises
        ------
        RuntimeError
            For a NaN loss or another bad value, naming the row.
        """
        amount = self.amount(progress) if self.target_ess is None else self._held(losses, side)
        if self.linear:
            weights = torch.ones_like(losses) if side is None or self.uniform else side
            return Tilt((weights * losses).mean(), weights, amount)
        if shift is not None:
            ratio = torch.ones_like(losses) if side is None else side
            growth = torch.exp((ratio * losses - shift) / amount)
            return Tilt(shift + amount * (growth.mean() - 1), ratio * growth, amount)
        result = cp.raise_on_failure(self._solve(losses, side, amount))
        return Tilt(result.value, result.weights * losses.shape[-1], amount)

    def _solve(self, losses: Tensor, side: Tensor | None, amount: float | Tensor) -> cp.Objective:
        """Apply the objective to rows of losses, with an amount for each row."""
        name = self.amount_name
        divergence = DIVERGENCES[self.divergence or "kl"]
        if self.objective == "reweighted":
            return cp.reweighted(losses, side)
        if self.objective == "kl_dro":
            return cp.kl_dro(losses, amount)
        if self.objective == "dora":
            return cp.dora(losses, side, amount)
        if self.objective == "target_dro":
            return cp.target_dro(losses, side, divergence, **{name: amount})
        if self.objective == "group_dro":
            assert side is not None
            codes = side.long()
            kwargs: dict[str, Any] = {"divergence": divergence, name: amount} if self.divergence else {}
            return cp.group_dro(losses, codes, n_groups=int(codes.max()) + 1, **kwargs)
        if self.objective == "cvar":
            solution = cp.cvar(losses, amount)
        else:
            solution = (cp.penalized if name == "penalty" else cp.constrained)(losses, divergence, amount)
        return cp.Objective(solution.value, solution.weights, solution.status)

    def _held(self, losses: Tensor, side: Tensor | None) -> float:
        """Find the least penalty that leaves ``target_ess`` of the losses effective, on grids that narrow down."""
        scaled = losses if side is None or self.objective != "dora" else side * losses
        spread, wanted = float(scaled.max() - scaled.min()) or 1.0, (self.target_ess or 1.0) * losses.shape[-1]
        low, high = math.log(spread) - 12.0, math.log(spread) + 12.0
        for _ in range(4):
            grid = torch.linspace(low, high, 17, dtype=losses.dtype, device=losses.device)
            result = cp.raise_on_failure(self._solve(losses.expand(17, -1), side, grid.exp()))
            enough = cp.effective_sample_size(result.weights) >= wanted
            first = int(enough.long().argmax()) if bool(enough.any()) else 16
            low, high = float(grid[max(first - 1, 0)]), float(grid[first])
        return math.exp(high)


class Running:
    """η of scope "running": λ log of a running mean of e^(h·l/λ), fixed within a step and the same on every rank.

    Weights exp((h·l − η)/λ) then have the exact direction of the whole step's objective; their sum is off by the factor
    e^((η* − η)/λ), η* the step's own, as if the learning rate were.

    Parameters
    ----------
    config : RobustConfig
        With scope "running".
    """

    def __init__(self, config: RobustConfig) -> None:
        self.config = config
        self._growth: list[Tensor] = []

    def __call__(
        self, losses: Tensor, side: Tensor | None, held: dict[str, float], *, steps: int, progress: float = 0.0
    ) -> float:
        """Return η for a micro-batch's losses, moved after a step's last; raise for a loss that is NaN or infinite.

        Parameters
        ----------
        losses, side, progress
            As in `RobustConfig.tilt`.
        held : dict
            Where η is kept, under "shift"; empty at first. Save it with the model.
        steps : int
            Micro-batches of a step.
        """
        penalty, memory = self.config.amount(progress), self.config.memory
        scaled = (losses if side is None else side * losses) / penalty
        bad = ~(scaled < torch.inf)
        if bool(bad.any()):
            raise RuntimeError(
                f"the loss of example {int(bad.long().argmax())} is {float(losses[bad][0])}, and η would stay so; skip "
                "such batches, or find out why"
            )
        self._growth.append(torch.logsumexp(scaled, 0) - math.log(len(scaled)))
        if "shift" not in held:
            held["shift"] = penalty * self._mean()
        shift = float(held["shift"])
        if len(self._growth) >= steps:
            both = torch.tensor([[shift / penalty, self._mean()], [memory, 1 - memory]], dtype=torch.float64)
            held["shift"] = penalty * float(torch.logsumexp(both[0] + both[1].log(), 0))
            self._growth.clear()
        return shift

    def _mean(self) -> float:
        growth = torch.stack(self._growth)
        every = gather(growth)[0] if dist.is_initialized() else growth
        return float(torch.logsumexp(every, 0)) - math.log(len(every))
