"""Which objective, with which amounts: checked once, then applied to any losses."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from torch import Tensor

import counterpoise as cp

PRESETS = ("erm", "reweighted", "kl_dro", "dora", "target_dro", "cvar")
_WITH_RATIO = {"reweighted", "dora", "target_dro"}


@dataclass(frozen=True)
class Recipe:
    """A training objective by name, or the worst case in a divergence around the prior.

    Parameters
    ----------
    objective : str or Divergence
        One of "erm", "reweighted", "kl_dro", "dora", "target_dro", "cvar" (see the functions of these names in
        `counterpoise`), or a divergence for its worst case around the prior.
    penalty, radius : float, optional
        λ ≥ 0 in units of the losses (of ratio times losses for "dora"), or ρ ≥ 0 in units of the divergence. "kl_dro"
        and "dora" need a penalty, "target_dro" and a divergence exactly one of the two.
    level : float, optional
        Level in (0, 1] of "cvar".
    divergence : Divergence, optional
        Of "target_dro"; KL by default.

    Raises
    ------
    ValueError, TypeError
        For an unknown objective, and for an amount that the objective needs or cannot use.

    Examples
    --------
    >>> import torch
    >>> Recipe("kl_dro", penalty=1.0)(torch.tensor([0.0, 1.0])).weights
    tensor([0.2689, 0.7311])
    """

    objective: str | cp.Divergence = "dora"
    penalty: float | None = None
    radius: float | None = None
    level: float | None = None
    divergence: cp.Divergence | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.objective, cp.Divergence) and self.objective not in PRESETS:
            raise ValueError(
                f"objective is {self.objective!r}; it is one of {', '.join(PRESETS)}, or a divergence like KL()"
            )
        if self.divergence is not None and self.objective != "target_dro":
            raise ValueError("divergence belongs to objective='target_dro'; otherwise pass it as the objective itself")
        given = {name for name in ("penalty", "radius", "level") if getattr(self, name) is not None}
        for name in given:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not float(value) >= 0:
                raise ValueError(f"{name} is {value!r}; a float >= 0 is needed")
        if self.level is not None and not 0 < self.level <= 1:
            raise ValueError(f"level is {self.level!r}; it lies in (0, 1]")
        allowed = self._amounts()
        if given not in allowed:
            wanted = " or ".join(", ".join(sorted(a)) if a else "no amount" for a in allowed)
            raise ValueError(
                f"objective {self.objective!r} takes {wanted}; given: {', '.join(sorted(given)) or 'none'}"
            )

    def _amounts(self) -> list[set[str]]:
        if self.objective in {"erm", "reweighted"}:
            return [set()]
        if self.objective in {"kl_dro", "dora"}:
            return [{"penalty"}]
        if self.objective == "cvar":
            return [{"level"}]
        return [{"penalty"}, {"radius"}]

    @property
    def needs_ratio(self) -> bool:
        """Whether the objective is a function of the ratio."""
        return self.objective in _WITH_RATIO

    @property
    def tilts(self) -> bool:
        """Whether the weights depend on the losses: a tilt over a single example is the identity."""
        return self.objective not in {"erm", "reweighted"} and self.penalty != float("inf")

    def __call__(self, losses: Tensor, ratio: Tensor | None = None, *, prior: Tensor | None = None) -> cp.Objective:
        """Return the objective of the losses; failures raise.

        Parameters
        ----------
        losses : Tensor, shape (..., n)
            Held constant: gradients go through the returned weights (Danskin).
        ratio : Tensor, shape broadcastable to the losses', optional
            dTarget/dTrain; needed by "reweighted", "dora" and "target_dro", refused by the others.
        prior : Tensor, shape broadcastable to the losses', optional
            Non-negative masses; zero masks.
        """
        if (ratio is not None) != self.needs_ratio:
            have, word = ("no ratio was", "needs one") if ratio is None else ("a ratio was", "does not use it")
            raise ValueError(f"{have} given, and objective {self.objective!r} {word}")
        return cp.raise_on_failure(self._evaluate(losses, ratio, prior))

    def _evaluate(self, losses: Tensor, ratio: Tensor | None, prior: Tensor | None) -> cp.Objective:
        if self.objective == "erm":
            return cp.erm(losses, prior=prior)
        if self.objective == "reweighted":
            return cp.reweighted(losses, ratio, prior=prior)
        if self.objective == "kl_dro":
            return cp.kl_dro(losses, self._amount("penalty"), prior=prior)
        if self.objective == "dora":
            return cp.dora(losses, ratio, self._amount("penalty"), prior=prior)
        if self.objective == "target_dro":
            return cp.target_dro(
                losses,
                ratio,
                self.divergence or cp.KL(),
                penalty=self.penalty,
                radius=self.radius,
                prior=prior,
            )
        if isinstance(self.objective, cp.Divergence):
            if self.penalty is not None:
                solution = cp.penalized(losses, self.objective, self.penalty, prior=prior)
            else:
                solution = cp.constrained(losses, self.objective, self._amount("radius"), prior=prior)
        else:
            solution = cp.cvar(losses, self._amount("level"), prior=prior)
        return cp.Objective(solution.value, solution.weights, solution.status)

    def _amount(self, name: str) -> float:
        value = getattr(self, name)
        assert value is not None, name  # __post_init__ has seen to it
        return float(value)
