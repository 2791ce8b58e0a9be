"""Euclidean projections onto weights."""

from __future__ import annotations

import torch
from torch import Tensor

from ._calls import weights_of
from .weights import Impl


def project_simplex(
    values: Tensor,
    /,
    *,
    prior: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Solve min over w of Σ (w − v)²/p subject to w ≥ 0, Σ w = 1, row by row: sparsemax, in the metric of the prior.

    Parameters
    ----------
    values : tensor of real floating dtype, shape (..., n)
        v. A value of -inf is a mask.
    prior, mask, lengths, out_dtype, impl
        As in `penalized`.

    Returns
    -------
    tensor, shape (..., n)
        As in `counterpoise.project_simplex`, with a derivative in the values.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`; rows with wrong values are NaN.

    Notes
    -----
    The Triton kernels of the three projections divide by the prior: where it spans decades they lose as many digits,
    which ``impl="reference"`` does not unless there are caps; float64 has digits to spare.

    Examples
    --------
    >>> import torch
    >>> from counterpoise import kernels
    >>> kernels.project_simplex(torch.tensor([0.5, 0.9, -2.0]))
    tensor([0.3000, 0.7000, 0.0000])
    """
    return weights_of("values", values, "project_simplex", (prior, mask, lengths, out_dtype, impl))


def project_ball(
    values: Tensor,
    radius: float | Tensor,
    /,
    *,
    prior: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Solve min over w of Σ (w − v)²/p subject to w ≥ 0, Σ w = 1, χ²(w‖p) ≤ ρ, row by row.

    Parameters
    ----------
    values : tensor of real floating dtype, shape (..., n)
        v. A value of -inf is a mask.
    radius : float or tensor of shape (...,)
        ρ ≥ 0, a number per row or one for all.
    prior, mask, lengths, out_dtype, impl
        As in `penalized`.

    Returns
    -------
    tensor, shape (..., n)
        As in `counterpoise.project_ball` for χ², with a derivative in the values.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`; rows with wrong values are NaN.

    Examples
    --------
    >>> import torch
    >>> from counterpoise import kernels
    >>> kernels.project_ball(torch.tensor([0.5, 0.9, -2.0]), 0.5)
    tensor([0.4619, 0.5354, 0.0027])
    """
    options = (prior, mask, lengths, out_dtype, impl)
    return weights_of("values", values, "project_ball", options, amount=("radius", radius))


def project_capped_simplex(
    values: Tensor,
    /,
    *,
    cap: float | Tensor,
    prior: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Solve min over w of Σ (w − v)²/p subject to 0 ≤ w ≤ c, Σ w = 1, row by row.

    Parameters
    ----------
    values : tensor of real floating dtype, shape (..., n)
        v. A value of -inf is a mask.
    cap : float or tensor, shape broadcastable to the values'
        c ≥ 0, the largest weight of each atom; infinity leaves it free.
    prior, mask, lengths, out_dtype, impl
        As in `penalized`.

    Returns
    -------
    tensor, shape (..., n)
        As in `counterpoise.project_capped_simplex`, with a derivative in the values; NaN where the caps sum to less
        than 1.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`; rows with wrong values are NaN.

    Examples
    --------
    >>> import torch
    >>> from counterpoise import kernels
    >>> kernels.project_capped_simplex(torch.tensor([0.5, 0.9, -2.0]), cap=0.6)
    tensor([0.4000, 0.6000, 0.0000])
    """
    options = (prior, mask, lengths, out_dtype, impl)
    return weights_of("values", values, "project_capped_simplex", options, cap=cap)
