"""Distributions of vectors whose density is known: the bases of flows."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from genmodels.core.observation import standard_normal_log_prob


class BaseDistribution(ABC):
    """A distribution of vectors, such as p_Z of a flow. One with parameters has ``nn.Module`` as its second base class.

    Args:
        dims: dimension D of z.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """``log p(z) [B]`` in nats of ``z [B, D]``."""

    @abstractmethod
    def sample(self, n: int, device: torch.device) -> Tensor:
        """``n`` draws ``z [n, D]``."""


class StandardNormal(BaseDistribution):
    """``N(0, I)``."""

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        return standard_normal_log_prob(z)

    @override
    def sample(self, n: int, device: torch.device) -> Tensor:
        return torch.randn(n, self.dims, device=device)


class StandardLogistic(BaseDistribution):
    """Independent logistic distributions of mean 0 and scale 1 (NICE: Dinh et al. 2015, §3.4, arXiv:1410.8516)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """``sum_i -softplus(z_i) - softplus(-z_i) [B]`` in nats of ``z [B, D]``."""
        return -(F.softplus(z) + F.softplus(-z)).flatten(1).sum(1)

    def sample(self, n: int, device: torch.device) -> Tensor:
        """``z = logit(u) [n, D]`` with ``u ~ U(0, 1)`` clamped to 1e-7 from 0 and 1, so that ``|z| < 16``."""
        eps = torch.finfo(torch.float32).eps
        return torch.logit(torch.rand(n, self.dims, device=device), eps)
