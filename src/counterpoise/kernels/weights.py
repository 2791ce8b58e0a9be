"""The core's verbs for the families that have a kernel."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

import counterpoise as cp

from ._calls import solution_of

Impl = Literal["auto", "reference", "triton"]

_PENALTIES: dict[type, str] = {
    cp.KL: "kl_penalty", cp.ChiSquare: "chi_square_penalty", cp.CressieRead: "power_penalty",
}  # fmt: skip
_BALLS: dict[type, str] = {cp.KL: "kl_ball", cp.ChiSquare: "chi_square_ball"}


def penalized(
    losses: Tensor,
    divergence: cp.KL | cp.ChiSquare | cp.CressieRead,
    penalty: float | Tensor,
    /,
    *,
    prior: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> cp.Solution:
    """Solve max over q of ⟨q, l⟩ − λ D(q‖p), row by row, q a distribution absolutely continuous with respect to p.

    Parameters
    ----------
    losses : tensor of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask; half precision is accumulated in float32.
    divergence : KL, ChiSquare or CressieRead(a) with 1 < a <= 2
        D.
    penalty : float or tensor of shape (...,)
        λ ≥ 0, in units of the losses, a number per row or one for all.
    prior : tensor, shape broadcastable to the losses', optional
        Non-negative masses of any scale; uniform by default.
    mask : bool tensor, shape broadcastable to the losses', optional
        True where an atom counts; the others may hold anything.
    lengths : int32 or int64 tensor of shape (...,), optional
        Atoms from this index on do not count.
    out_dtype : torch.dtype, optional
        Of the weights; the losses' by default. Float32 is the better choice for half precision in.
    impl : {"auto", "reference", "triton"}
        The Triton kernel for CUDA tensors below float64, the reference for all others; or one of the two.

    Returns
    -------
    Solution
        As in `counterpoise.penalized`; ``weights`` in ``out_dtype``, the other numbers in the losses' dtype, in float32
        for half precision. ``value`` and ``weights`` carry derivatives in the losses, once, in reverse and forward
        mode; ``multiplier``, ``shift``, ``gap`` and ``status`` are constants.

    Raises
    ------
    TypeError, ValueError
        Wrong dtypes, shapes, devices, a divergence without a kernel, a prior or penalty that requires grad (see
        `counterpoise_adapters.pytorch`). Wrong *values* set ``status`` and make the row NaN.

    Examples
    --------
    >>> import torch, counterpoise as cp
    >>> from counterpoise import kernels
    >>> losses = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 9.0]], dtype=torch.float64)
    >>> kernels.penalized(losses, cp.KL(), 1.0, lengths=torch.tensor([3, 2])).weights.numpy().round(6)
    array([[0.090031, 0.244728, 0.665241],
           [0.268941, 0.731059, 0.      ]])
    """
    name = _PENALTIES.get(type(divergence))
    exponent = divergence.a if isinstance(divergence, cp.CressieRead) else 2.0
    if name is None or not 1 < exponent <= 2:
        raise TypeError(
            f"the divergence is {divergence!r}; KL(), ChiSquare() or CressieRead(a) with 1 < a <= 2 is needed: "
            "use counterpoise.penalized for others"
        )
    options = (prior, mask, lengths, out_dtype, impl)
    return solution_of(losses, name, options, amount=("penalty", penalty), exponent=exponent)


def constrained(
    losses: Tensor,
    divergence: cp.KL | cp.ChiSquare,
    radius: float | Tensor,
    /,
    *,
    prior: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> cp.Solution:
    """Solve max over q of ⟨q, l⟩ subject to D(q‖p) ≤ ρ, row by row, q absolutely continuous with respect to p.

    Parameters
    ----------
    losses : tensor of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask.
    divergence : KL or ChiSquare
        D.
    radius : float or tensor of shape (...,)
        ρ ≥ 0, in units of the divergence, a number per row or one for all.
    prior, mask, lengths, out_dtype, impl
        As in `penalized`.

    Returns
    -------
    Solution
        As in `counterpoise.constrained`; otherwise as in `penalized`.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`.

    Examples
    --------
    >>> import torch, counterpoise as cp
    >>> from counterpoise import kernels
    >>> losses = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    >>> kernels.constrained(losses, cp.KL(), 0.1).weights.numpy().round(6)
    array([0.169735, 0.300006, 0.530259])
    """
    name = _BALLS.get(type(divergence))
    if name is None:
        raise TypeError(
            f"the divergence is {divergence!r}; KL() or ChiSquare() is needed: use counterpoise.constrained for others"
        )
    options = (prior, mask, lengths, out_dtype, impl)
    return solution_of(losses, name, options, amount=("radius", radius))


def cvar(
    losses: Tensor,
    level: float | Tensor,
    /,
    *,
    prior: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> cp.Solution:
    """Solve max over q of ⟨q, l⟩ subject to q ≤ p/α, row by row: the mean of the worst α of the mass.

    Parameters
    ----------
    losses : tensor of real floating dtype, shape (..., n)
        l. A loss of -inf is a mask.
    level : float or tensor of shape (...,)
        α in (0, 1], a number per row or one for all.
    prior, mask, lengths, out_dtype, impl
        As in `penalized`.

    Returns
    -------
    Solution
        As in `counterpoise.cvar` without smoothing: the weights are piecewise constant, and their derivative is 0.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`.

    Examples
    --------
    >>> import torch
    >>> from counterpoise import kernels
    >>> solution = kernels.cvar(torch.tensor([0.0, 1.0, 2.0, 3.0]), 0.375)
    >>> solution.weights.numpy().round(6), float(solution.shift)
    (array([0.      , 0.      , 0.333333, 0.666667], dtype=float32), 2.0)
    """
    options = (prior, mask, lengths, out_dtype, impl)
    return solution_of(losses, "cvar", options, amount=("level", level))
