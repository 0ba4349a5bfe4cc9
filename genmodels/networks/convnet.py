"""Residual convolutional encoder and decoder without batch normalization for images; MLPs for vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.errors import ensure_counts
from genmodels.networks.factory import DEEPEST, WIDEST, measured
from genmodels.networks.mlp import ensure_slope, steep_mlp
from genmodels.networks.scales import coarsenings


class ResidualBlock(nn.Module):
    """Pre-activation residual block ``x + conv(silu(conv(silu(x))))`` (He et al. 2016, arXiv:1603.05027).

    The second convolution is initialized to zero, so that the block starts as the identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """``[B, width, H, W] -> [B, width, H, W]``."""
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


@measured
def encoder(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 32,
    blocks: int = 1,
    depth: int = 3,
    slope: float | None = None,
) -> nn.Module:
    """Network ``[B, *in_shape] -> [B, *out_shape]`` from images or vectors to a flat code.

    Images are halved to about 4x4 (8x8 images to 2x2) by strided convolutions, which double the channels and are
    each followed by residual blocks. Nothing is computed at the full resolution, where it is most expensive.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: ``(K,)``.
        width: channels after the first halving; an MLP is eight times as wide.
        blocks: number of residual blocks per scale, for images.
        depth: number of hidden layers, for vectors.
        slope: for vectors, the initial slope of the first layer of ReLUs, see :func:`genmodels.networks.mlp.mlp`;
            ``None`` for SiLUs in PyTorch's initialization.

    Raises:
        ValueError: if width is less than 1, blocks or depth is negative, slope is out of range, or the network does not
            fit into memory.

    >>> import torch
    >>> encoder((1, 8, 8), (6,), width=4)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 6])
    """
    ensure_counts(1, WIDEST, width=width)
    ensure_counts(0, DEEPEST, blocks=blocks, depth=depth)
    ensure_slope(slope)
    if len(in_shape) == 1:
        return steep_mlp(in_shape, out_shape, 8 * width, depth, slope)
    channels, height, breadth = in_shape
    layers: list[nn.Module] = []
    for scale in range(coarsenings(height, breadth)):
        layers += [nn.SiLU()] if scale else []
        layers += [nn.Conv2d(channels, width << scale, 4, stride=2, padding=1)]
        channels, height, breadth = width << scale, height // 2, breadth // 2
        layers += [ResidualBlock(channels) for _ in range(blocks)]
    layers += [nn.SiLU(), nn.Flatten(), nn.Linear(channels * height * breadth, math.prod(out_shape))]
    return nn.Sequential(*layers)


@measured
def decoder(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 32,
    blocks: int = 1,
    depth: int = 3,
    slope: float | None = None,
) -> nn.Module:
    """Network ``[B, *in_shape] -> [B, *out_shape]`` from a flat code to images or vectors, mirroring :func:`encoder`.

    Args:
        in_shape: ``(K,)``.
        out_shape: ``(C, H, W)`` or ``(D,)``.
        width: channels before the last doubling of the resolution; an MLP is eight times as wide.
        blocks: number of residual blocks per scale, for images.
        depth: number of hidden layers, for vectors.
        slope: for vectors, the initial slope of the first layer of ReLUs, see :func:`genmodels.networks.mlp.mlp`;
            ``None`` for SiLUs in PyTorch's initialization.

    Raises:
        ValueError: if width is less than 1, blocks or depth is negative, slope is out of range, or the network does not
            fit into memory.

    >>> import torch
    >>> decoder((6,), (1, 8, 8), width=4)(torch.zeros(3, 6)).shape
    torch.Size([3, 1, 8, 8])
    """
    ensure_counts(1, WIDEST, width=width)
    ensure_counts(0, DEEPEST, blocks=blocks, depth=depth)
    ensure_slope(slope)
    if len(out_shape) == 1:
        return steep_mlp(in_shape, out_shape, 8 * width, depth, slope)
    channels, height, breadth = out_shape
    scales = coarsenings(height, breadth)
    widths = [channels, *(width << scale for scale in range(scales))]
    coarse = (widths[-1], height >> scales, breadth >> scales)
    layers: list[nn.Module] = [nn.Linear(math.prod(in_shape), math.prod(coarse)), nn.Unflatten(1, coarse)]
    for scale in range(scales, 0, -1):
        layers += [ResidualBlock(widths[scale]) for _ in range(blocks)]
        layers += [nn.SiLU(), nn.ConvTranspose2d(widths[scale], widths[scale - 1], 4, stride=2, padding=1)]
    return nn.Sequential(*layers)
