"""A linear policy under a tilted objective, by Newton's method: milliseconds a fit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tilt", "fit_linear", "log_loss"]

Floats = NDArray[np.float64]
STEPS = 60
HALVINGS = 30


class Tilt(NamedTuple):
    """What is minimised over the rows: λ log Σ p e^{h l/λ}, and Σ p h l where λ is infinite.

    Attributes
    ----------
    prior : array, shape (n,)
        p ≥ 0, summing to 1. Rows without mass play no part.
    scale : array, shape (n,)
        h ≥ 0.
    penalty : float
        λ > 0, in units of h·l.
    """

    prior: Floats
    scale: Floats
    penalty: float


def log_loss(margins: Floats) -> Floats:
    """−log σ(margin), in nats: what a pair costs whose preferred response scores so much higher.

    Parameters
    ----------
    margins : array
        Of any shape.

    Examples
    --------
    >>> log_loss(np.array([0.0, 1.0, -1.0])).round(3)
    array([0.693, 0.313, 1.313])
    """
    return np.asarray(np.logaddexp(0.0, -margins))


def fit_linear(x: Floats, tilt: Tilt, *, l2: float, start: Floats | None = None) -> Floats:
    """Minimise λ log Σ p e^{h l/λ} + l2/2 ‖θ‖² over θ, where l = −log σ(xθ).

    Parameters
    ----------
    x : array, shape (n, d)
        Differences of features, preferred less other; or features times the label ±1.
    tilt : Tilt
        Prior, scale and penalty.
    l2 : float
        > 0: the problem is strongly convex.
    start : array, shape (d,), optional
        Where to start; the minimiser does not depend on it.

    Returns
    -------
    array, shape (d,)
        θ, at which Newton's decrement is below 10⁻⁹ of the objective's units.

    Raises
    ------
    RuntimeError
        If Newton's method stops short of that.

    Examples
    --------
    >>> x = np.array([[1.0], [1.0], [-1.0]])
    >>> tilt = Tilt(np.full(3, 1 / 3), np.ones(3), np.inf)
    >>> fit_linear(x, tilt, l2=1e-9).round(4)  # two wins of three: log-odds log 2
    array([0.6931])
    """
    kept = (tilt.prior > 0.0) & (tilt.scale > 0.0)
    massless = float(tilt.prior[~kept].sum())  # rows of h = 0 stay in the logarithm
    x, prior, scale = x[kept], tilt.prior[kept], tilt.scale[kept]
    theta = np.zeros(x.shape[1]) if start is None else start
    value, gradient, hessian = _derivatives(x, prior, scale, massless, tilt.penalty, l2, theta)
    for _ in range(STEPS):
        direction = np.linalg.solve(hessian, gradient)
        above = float(gradient @ direction)
        if above < 1e-9:
            return theta
        share = 1.0
        for _ in range(HALVINGS):
            new = theta - share * direction
            found = _value(x, prior, scale, massless, tilt.penalty, l2, new)
            if found <= value - 1e-4 * share * above + 1e-12 * abs(value):
                break
            share /= 2.0
        theta = new
        value, gradient, hessian = _derivatives(x, prior, scale, massless, tilt.penalty, l2, theta)
    raise RuntimeError(f"the policy did not converge (Newton decrement {above:.1e})")


def _value(x: Floats, prior: Floats, scale: Floats, massless: float, penalty: float, l2: float, theta: Floats) -> float:
    scaled = scale * log_loss(x @ theta)
    ridge = 0.5 * l2 * float(theta @ theta)
    if np.isinf(penalty):
        return float(prior @ scaled) + ridge
    top = float(scaled.max())
    mass = float(prior @ np.exp((scaled - top) / penalty)) + massless * float(np.exp(-top / penalty))
    return top + penalty * float(np.log(mass)) + ridge


def _derivatives(
    x: Floats, prior: Floats, scale: Floats, massless: float, penalty: float, l2: float, theta: Floats
) -> tuple[float, Floats, Floats]:
    margins = x @ theta
    losses = log_loss(margins)
    wrong = np.exp(-np.logaddexp(0.0, margins))  # 1 − σ: minus the slope of the loss
    scaled = scale * losses
    value, tilted = float(prior @ scaled), prior
    bend = scale * wrong * (1.0 - wrong)
    if not np.isinf(penalty):
        top = float(scaled.max())
        tilted = prior * np.exp((scaled - top) / penalty)
        mass = float(tilted.sum()) + massless * float(np.exp(-top / penalty))
        value, tilted = top + penalty * float(np.log(mass)), tilted / mass
        bend = bend + (scale * wrong) ** 2 / penalty
    slope = -x.T @ (tilted * scale * wrong)
    hessian = (x.T * (tilted * bend)) @ x
    if not np.isinf(penalty):
        hessian -= np.outer(slope, slope) / penalty
    hessian[np.diag_indices_from(hessian)] += l2
    return value + 0.5 * l2 * float(theta @ theta), slope + l2 * theta, hessian
