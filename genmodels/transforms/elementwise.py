"""Elementwise transforms: activation normalization, scaling and the logit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import quantization
from genmodels.transforms.base import Transform


class ActNorm(Transform):
    """Learned shift and scale per channel (Kingma & Dhariwal 2018, §3.1, arXiv:1807.03039).

    ``z = (x + shift) exp(log_scale)``. It replaces RealNVP's batch normalization, with whose running
    statistics test likelihoods can diverge. After :meth:`initialize` on a batch, its output has zero mean and unit
    variance in every channel.

    Args:
        shape: shape of one example, ``(C, H, W)`` or ``(D,)``.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        channels, *resolution = shape
        self.shift = nn.Parameter(torch.zeros(channels, *[1] * len(resolution)))
        self.log_scale = nn.Parameter(torch.zeros(channels, *[1] * len(resolution)))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z [B, *shape]`` of ``x [B, *shape]``, and ``log_det = H W sum_c log_scale_c [B]`` in nats."""
        log_det = self.log_scale.expand(x.shape[1:]).sum()
        return (x + self.shift) * torch.exp(self.log_scale), log_det.expand(x.shape[0])

    def decode(self, z: Tensor) -> Tensor:
        """``x = z / exp(log_scale) - shift [B, *shape]``."""
        return torch.addcdiv(-self.shift, z, torch.exp(self.log_scale))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        """Standardize the channels of ``x [B, *shape]`` and return the result; a constant channel is only shifted."""
        over = [0, *range(2, x.ndim)]
        self.shift.copy_(-x.mean(over).view_as(self.shift))
        self.log_scale.copy_(-log_std(x, over).view_as(self.log_scale))
        return self.encode(x)[0]


class Scale(Transform):
    """Learned scale per dimension, ``z = exp(s) x`` (NICE: Dinh et al. 2015, §3.3, arXiv:1410.8516).

    :meth:`initialize` gives every dimension of its output unit variance, so that data whose dimensions differ in scale
    begin alike. The paper begins with ``s = 0``.

    Args:
        shape: shape of one example.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(*shape))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z [B, *shape]`` of ``x [B, *shape]``, and ``log_det = sum_i s_i [B]`` in nats."""
        return torch.exp(self.log_scale) * x, self.log_scale.sum().expand(x.shape[0])

    def decode(self, z: Tensor) -> Tensor:
        """``x = exp(-s) z [B, *shape]``."""
        return torch.exp(-self.log_scale) * z

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        """Scale the dimensions of ``x [B, *shape]`` to unit variance, but a constant one, and return the result."""
        self.log_scale.copy_(-log_std(x, [0]))
        return self.encode(x)[0]


class Logit(Transform):
    """Unit cube to reals, ``z = logit(alpha + (1 - 2 alpha) x)`` (:func:`genmodels.core.quantization.logit`).

    Args:
        alpha: distance kept from 0 and 1.

    Raises:
        ValueError: if alpha lies outside [1e-7, 0.5).
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        quantization.ensure_alpha(alpha)
        self.alpha = alpha

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return quantization.logit(x, self.alpha)

    def decode(self, z: Tensor) -> Tensor:
        """``x [B, *shape]``, which lies outside the cube, by about ``alpha`` at most, for extreme ``z``."""
        return quantization.unlogit(z, self.alpha)


def log_std(x: Tensor, over: list[int]) -> Tensor:
    """Log of the standard deviation of ``x`` over some dimensions; 0 for a constant."""
    std = torch.std(x, dim=over, correction=0)
    return torch.where(std > 1e-6, std, 1.0).log()
