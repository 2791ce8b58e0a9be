"""Every peer that installs, as a function from (task, one row of losses, amount, prior) to weights.

A peer that cannot state a problem returns None: another divergence, a prior, a penalty.
"""

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from problems import Task

import counterpoise as cp

Floats = NDArray[np.float64]
Peer = Callable[[Task, Floats, float, Floats | None], Floats | None]


def cvxpy_clarabel(task: Task, losses: Floats, amount: float, prior: Floats | None) -> Floats | None:
    """Interior point, default tolerances, compiled anew for every problem as the modelling language does."""
    import cvxpy

    n = len(losses)
    p = np.full(n, 1 / n) if prior is None else prior / prior.sum()
    q = cvxpy.Variable(n, nonneg=True)
    spent = {
        cp.KL(): lambda: cvxpy.sum(cvxpy.kl_div(q, p)),
        cp.ChiSquare(): lambda: cvxpy.sum(cvxpy.multiply(1 / p, cvxpy.square(q - p))),
        None: lambda: 0.0,
    }[task.divergence]()
    objective, constraints = q @ losses, [cvxpy.sum(q) == 1]
    if task.verb == "penalized":
        objective = objective - amount * spent
    elif task.verb == "constrained":
        constraints.append(spent <= amount)
    else:
        constraints.append(q <= p / amount)
    cvxpy.Problem(cvxpy.Maximize(objective), constraints).solve(solver=cvxpy.CLARABEL)
    return q.value


def scipy_brentq(task: Task, losses: Floats, amount: float, prior: Floats | None) -> Floats | None:
    """Solve as a careful user would: one dual root by `scipy.optimize.brentq`, the maximum subtracted."""
    from scipy.optimize import brentq

    n = len(losses)
    p = np.full(n, 1 / n) if prior is None else prior / prior.sum()
    x = losses - losses.max()

    def tilted(log_penalty: float) -> Floats:
        w = p * np.exp(x / np.exp(log_penalty))
        return w / w.sum()

    def shifted(eta: float) -> Floats:
        return p * np.maximum(x - eta, 0.0)

    if task.name == "KL penalty":
        return tilted(float(np.log(amount)))
    if task.name == "KL radius":

        def short(log_penalty: float) -> float:
            q = tilted(log_penalty)
            return float(np.sum(q * np.log(np.where(q > 0, q / p, 1.0)))) - amount

        return tilted(brentq(short, -40.0, 40.0, xtol=1e-12))
    if task.name == "χ² penalty":
        eta = brentq(lambda e: shifted(e).sum() - 2 * amount, x.min() - 2 * amount - 1, 0.0, xtol=1e-12)
        return shifted(eta) / (2 * amount)
    if task.name == "χ² radius":

        def over(eta: float) -> float:
            q = shifted(eta)
            q = q / q.sum()
            return float(np.sum((q - p) ** 2 / p)) - amount

        eta = brentq(over, 1e6 * (x.min() - 1), -1e-12, xtol=1e-12)
        return shifted(eta) / shifted(eta).sum()
    return None


def entmax_sparsemax(task: Task, losses: Floats, amount: float, prior: Floats | None) -> Floats | None:
    """`entmax.sparsemax`, sort-based: the χ² penalty under a uniform prior."""
    import entmax
    import torch

    if task.name != "χ² penalty" or prior is not None:
        return None
    return entmax.sparsemax(torch.from_numpy(losses / (2 * amount * len(losses))), dim=-1).numpy()


def sqwash_value(task: Task, losses: Floats, amount: float, prior: Floats | None) -> Floats | None:
    """`sqwash.reduce_superquantile`: the CVaR's value; its weights are the value's gradient."""
    import torch
    from sqwash import reduce_superquantile

    if task.verb != "cvar" or prior is not None:
        return None
    batch = torch.from_numpy(losses).clone().requires_grad_()
    reduce_superquantile(batch, superquantile_tail_fraction=amount).backward()
    return batch.grad.numpy()


def _levy(module: types.ModuleType, *, validated: bool, tol: float) -> Peer:
    """Both libraries with the losses of Levy et al. (2020): half of χ², a uniform prior, bisection to ``tol``."""
    import torch

    def solve(task: Task, losses: Floats, amount: float, prior: Floats | None) -> Floats | None:
        if prior is not None or task.divergence == cp.KL() or (validated and task.verb == "penalized"):
            return None
        geometry = "cvar" if task.verb == "cvar" else "chi-square"
        size = amount if task.verb == "cvar" else amount / 2 if task.verb == "constrained" else float("inf")
        reg = 2 * amount if task.verb == "penalized" else 0.0
        if validated:
            loss = module.RobustLoss(size=size, reg=reg, geometry=geometry, tol=tol, is_regression=True)
            return loss._compute_optimal_weights(torch.from_numpy(losses)).numpy()
        return module.RobustLoss(size, reg, geometry, tol=tol).best_response(torch.from_numpy(losses)).numpy()

    return solve


def _load(path: Path, **stand_ins: types.ModuleType) -> types.ModuleType:
    """Import one file of a peer without the rest of it, which needs ImageNet loaders and model zoos."""
    spec = importlib.util.spec_from_file_location(f"peer_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        spec.loader.exec_module(module)
    finally:
        for name, old in before.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old
    return module


def available(fast_dro: Path | None) -> tuple[dict[str, Peer], dict[str, str]]:
    """Return the peers that are there, and why the others are not."""
    found: dict[str, Peer] = {}
    absent: dict[str, str] = {"deshift": "not on the package index"}
    for name, package, peer in (
        ("cvxpy, CLARABEL", "cvxpy", cvxpy_clarabel),
        ("scipy brentq", "scipy", scipy_brentq),
        ("entmax", "entmax", entmax_sparsemax),
        ("sqwash", "sqwash", sqwash_value),
    ):
        if importlib.util.find_spec(package) is None:
            absent[name] = f"pip install {package}"
        else:
            found[name] = peer
    spec = importlib.util.find_spec("dro")
    if spec is None or spec.origin is None:
        absent["dro"] = "pip install --no-deps dro"
    else:
        module = _load(Path(spec.origin).parent / "neural_model" / "fdro_utils.py")
        for tol, note in ((1e-2, "default"), (1e-10, "tol 1e-10")):
            found[f"dro, {note}"] = _levy(module, validated=True, tol=tol)
    if fast_dro is None:
        absent["fast-dro"] = "not on the package index: git clone daniellevy/fast-dro and pass --fast-dro FOLDER"
    else:
        nothing = types.ModuleType("nothing")
        for name in ("project_to_cs_ball", "project_to_cvar_ball", "CustomDistributionSampler"):
            setattr(nothing, name, None)
        module = _load(fast_dro / "robust_losses.py", utils=nothing, datasets=nothing)
        for tol, note in ((1e-4, "default"), (1e-10, "tol 1e-10")):
            found[f"fast-dro, {note}"] = _levy(module, validated=False, tol=tol)
    return found, absent
