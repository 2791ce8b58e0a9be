"""Sparse probabilities from scores."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from ._calls import weights_of
from .weights import Impl


def entmax(
    scores: Tensor,
    /,
    *,
    alpha: float = 1.5,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Solve max over q of ⟨q, z⟩ − Σ (q^α − q)/(α(α − 1)) subject to q ≥ 0, Σ q = 1, row by row.

    It is `penalized` for the Cressie-Read divergence of exponent α from the uniform prior, at the penalty that makes
    both agree: n^{1−α}.

    Parameters
    ----------
    scores : tensor of real floating dtype, shape (..., n)
        z. A score of -inf is a mask.
    alpha : float
        α in (1, 2]: 2 is sparsemax, towards 1 it becomes softmax.
    mask, lengths, out_dtype, impl
        As in `penalized`.

    Returns
    -------
    tensor, shape (..., n)
        ((α − 1)z − τ)₊^{1/(α − 1)}, τ such that they sum to 1; with a derivative in the scores.

    Raises
    ------
    TypeError, ValueError
        As in `penalized`, or α outside (1, 2]; rows with NaN are NaN, rows without a live atom 0.

    Notes
    -----
    Peters, Niculae and Martins, "Sparse sequence-to-sequence models", ACL 2019.

    Examples
    --------
    >>> import torch
    >>> from counterpoise import kernels
    >>> kernels.entmax(torch.tensor([0.5, 0.9, -2.0]))
    tensor([0.3601, 0.6399, 0.0000])
    """
    real = type(alpha) is float or (isinstance(alpha, Real) and not isinstance(alpha, bool))  # abstract ones take long
    if not real or not 1 < alpha <= 2:
        raise ValueError(f"alpha is {alpha!r}; a float in (1, 2] is needed (torch.softmax is its limit at 1)")
    options = (None, mask, lengths, out_dtype, impl)
    return weights_of("scores", scores, "entmax", options, exponent=float(alpha))
