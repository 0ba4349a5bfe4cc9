"""Residual networks that keep the resolution: what couplings of a flow are made of, on images and on vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Layer = Callable[[int, int, int], nn.Module]
"""``(in_channels, out_channels, kernel_size) -> module``."""


def convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    """Convolution that keeps the resolution."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")


def linear(in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    """Fully connected layer; a vector has no neighbors, so ``kernel_size`` plays no part."""
    return nn.Linear(in_channels, out_channels)


class ResidualBlock(nn.Module):
    """Pre-activation residual block ``h + f(h)`` (He et al. 2016, arXiv:1603.05027), weight-normalized."""

    def __init__(self, layer: Layer, width: int, dropout: float) -> None:
        super().__init__()
        self.first = weight_norm(layer(width, width, 3))
        self.second = weight_norm(layer(width, width, 3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """``[B, width, ...]`` to the same shape."""
        residual: Tensor = self.second(self.dropout(F.relu(self.first(F.relu(h)))))
        return h + residual


class ResidualNetwork(nn.Module):
    """Residual blocks whose outputs are all summed into the last layer.

    RealNVP (Dinh et al. 2017, §3.7 and §4.1, arXiv:1605.08803): residual blocks with skip connections and weight
    normalization (Salimans & Kingma 2016, arXiv:1602.07868). The last layer starts at zero, so that a coupling starts
    as the identity (Kingma & Dhariwal 2018, §3.3, arXiv:1807.03039).

    Args:
        layer: makes a layer of given channels and kernel size.
        in_channels: channels of the input.
        out_channels: channels of the output.
        width: channels between.
        blocks: number of residual blocks.
        dropout: probability of dropping a unit within a block.
    """

    def __init__(
        self, layer: Layer, in_channels: int, out_channels: int, width: int, blocks: int, dropout: float
    ) -> None:
        super().__init__()
        self.first = weight_norm(layer(in_channels, width, 3))
        self.blocks = nn.ModuleList(ResidualBlock(layer, width, dropout) for _ in range(blocks))
        self.skips = nn.ModuleList(weight_norm(layer(width, width, 1)) for _ in range(blocks + 1))
        self.last = layer(width, out_channels, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, ...]`` to ``[B, out_channels, ...]``."""
        h = self.first(x)
        total = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            h = block(h)
            total = total + skip(h)
        out: Tensor = self.last(F.relu(total))
        return out


def coupling_network(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 64,
    blocks: int = 2,
    dropout: float = 0.0,
    patches: bool = True,
    width_multiplier: int = 1,
) -> nn.Module:
    """Network of a coupling layer: convolutional on images ``(C, H, W)``, fully connected on vectors ``(D,)``.

    With ``patches``, an image of even sides above 4 is worked on as 2 x 2 patches, four times cheaper at the same
    width; not in the paper. Every corner of a patch has channels of its own, so that the network can tell the colors
    of a checkerboard apart.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output, of the same resolution.
        width: channels, or units, of a hidden layer.
        blocks: number of residual blocks.
        dropout: probability of dropping a unit within a block.
        patches: work on patches of images.
        width_multiplier: multiple of the width.

    >>> import torch
    >>> coupling_network((1, 8, 8), (2, 8, 8), width=4)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 2, 8, 8])
    """
    in_channels, *resolution = in_shape
    width = width_multiplier * width
    if not resolution:
        return ResidualNetwork(linear, in_channels, out_shape[0], width, blocks, dropout)
    if not patches or min(resolution) <= 4 or any(side % 2 for side in resolution):
        return ResidualNetwork(convolution, in_channels, out_shape[0], width, blocks, dropout)
    on_patches = ResidualNetwork(convolution, 4 * in_channels, 4 * out_shape[0], width, blocks, dropout)
    return nn.Sequential(nn.PixelUnshuffle(2), on_patches, nn.PixelShuffle(2))
