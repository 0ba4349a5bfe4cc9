"""Diffusion kernels: Markov steps toward a simple equilibrium, and their reversal (Sohl-Dickstein et al. 2015, §2).

A kernel T_π moves every number of x alone. Steps compose: those from time s to t leave a share ``ᾱ_t / ᾱ_s`` of what
was there, so that one number, the share ``lost``, says all about them. For a single step it is β_t. T_π is reversible
with respect to its equilibrium, ``π(x) T_π(x' | x) = π(x') T_π(x | x')``.

Times are those of :mod:`genmodels.diffusion.process`. ``lost`` and β broadcast against ``x [B, *shape]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from genmodels.diffusion.laws import Bit, Normal

L = TypeVar("L", bound=Any)


class Kernel(nn.Module, ABC, Generic[L]):
    """A diffusion kernel, whose laws are of class L.

    Attributes:
        outputs: numbers per dimension that a network outputs for a reverse step.
    """

    outputs: ClassVar[int]

    @abstractmethod
    def equilibrium(self, x: Tensor) -> L:
        """π, for every number of ``x [B, *shape]``."""

    @abstractmethod
    def transition(self, x: Tensor, lost: Tensor) -> L:
        """``T_π(x' | x)`` over steps that lose a share of ``x [B, *shape]``."""

    @abstractmethod
    def posterior(self, x0: Tensor, x_t: Tensor, before: Tensor, beta: Tensor) -> L:
        """``q(x_{t-1} | x_t, x_0)`` by Bayes' rule; ``before = 1 - ᾱ_{t-1}`` is lost up to t - 1, and β_t after."""

    @abstractmethod
    def perturbed(self, x_t: Tensor, z: Tensor, beta: Tensor) -> L:
        """``p(x_{t-1} | x_t)``, the kernel perturbed by ``z [B, outputs * C, ...]``; at z = 0 the kernel itself.

        In equilibrium the kernel is its own reversal.
        """

    @abstractmethod
    def transition_entropy(self, x: L, lost: Tensor) -> Tensor:
        """``E H[T_π(x' | x)]`` over ``x``, a law, elementwise in nats."""


class GaussianKernel(Kernel[Normal]):
    """``T_π(x' | x; β) = N(√(1 - β) x, β)``, with the equilibrium N(0, 1) (table App. 1)."""

    outputs = 2

    @override
    def equilibrium(self, x: Tensor) -> Normal:
        return Normal(torch.zeros_like(x), x.new_zeros(()))

    @override
    def transition(self, x: Tensor, lost: Tensor) -> Normal:
        return Normal((1 - lost).sqrt() * x, lost.log())

    @override
    def posterior(self, x0: Tensor, x_t: Tensor, before: Tensor, beta: Tensor) -> Normal:
        lost = before + beta - before * beta  # 1 - ᾱ_t
        mean = ((1 - before).sqrt() * beta * x0 + (1 - beta).sqrt() * before * x_t) / lost
        return Normal(mean, before.log() + beta.log() - lost.log())

    def perturbed(self, x_t: Tensor, z: Tensor, beta: Tensor) -> Normal:
        """Mean ``√(1 - β) x_t + √β z_μ`` and variance ``σ(z_Σ + σ⁻¹(β))``, as in the code of the paper's authors.

        The paper itself (eq. 64-65) lets the mean decay toward z_μ, ``(x_t - z_μ)(1 - f_Σ) + z_μ``.
        """
        z_mean, z_variance = z.chunk(2, dim=1)
        return Normal((1 - beta).sqrt() * x_t + beta.sqrt() * z_mean, F.logsigmoid(z_variance + torch.logit(beta)))

    @override
    def transition_entropy(self, x: Normal, lost: Tensor) -> Tensor:
        return self.transition(x.mean, lost).entropy()


class BinomialKernel(Kernel[Bit]):
    """``T_π(x' = 1 | x; β) = x (1 - β) + π β`` for bits, with the equilibrium B(π) (table App. 1, where π is 1/2).

    Args:
        rate: π, one number, or one for each dimension, ``[*shape]``.
    """

    outputs = 1
    rate: Tensor

    def __init__(self, rate: Tensor) -> None:
        super().__init__()
        self.register_buffer("rate", rate)

    @override
    def equilibrium(self, x: Tensor) -> Bit:
        return Bit(torch.logit(self.rate).expand_as(x))

    @override
    def transition(self, x: Tensor, lost: Tensor) -> Bit:
        """Both probabilities are sums of positive numbers, so that neither is rounded to zero."""
        one, zero = x * (1 - lost) + self.rate * lost, (1 - x) * (1 - lost) + (1 - self.rate) * lost
        return Bit(one.log() - zero.log())

    @override
    def posterior(self, x0: Tensor, x_t: Tensor, before: Tensor, beta: Tensor) -> Bit:
        """``logit q(x_{t-1} | x_0) + log q(x_t | 1) - log q(x_t | 0)``."""
        ones = torch.ones_like(x_t)
        likelihood = self.transition(ones, beta).log_prob(x_t) - self.transition(0 * ones, beta).log_prob(x_t)
        return Bit(self.transition(x0, before).logit + likelihood)

    def perturbed(self, x_t: Tensor, z: Tensor, beta: Tensor) -> Bit:
        """The logit of the forward kernel plus z: for small β, z is the log-ratio of flipping in q and in π."""
        return Bit(self.transition(x_t, beta).logit + z)

    @override
    def transition_entropy(self, x: Bit, lost: Tensor) -> Tensor:
        ones, p = torch.ones_like(x.logit), torch.sigmoid(x.logit)
        return p * self.transition(ones, lost).entropy() + (1 - p) * self.transition(0 * ones, lost).entropy()
