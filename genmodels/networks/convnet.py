"""Residual convolutional encoder and decoder, without batch statistics; MLPs for vectors."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.networks.mlp import mlp
from genmodels.networks.scales import halvings


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

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: ``(K,)``.
        width: channels at the finest scale, doubled at each halving; an MLP is eight times as wide.
        blocks: residual blocks per scale (images).
        depth: hidden layers (vectors).
    """
    if len(in_shape) == 1:
        return mlp(in_shape, out_shape, width=8 * width, depth=depth)
    channels, height, breadth = in_shape
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1)]
    for _ in range(halvings(height, breadth)):
        layers += [ResidualBlock(width) for _ in range(blocks)]
        layers += [nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)]
        height, breadth, width = height // 2, breadth // 2, 2 * width
    layers += [ResidualBlock(width) for _ in range(blocks)]
    layers += [nn.SiLU(), nn.Flatten(), nn.Linear(width * height * breadth, math.prod(out_shape))]
    return nn.Sequential(*layers)


def decoder(
    in_shape: tuple[int, ...], out_shape: tuple[int, ...], width: int = 32, blocks: int = 1, depth: int = 3
) -> nn.Module:
    """Mirror image of :func:`encoder`: from a flat code ``(K,)`` to ``(C, H, W)`` or ``(D,)``."""
    if len(out_shape) == 1:
        return mlp(in_shape, out_shape, width=8 * width, depth=depth)
    channels, height, breadth = out_shape
    scales = halvings(height, breadth)
    coarse = (width << scales, height >> scales, breadth >> scales)
    layers: list[nn.Module] = [nn.Linear(math.prod(in_shape), math.prod(coarse)), nn.Unflatten(1, coarse)]
    current = coarse[0]
    for _ in range(scales):
        layers += [ResidualBlock(current) for _ in range(blocks)]
        layers += [nn.SiLU(), nn.ConvTranspose2d(current, current // 2, 4, stride=2, padding=1)]
        current //= 2
    layers += [ResidualBlock(current) for _ in range(blocks)]
    layers += [nn.SiLU(), nn.Conv2d(current, channels, 3, padding=1)]
    return nn.Sequential(*layers)
