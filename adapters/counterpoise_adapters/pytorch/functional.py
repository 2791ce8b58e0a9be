"""The core's verbs with derivatives: Danskin for values, the implicit function theorem for weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import counterpoise as cp
from counterpoise import kernels
from counterpoise.kernels import Impl

from ._implicit import point, value_gradients, weights_jvp, weights_vjp


class _Problem(NamedTuple):
    """What is not a tensor: the verb by name, its divergence as (name, exponent), CVaR's smoothing, who solves."""

    verb: str
    divergence: cp.Divergence
    smoothing: float
    impl: str = "auto"

    def solve(self, losses: Tensor, prior: Tensor, amount: Tensor) -> cp.Solution:
        if self.impl != "reference" and (self.impl == "triton" or losses.is_cuda):
            if self.has_kernel():
                return self._by_kernel(losses, prior, amount)
            if self.impl == "triton":
                raise TypeError(f"{self.verb} has no kernel for {self.divergence!r}: leave impl at 'auto'")
        if self.verb == "cvar":
            return cp.cvar(losses, amount, prior=prior, smoothing=self.smoothing)
        verb = cp.penalized if self.verb == "penalized" else cp.constrained
        return verb(losses, self.divergence, amount, prior=prior)

    def has_kernel(self) -> bool:
        if self.verb == "cvar":
            return self.smoothing == 0
        if isinstance(self.divergence, cp.CressieRead):
            return self.verb == "penalized" and 1 < self.divergence.a <= 2
        return isinstance(self.divergence, cp.KL | cp.ChiSquare)

    def _by_kernel(self, losses: Tensor, prior: Tensor, amount: Tensor) -> cp.Solution:
        verb: Any = getattr(kernels, self.verb)
        structure = () if self.verb == "cvar" else (self.divergence,)
        arguments = (losses.detach(), *structure, amount.detach())
        return verb(*arguments, prior=prior.detach(), impl=self.impl)  # type: ignore[no-any-return]

    def derive(
        self, losses: Tensor, prior: Tensor, amount: Tensor, solution: cp.Solution, up: Tensor, weigh: bool
    ) -> Any:
        """Return the gradients of Σ up · weights, or of the value when ``up`` is (...,)."""
        at = point(self.verb, self.divergence, losses, prior, amount, solution)
        if weigh:
            return weights_vjp(self.verb, at, up)
        grads = value_gradients(self.verb, self.divergence, at, losses, amount, solution)
        return grads[0] * up.unsqueeze(-1), grads[1] * up.unsqueeze(-1), grads[2] * up

    def push(self, losses: Tensor, prior: Tensor, amount: Tensor, solution: cp.Solution, tangents: Any) -> Any:
        """Return the tangents of weights and value."""
        at = point(self.verb, self.divergence, losses, prior, amount, solution)
        dl, dm, da = (
            torch.zeros_like(x) if d is None else d for x, d in zip((losses, prior, amount), tangents, strict=True)
        )
        gl, gm, ga = value_gradients(self.verb, self.divergence, at, losses, amount, solution)
        finite_dl = torch.where(gl == 0, 0.0, dl)
        return weights_jvp(self.verb, at, dl, dm, da), (gl * finite_dl + gm * dm).sum(-1) + ga * da


class _Once(torch.autograd.Function):
    """Identity whose derivative raises: the implicit formula holds the solution's other parts constant."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Tensor, *_: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError("counterpoise's values and weights can be differentiated once, not twice")

    jvp = backward


def _once(gradient: Tensor, *origin: Tensor) -> Tensor:
    return _Once.apply(gradient, *origin)  # type: ignore[no-untyped-call, no-any-return]


class _Solve(torch.autograd.Function):
    """Eager route: reverse and forward mode, vmap."""

    generate_vmap_rule = True

    @staticmethod
    def forward(problem: _Problem, losses: Tensor, prior: Tensor, amount: Tensor) -> Any:
        return tuple(problem.solve(losses, prior, amount))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.problem = inputs[0]
        ctx.save_for_backward(*inputs[1:], *output)
        ctx.save_for_forward(*inputs[1:], *output)
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        losses, prior, amount, *solved = ctx.saved_tensors
        solution = cp.Solution(*solved)
        totals: list[Tensor | None] = [None, None, None]
        for up, weigh in ((grads[0], True), (grads[1], False)):
            if up is not None:
                parts = ctx.problem.derive(losses, prior, amount, solution, up, weigh)
                totals = [new if old is None else old + new for old, new in zip(totals, parts, strict=True)]
        return None, *(None if total is None else _once(total, losses, prior, amount) for total in totals)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor | None) -> Any:
        losses, prior, amount, *solved = ctx.saved_tensors
        weights, value = ctx.problem.push(losses, prior, amount, cp.Solution(*solved), tangents)
        return weights, value, *(None for _ in solved[2:])


def _encode(divergence: cp.Divergence) -> tuple[str, float]:
    if isinstance(divergence, cp.CressieRead):
        return "CressieRead", float(divergence.a)
    name = type(divergence).__name__
    if getattr(cp, name, None) is not type(divergence):
        raise TypeError(f"torch.compile takes counterpoise's own divergences; {name} is not one: call it outside")
    return name, 0.0


def _decode(verb: str, name: str, exponent: float, smoothing: float, impl: str) -> _Problem:
    divergence = cp.CressieRead(exponent) if name == "CressieRead" else getattr(cp, name)()
    return _Problem(verb, divergence, smoothing, impl)


@torch.library.custom_op("counterpoise::solve", mutates_args=())
def _solve_op(
    losses: Tensor,
    prior: Tensor,
    amount: Tensor,
    verb: str,
    divergence: str,
    exponent: float,
    smoothing: float,
    impl: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compiled route: one opaque op, so that its iterations may stop early. Forward mode is the eager route's."""
    out = _decode(verb, divergence, exponent, smoothing, impl).solve(losses, prior, amount)
    return tuple(v.clone() for v in out)


@_solve_op.register_fake
def _(losses: Tensor, prior: Tensor, amount: Tensor, *_: Any) -> Any:
    row = losses[..., 0]
    rows = [torch.empty_like(row) for _ in range(4)]
    return (torch.empty_like(losses), *rows, torch.empty_like(row, dtype=torch.int32))


@torch.library.custom_op("counterpoise::derive", mutates_args=())
def _derive_op(
    losses: Tensor, prior: Tensor, amount: Tensor, solution: list[Tensor], up: Tensor, weigh: bool,
    verb: str, divergence: str, exponent: float, smoothing: float, impl: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    problem = _decode(verb, divergence, exponent, smoothing, impl)
    grads = problem.derive(losses, prior, amount, cp.Solution(*solution), up, weigh)
    return tuple(g.clone() for g in grads)


@_derive_op.register_fake
def _(losses: Tensor, prior: Tensor, amount: Tensor, *_: Any) -> Any:
    return torch.empty_like(losses), torch.empty_like(prior), torch.empty_like(amount)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.structure = inputs[3:]
    ctx.save_for_backward(*inputs[:3], *output)


def _compiled_backward(ctx: Any, *grads: Tensor | None) -> Any:
    losses, prior, amount, *solved = ctx.saved_tensors
    totals = [torch.zeros_like(losses), torch.zeros_like(prior), torch.zeros_like(amount)]
    for up, weigh in ((grads[0], True), (grads[1], False)):
        if up is not None:
            parts = _derive_op(losses, prior, amount, solved, up, weigh, *ctx.structure)
            totals = [old + new for old, new in zip(totals, parts, strict=True)]
    return *totals, None, None, None, None, None


_solve_op.register_autograd(_compiled_backward, setup_context=_save)


def _run(problem: _Problem, losses: Tensor, amount: float | Tensor, prior: Tensor | None) -> cp.Solution:
    if not isinstance(losses, Tensor):
        raise TypeError(f"losses is a {type(losses).__name__}; counterpoise_adapters.pytorch takes torch tensors")
    if not losses.is_floating_point():
        raise TypeError(f"losses has dtype {losses.dtype}; real floating-point is needed")
    if problem.impl not in ("auto", "reference", "triton"):
        raise ValueError(f"impl is {problem.impl!r}; 'auto', 'reference' or 'triton' is needed")
    dtype = losses.dtype
    wide = losses.float() if torch.finfo(dtype).bits < 32 else losses
    prior = torch.ones_like(wide[..., :1]) if prior is None else prior.to(wide.dtype)
    shape = torch.broadcast_shapes(wide.shape, prior.shape)  # type: ignore[no-untyped-call]
    wide, prior = wide.expand(shape), prior.expand(shape)
    if isinstance(amount, Tensor):
        amount = amount.to(wide.dtype)
    else:
        amount = torch.full((), float(amount), dtype=wide.dtype, device=wide.device)
    amount = amount.expand(wide.shape[:-1])
    if torch.compiler.is_compiling():
        name, exponent = _encode(problem.divergence)
        out = _solve_op(wide, prior, amount, problem.verb, name, exponent, problem.smoothing, problem.impl)
    else:
        out = _Solve.apply(problem, wide, prior, amount)  # type: ignore[no-untyped-call]
    weights, value, multiplier, shift, gap, status = out
    return cp.Solution(weights.to(dtype), value.to(dtype), multiplier.to(dtype), shift.to(dtype), gap.to(dtype), status)


def _documented(
    core: Callable[..., cp.Solution],
) -> Callable[[Callable[..., cp.Solution]], Callable[..., cp.Solution]]:
    def decorate(function: Callable[..., cp.Solution]) -> Callable[..., cp.Solution]:
        function.__doc__ = f"""Solve `counterpoise.{core.__name__}` with derivatives of ``value`` and ``weights``.

    Parameters
    ----------
    losses, *args, prior
        As in `counterpoise.{core.__name__}`; tensors among losses, prior and the penalty, radius or level may carry
        gradients. A user's divergence needs `curvature`.
    impl : {{"auto", "reference", "triton"}}
        "auto" solves on CUDA by `counterpoise.kernels` where that has a kernel, and by the core otherwise; "reference"
        is the core, "triton" the kernel or an error.

    Returns
    -------
    Solution
        ``value`` differentiates by the envelope theorem and ``weights`` by the implicit function theorem, in reverse
        and forward mode, under ``torch.func`` and (reverse mode) ``torch.compile``. ``multiplier``, ``shift``, ``gap``
        and ``status`` are constants; differentiating twice raises. Where weights are saturated, or a CVaR is not
        smoothed, they do not move with the losses and that derivative is 0.

    Raises
    ------
    TypeError, ValueError
        As in `counterpoise.{core.__name__}`.
    """
        return function

    return decorate


@_documented(cp.penalized)
def penalized(
    losses: Tensor,
    divergence: cp.Divergence,
    penalty: float | Tensor,
    /,
    *,
    prior: Tensor | None = None,
    impl: Impl = "auto",
) -> cp.Solution:
    """See `counterpoise.penalized`."""
    return _run(_Problem("penalized", divergence, 0.0, impl), losses, penalty, prior)


@_documented(cp.constrained)
def constrained(
    losses: Tensor,
    divergence: cp.Divergence,
    radius: float | Tensor,
    /,
    *,
    prior: Tensor | None = None,
    impl: Impl = "auto",
) -> cp.Solution:
    """See `counterpoise.constrained`."""
    return _run(_Problem("constrained", divergence, 0.0, impl), losses, radius, prior)


@_documented(cp.cvar)
def cvar(
    losses: Tensor,
    level: float | Tensor,
    /,
    *,
    prior: Tensor | None = None,
    smoothing: float = 0.0,
    impl: Impl = "auto",
) -> cp.Solution:
    """See `counterpoise.cvar`."""
    return _run(_Problem("cvar", cp.KL(), float(smoothing), impl), losses, level, prior)
