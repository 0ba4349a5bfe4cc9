"""The law of the last state of an annealed chain: it can be sampled exactly, and its log-probability bounded."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import Tensor

from genmodels.mcmc.annealing import Annealed, Progress, forward, reverse
from genmodels.mcmc.paths import Path

S = TypeVar("S")


class AnnealedLaw(ABC, Generic[S]):
    """``p_ann``, the law of the state at which a chain arrives that is annealed from ``f_0`` to ``f_1``.

    It is the distribution that a sampler of an energy model draws from, whatever the number of temperatures, and
    approaches ``f_1 / Z_1`` as they become many. :meth:`sample` draws from it, and :meth:`log_weights` bounds its
    log-probability from below at any x: a sampler and a likelihood of one law (RAISE: Burda et al. 2015,
    arXiv:1412.8566).

    Args:
        path: densities ``f_b``.
        betas: inverse temperatures ``[T + 1]`` from 0 to 1.
        log_z0: ``log Z_0`` in nats.
    """

    def __init__(self, path: Path[S], betas: Tensor, log_z0: float | Tensor) -> None:
        self.path = path
        self.betas = betas
        self.log_z0 = log_z0

    @abstractmethod
    def draw(self, n: int) -> S:
        """``n`` exact draws of ``f_0``."""

    @abstractmethod
    def state(self, y: Tensor) -> S:
        """The state of chains at positions ``y [N, D]``."""

    @abstractmethod
    def position(self, state: S) -> Tensor:
        """Positions ``[N, D]`` of chains."""

    @abstractmethod
    def transition(self, state: S, beta: float, t: int) -> tuple[S, Tensor]:
        """Transition t of 1 .. T at inverse temperature ``beta``, see :data:`genmodels.mcmc.Kernel`."""

    def defect(self, before: S, after: S, beta: float, t: int) -> Tensor | float:
        """What a transition lacks of detailed balance, see :data:`genmodels.mcmc.Defect`; 0 if it is reversible."""
        return 0.0

    def anneal(self, n: int, progress: Progress = iter) -> Annealed[S]:
        """``n`` chains from ``f_0`` to ``f_1``, whose last states are draws of the law: ``E[w] = Z_1 / Z_0``."""
        return forward(self.path, self.transition, self.draw(n), self.betas, progress, self.defect)

    def sample(self, n: int, progress: Progress = iter) -> Tensor:
        """``n`` draws ``y ~ p_ann [n, D]``."""
        return self.position(self.anneal(n, progress).state)

    def log_weights(self, y: Tensor, progress: Progress = iter) -> Tensor:
        """``log (f_1(y) / (Z_0 w)) [N]`` in nats, float64, by one reversed chain from each of ``y [N, D]``.

        The expectation of the exponential is ``p_ann(y)``, so that the logarithm of a mean over chains is a lower bound
        on ``log p_ann(y)`` in expectation.
        """
        start = self.state(y)
        run = reverse(self.path, self.transition, start, self.betas, progress, self.defect)
        return self.weigh(start, run.log_weight)

    def weigh(self, state: S, log_weight: Tensor) -> Tensor:
        """``log (f_1(y) / (Z_0 w)) [N]`` in nats, float64, of chains that end, or began, at ``state``."""
        return self.path.log_f(state, 1.0).double() - self.log_z0 - log_weight


def linear_schedule(temperatures: int) -> Tensor:
    """Inverse temperatures ``[temperatures + 1]``, float64, evenly spaced from 0 to 1."""
    return torch.linspace(0, 1, temperatures + 1, dtype=torch.float64)


def effective_sample_size(log_weights: Tensor) -> float:
    """``(sum w)² / sum w²``, from 1 to N, of importance weights ``w``, given their logarithms ``[N]`` (Kong 1992).

    >>> round(effective_sample_size(torch.zeros(5)), 3), round(effective_sample_size(torch.tensor([0.0, -50.0])), 3)
    (5.0, 1.0)
    """
    w = log_weights.double()
    return math.exp(2 * torch.logsumexp(w, 0).item() - torch.logsumexp(2 * w, 0).item())
