"""Residual convolutional encoder and decoder, without batch statistics; MLPs for vectors."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.networks.mlp import mlp
from genmodels.networks.scales import coarsenings


class ResidualBlock(nn.Module):
    """Pre-activation residual block ``x + conv(silu(conv(silu(x))))`` (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """``[B, width, H, W] -> [B, width, H, W]``."""
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


def encoder(
    in_shape: tuple[int, ...], out_shape: tuple[int, ...], width: int = 32, blocks: int = 1, depth: int = 3
) -> nn.Module:
    """Network from images or vectors to a flat code.

    Images are halved down to about 4x4 (8x8 ones to 2x2), each time by a strided convolution that doubles the
    channels, followed by residual blocks; nothing is computed at the full resolution, which would cost most.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: ``(K,)``.
        width: channels after the first halving; an MLP is eight times as wide.
        blocks: residual blocks per scale (images).
        depth: hidden layers (vectors).
    """
    if len(in_shape) == 1:
        return mlp(in_shape, out_shape, width=8 * width, depth=depth)
    channels, height, breadth = in_shape
    layers: list[nn.Module] = []
    for scale in range(coarsenings(height, breadth)):
        layers += [nn.SiLU()] if scale else []
        layers += [nn.Conv2d(channels, width << scale, 4, stride=2, padding=1)]
        channels, height, breadth = width << scale, height // 2, breadth // 2
        layers += [ResidualBlock(channels) for _ in range(blocks)]
    layers += [nn.SiLU(), nn.Flatten(), nn.Linear(channels * height * breadth, math.prod(out_shape))]
    return nn.Sequential(*layers)


def decoder(
    in_shape: tuple[int, ...], out_shape: tuple[int, ...], width: int = 32, blocks: int = 1, depth: int = 3
) -> nn.Module:
    """Mirror image of :func:`encoder`: from a flat code ``(K,)`` to ``(C, H, W)`` or ``(D,)``."""
    if len(out_shape) == 1:
        return mlp(in_shape, out_shape, width=8 * width, depth=depth)
    channels, height, breadth = out_shape
    scales = coarsenings(height, breadth)
    widths = [channels, *(width << scale for scale in range(scales))]
    coarse = (widths[-1], height >> scales, breadth >> scales)
    layers: list[nn.Module] = [nn.Linear(math.prod(in_shape), math.prod(coarse)), nn.Unflatten(1, coarse)]
    for scale in range(scales, 0, -1):
        layers += [ResidualBlock(widths[scale]) for _ in range(blocks)]
        layers += [nn.SiLU(), nn.ConvTranspose2d(widths[scale], widths[scale - 1], 4, stride=2, padding=1)]
    return nn.Sequential(*layers)
