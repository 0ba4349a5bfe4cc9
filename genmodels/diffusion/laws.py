"""Laws of independent numbers, elementwise: what one step of a diffusion leads to, forward or backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from genmodels.core import DataSpec
from genmodels.core.observation import discretized_gaussian
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.diffusion.gaussian import kl_divergence, log_prob

ENTROPY = 1.4189385332046727  # of N(0, 1): log(2 π e) / 2 nats
Factor = Callable[[Tensor], Tensor]
"""``x [..] -> log r(x) [..]`` in nats, elementwise: a factor that multiplies a probability."""
L = TypeVar("L", bound="Law")


class Law(ABC, Generic[L]):
    """A product of laws of one number each; all results are elementwise, ``[..]``, in nats."""

    @abstractmethod
    def sample(self) -> Tensor:
        """A draw x."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``log p(x)``, a density or a mass."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """``-E[log p(x)]``."""

    @abstractmethod
    def divergence(self, other: L) -> Tensor:
        """``KL(self || other)``."""

    @abstractmethod
    def tilted(self, log_r: Factor) -> L:
        """The law proportional to ``p(x) r(x)``, to first order in the gradient of log r where x is real."""

    def expected_log_prob(self, other: L) -> Tensor:
        """``E[log p_other(x)]`` over x of this law."""
        return -self.entropy() - self.divergence(other)


@dataclass(frozen=True)
class Normal(Law["Normal"]):
    """``N(mean, exp(log_variance))``; the two broadcast."""

    mean: Tensor
    log_variance: Tensor

    @override
    def sample(self) -> Tensor:
        return self.mean + torch.exp(0.5 * self.log_variance) * torch.randn_like(self.mean)

    @override
    def log_prob(self, x: Tensor) -> Tensor:
        return log_prob(x, self.mean, self.log_variance)

    @override
    def entropy(self) -> Tensor:
        return (ENTROPY + 0.5 * self.log_variance).expand_as(self.mean)

    @override
    def divergence(self, other: Normal) -> Tensor:
        return kl_divergence(self.mean, self.log_variance, other.mean, other.log_variance)

    @override
    def tilted(self, log_r: Factor) -> Normal:
        with torch.enable_grad():
            x = self.mean.detach().requires_grad_()
            (slope,) = torch.autograd.grad(log_r(x).sum(), x)
        return Normal(self.mean + self.log_variance.exp() * slope, self.log_variance)


@dataclass(frozen=True)
class DiscretizedNormal(Normal):
    """A :class:`Normal` rounded to the nearest of L levels on [-1, 1], of which the outer ones take what lies beyond.

    Attributes:
        spec: the data, with their L levels; numbers are on the scale of :func:`to_symmetric`.
    """

    spec: DataSpec

    @override
    def sample(self) -> Tensor:
        return to_symmetric(from_symmetric(super().sample(), self.spec), self.spec)

    @override
    def log_prob(self, x: Tensor) -> Tensor:
        return discretized_gaussian(
            from_symmetric(x, self.spec), self.mean, 0.5 * self.log_variance, cast("int", self.spec.levels)
        )


@dataclass(frozen=True)
class Bit(Law["Bit"]):
    """Zero or one, with ``logit = log p(1) - log p(0)``."""

    logit: Tensor

    @override
    def sample(self) -> Tensor:
        return (torch.rand_like(self.logit) < torch.sigmoid(self.logit)).to(self.logit.dtype)

    @override
    def log_prob(self, x: Tensor) -> Tensor:
        return x * F.logsigmoid(self.logit) + (1 - x) * F.logsigmoid(-self.logit)

    @override
    def entropy(self) -> Tensor:
        return -self.log_prob(torch.sigmoid(self.logit))

    @override
    def divergence(self, other: Bit) -> Tensor:
        p = torch.sigmoid(self.logit)
        return self.log_prob(p) - other.log_prob(p)

    @override
    def tilted(self, log_r: Factor) -> Bit:
        return Bit(self.logit + log_r(torch.ones_like(self.logit)) - log_r(torch.zeros_like(self.logit)))


def per_example(values: Tensor) -> Tensor:
    """Sum ``[B, *shape]`` over all but the first dimension: ``[B]``."""
    return values.flatten(1).sum(1)
