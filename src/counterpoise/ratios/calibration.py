"""Class probabilities that mean what they say, before shares are estimated from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .. import _xp
from .._types import Array
from .newton import minimise
from .samples import refuse_probabilities

__all__ = ["Calibration", "calibrated", "fit_calibration"]

TOLERANCE = 1e-10


class Calibration(NamedTuple):
    """How log probabilities are corrected; see `fit_calibration`.

    Attributes
    ----------
    scale : array, shape ()
        1/T: below 1 where the classifier was too sure.
    shift : array, shape (k,)
        b, one number a class; they sum to 0.
    """

    scale: Array
    shift: Array


def fit_calibration(log_probability: Array, label: Array, /) -> Calibration:
    """Fit temperature and class biases on held-out rows: min mean −log softmax(a·log p + b)_y, Σ b = 0.

    Bias-corrected temperature scaling. It is what makes `label_shift` trustworthy after a modern classifier: one that
    is too sure makes the shares too extreme, and biases of single classes go into their shares undiluted.

    Parameters
    ----------
    log_probability : array of real floating dtype, shape (n, k)
        log p(k | x) of rows that the classifier was not fitted on, drawn as its training rows were; finite.
    label : array of integers, shape (n,)
        Their classes, 0 to k − 1; each class must occur.

    Returns
    -------
    Calibration
        For `calibrated`. A ridge of one row's worth on a − 1 and b keeps it finite where the classes are separated.

    Raises
    ------
    TypeError, ValueError
        Arrays that do not fit, infinite log probabilities, a class without rows.

    References
    ----------
    Alexandari, Kundaje and Shrikumar, "Maximum likelihood with bias-corrected calibration is hard-to-beat at label
    shift adaptation", ICML 2020.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> sure = np.log(np.repeat([[0.99, 0.01], [0.01, 0.99]], 100, axis=0))
    >>> label = np.r_[np.repeat([0, 1], [80, 20]), np.repeat([0, 1], [20, 80])]  # right in 80 %, not 99 %
    >>> np.exp(cp.calibrated(cp.fit_calibration(sure, label), sure)[0]).round(2)
    array([0.8, 0.2])
    """
    xp = _xp.namespace(log_probability=log_probability, label=label)
    values = _xp.floating(xp, "log_probability", log_probability, min_ndim=2)
    if not xp.isdtype(label.dtype, "integral"):
        raise TypeError(f"label has dtype {label.dtype}; integers, one class per row, are needed")
    if values.ndim != 2 or tuple(label.shape) != (int(values.shape[0]),) or int(values.shape[1]) < 2:
        raise ValueError(
            f"log_probability has shape {tuple(values.shape)} and label {tuple(label.shape)}; rows by two or more "
            "classes and one label per row are needed"
        )
    if not bool(xp.all(xp.isfinite(values))):
        raise ValueError("log_probability holds NaN or infinities; take it from logits, or drop such rows")
    refuse_probabilities(xp, values)
    n, k = (int(size) for size in values.shape)
    integer = _xp.integer(xp, label)  # a narrow dtype may not hold all classes
    classes = xp.arange(k, dtype=integer, device=_xp.device(values))
    truth = xp.astype(xp.astype(label, integer)[:, None] == classes[None, :], values.dtype)
    counts = xp.sum(truth, axis=0)
    if not bool(xp.all(counts > 0)) or not bool(xp.all(xp.sum(truth, axis=1) > 0)):
        raise ValueError(f"label must hold every class from 0 to {k - 1}, and no other; leave out classes without rows")
    centred = values - xp.mean(values, axis=1, keepdims=True)
    eye = xp.eye(k, dtype=values.dtype, device=_xp.device(values))

    def derivatives(theta: Array) -> tuple[Array, Array, Callable[[], Array]]:
        logits = theta[0] * centred + theta[1:][None, :]
        most = xp.max(logits, axis=1, keepdims=True)
        chance = xp.exp(logits - most)
        total = xp.sum(chance, axis=1, keepdims=True)
        chance = chance / total
        value = xp.mean(most[:, 0] + xp.log(total[:, 0]) - xp.sum(logits * truth, axis=1))
        residual = chance - truth
        mean = xp.sum(chance * centred, axis=1, keepdims=True)
        slopes = [xp.sum(residual * centred)[None] / n, xp.mean(residual, axis=0)]
        cross = xp.mean(chance * (centred - mean), axis=0)
        corner = xp.mean(xp.sum(chance * (centred - mean) ** 2, axis=1))
        block = eye * xp.mean(chance, axis=0)[:, None] - xp.matmul(xp.matrix_transpose(chance), chance) / n
        top = xp.concat([corner[None], cross], axis=0)[None, :]
        rest = xp.concat([cross[:, None], block], axis=1)
        off = theta - first
        ridge = xp.eye(k + 1, dtype=values.dtype, device=_xp.device(values)) / n
        gradient = xp.concat(slopes, axis=0) + off / n
        hessian = xp.concat([top, rest], axis=0) + ridge
        return value + xp.sum(off * off) / (2 * n), gradient, lambda: hessian

    first = xp.concat([xp.ones_like(counts[:1]), xp.zeros_like(counts)], axis=0)
    least = minimise(xp, derivatives, first, tolerance=max(TOLERANCE, float(xp.finfo(values.dtype).eps)))
    theta = xp.astype(least.point, log_probability.dtype)
    return Calibration(theta[0], theta[1:])


def calibrated(calibration: Calibration, log_probability: Array, /) -> Array:
    """Correct log probabilities: log softmax(a·log p + b).

    Parameters
    ----------
    calibration : Calibration
        From `fit_calibration`.
    log_probability : array of real floating dtype, shape (n, k)
        log p(k | x) by the same classifier.

    Returns
    -------
    array, shape (n, k)
        Its exponentials sum to 1 in every row; NaN in a row with NaN.

    Raises
    ------
    TypeError, ValueError
        Arrays that are no floats or have other classes.

    Examples
    --------
    >>> import numpy as np, counterpoise as cp
    >>> same = cp.Calibration(np.asarray(1.0), np.zeros(2))
    >>> np.exp(cp.calibrated(same, np.log(np.array([[0.25, 0.75]]))))
    array([[0.25, 0.75]])
    """
    xp = _xp.namespace(log_probability=log_probability, calibration=calibration.shift)
    values = _xp.floating(xp, "log_probability", log_probability, min_ndim=2)
    k = int(calibration.shift.shape[0])
    if int(values.shape[-1]) != k:
        raise ValueError(f"log_probability has {values.shape[-1]} classes, but the calibration was fitted to {k}")
    logits = xp.astype(calibration.scale, values.dtype) * values + xp.astype(calibration.shift, values.dtype)
    most = xp.max(logits, axis=-1, keepdims=True)
    most = xp.where(most > -math.inf, most, xp.zeros_like(most))
    total = xp.log(xp.sum(xp.exp(logits - most), axis=-1, keepdims=True))
    return xp.astype(logits - most - total, log_probability.dtype)
