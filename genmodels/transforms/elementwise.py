"""Transforms of each dimension by itself: normalization of activations and the logit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genmodels.core import quantization
from genmodels.transforms.base import Transform


class ActNorm(Transform):
    """Learned scale and shift per channel: ``z = (x + shift) exp(log_scale)`` (Kingma & Dhariwal 2018, §3.1).

    Takes the place of RealNVP's batch normalization, whose running statistics make test likelihoods explode. A batch
    handed to :meth:`initialize` comes out with zero mean and unit variance in every channel.

    Args:
        shape: shape of one example, channels first.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        channels, *resolution = shape
        self.positions = math.prod(resolution)
        self.shift = nn.Parameter(torch.zeros(channels, *[1] * len(resolution)))
        self.log_scale = nn.Parameter(torch.zeros(channels, *[1] * len(resolution)))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``log_det = H W sum_c log_scale_c``."""
        log_det = self.positions * self.log_scale.sum()
        return (x + self.shift) * torch.exp(self.log_scale), log_det.expand(x.shape[0])

    def decode(self, z: Tensor) -> Tensor:
        """``z exp(-log_scale) - shift``."""
        return z * torch.exp(-self.log_scale) - self.shift

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        """Standardize this batch. A channel that does not vary is only shifted."""
        over = [0, *range(2, x.ndim)]
        std, mean = torch.std_mean(x, dim=over, correction=0)
        std = torch.where(std > 1e-6, std, torch.ones_like(std))
        self.shift.copy_(-mean.view_as(self.shift))
        self.log_scale.copy_(-std.log().view_as(self.log_scale))
        return self.encode(x)[0]


class Logit(Transform):
    """The unit cube onto the reals, ``logit(alpha + (1 - 2 alpha) u)`` (RealNVP §4.1; see ``core.quantization.logit``).

    Args:
        alpha: distance kept from 0 and 1.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From the cube."""
        return quantization.logit(x, self.alpha)

    def decode(self, z: Tensor) -> Tensor:
        """Into (slightly beyond) the cube."""
        return quantization.unlogit(z, self.alpha)
