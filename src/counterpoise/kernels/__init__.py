"""Batched weights as torch operations: Triton kernels on CUDA devices, the core's own solvers elsewhere.

It needs torch; `import counterpoise` does not import it. Triton is imported when the first CUDA tensor arrives.
"""

from .._extras import extra

with extra("torch", __name__):
    from .entmax import entmax
    from .projection import project_ball, project_capped_simplex, project_simplex
    from .weights import Impl, constrained, cvar, penalized

__all__ = [
    "Impl",
    "constrained",
    "cvar",
    "entmax",
    "penalized",
    "project_ball",
    "project_capped_simplex",
    "project_simplex",
]
