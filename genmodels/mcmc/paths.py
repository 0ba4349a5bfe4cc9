r"""Paths of unnormalized densities ``f_b`` that lead from ``f_0`` at b = 0 to ``f_1`` at b = 1.

``f_0`` can be sampled exactly and its normalizer ``Z_0`` is known; ``Z_1`` is what annealing estimates. On a geometric
path (Neal 2001, arXiv:physics/9803008) with inverse temperature b,

.. math:: \log f_b(x) = (1 - b) \log f_0(x) + b \log f_1(x) = \log f_0(x) + b \log g(x), \qquad g = f_1 / f_0.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure

S = TypeVar("S")
LogDensity = Callable[[S], Tensor]
"""From the state of N chains to ``[N]`` in nats, where entry n is a function of chain n alone."""


class Path(ABC, Generic[S]):
    """Unnormalized densities or masses ``f_b`` of the states of N chains that run side by side.

    A state is whatever a transition kernel moves: a tensor of any type ``[N, ...]`` on any device, or a tuple of
    tensors that also carries what need not be computed again.
    """

    @abstractmethod
    def log_f(self, state: S, beta: float) -> Tensor:
        """``log f_b [N]`` in nats at inverse temperature ``beta`` in [0, 1]."""

    def log_ratio(self, state: S, before: float, after: float) -> Tensor:
        """``log f_after - log f_before [N]`` in nats, float64, at the same state."""
        return self.log_f(state, after).double() - self.log_f(state, before).double()


class GeometricPath(Path[S]):
    """The geometric path between two log-densities of states of any kind, such as binary vectors.

    Args:
        log_f0: log-density at the start, finite wherever chains can go.
        log_f1: log-density at the end, finite wherever chains can go.
    """

    def __init__(self, log_f0: LogDensity[S], log_f1: LogDensity[S]) -> None:
        self.log_f0 = log_f0
        self.log_f1 = log_f1

    @override
    def log_f(self, state: S, beta: float) -> Tensor:
        return (1 - beta) * self.log_f0(state) + beta * self.log_f1(state)

    @override
    def log_ratio(self, state: S, before: float, after: float) -> Tensor:
        return (after - before) * (self.log_f1(state) - self.log_f0(state)).double()


class State(NamedTuple):
    """Positions of N chains with all that a gradient-based transition needs there, whatever its inverse temperature.

    Attributes:
        x: positions ``[N, d]``.
        log_f0: summands ``[N, d]`` of ``log f_0``, in nats.
        log_f0_gradient: gradient of ``log f_0`` in x, ``[N, d]``.
        log_g: ``log f_1/f_0 [N]`` in nats.
        log_g_gradient: its gradient in x, ``[N, d]``.
    """

    x: Tensor
    log_f0: Tensor
    log_f0_gradient: Tensor
    log_g: Tensor
    log_g_gradient: Tensor


def select(accept: Tensor, new: State, old: State) -> State:
    """For each chain the new state where ``accept [N]`` holds, and the old state elsewhere."""
    columns = accept[:, None]
    return State(*(torch.where(columns if a.dim() > 1 else accept, a, b) for a, b in zip(new, old, strict=True)))


Base = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From ``x [N, d]`` to summands ``[N, d]``, whose sum over dimensions is ``log f_0``, and its gradient ``[N, d]``."""


def standard_normal(x: Tensor) -> tuple[Tensor, Tensor]:
    """The unnormalized density of N(0, I) as a :data:`Base`, with ``log Z_0 = d/2 log 2π``."""
    return -0.5 * x.square(), -x


def differentiated(log_f0: LogDensity[Tensor]) -> Base:
    """The :data:`Base` whose gradient autograd takes of ``log_f0: x [N, d] -> [N, d]``, summands of ``log f_0``.

    Where the dimensions are independent, summand i is the log-density of dimension i.
    """

    def base(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            summands = log_f0(x)
            ensure(summands.shape == x.shape, f"log_f0 must return [N, d] = {[*x.shape]}, got {[*summands.shape]}.")
            (gradient,) = torch.autograd.grad(summands.sum(), x)
        return summands.detach(), gradient

    return base


class DifferentiablePath(Path[State]):
    """The geometric path on ``R^d`` whose states carry values and gradients of ``log f_0`` and ``log g``.

    Both are evaluated once per position. No evaluation is repeated when only the inverse temperature changes, since
    ``log f_b`` and its gradient are linear in b.

    With the default ``f_0`` and ``log_g(z) = log p(x|z)`` the path leads from the prior N(0, I) of a latent variable
    to its posterior, and ``Z_1 / Z_0 = p(x)``. Between two densities, ``log_g(x) = log f_1(x) - log f_0(x)``.

    Args:
        log_g: ``x [N, d] -> log f_1/f_0 [N]``, differentiable.
        base: values and gradient of ``log f_0``, see :func:`differentiated` for one by autograd.
    """

    def __init__(self, log_g: LogDensity[Tensor], base: Base = standard_normal) -> None:
        self.log_g = log_g
        self.base = base

    def state(self, x: Tensor) -> State:
        """State at ``x [N, d]``: one pass forward and one backward, also under ``torch.no_grad``; it keeps no graph."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            log_g = self.log_g(x)
            (log_g_gradient,) = torch.autograd.grad(log_g.sum(), x)
        x = x.detach()
        return State(x, *self.base(x), log_g.detach(), log_g_gradient)

    @override
    def log_f(self, state: State, beta: float) -> Tensor:
        return state.log_f0.sum(1) + beta * state.log_g

    @override
    def log_ratio(self, state: State, before: float, after: float) -> Tensor:
        return (after - before) * state.log_g.double()

    def gradient(self, state: State, beta: float) -> Tensor:
        """Gradient of ``log f_b`` in x, ``[N, d]``."""
        return beta * state.log_g_gradient + state.log_f0_gradient
