"""Diagonal Gaussians by mean and log-variance: densities and divergences, elementwise, in nats."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kl_divergence(mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor) -> Tensor:
    """``KL(N(mean, variance) || N(other_mean, other_variance))``, elementwise ``[...]``; arguments broadcast.

    >>> one, zero = torch.ones(1), torch.zeros(1)
    >>> kl_divergence(one, zero, zero, zero)
    tensor([0.5000])
    """
    log_ratio = log_variance - other_log_variance
    distance = (mean - other_mean).square() * torch.exp(-other_log_variance)
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + distance)


def log_prob(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """``log N(x; mean, variance)``, elementwise ``[...]``; arguments broadcast."""
    return -0.5 * ((x - mean).square() * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi))
