"""counterpoise for PyTorch: a robust loss module, differentiable weights, sharded losses."""

from counterpoise._extras import extra

with extra("torch", __name__):
    from .distributed import all_reduce_over, gathered, reduced
    from .functional import constrained, cvar, penalized
    from .loss import RobustLoss, robust_loss
    from .recipe import Recipe

__all__ = [
    "Recipe",
    "RobustLoss",
    "all_reduce_over",
    "constrained",
    "cvar",
    "gathered",
    "penalized",
    "reduced",
    "robust_loss",
]
