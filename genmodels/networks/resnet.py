"""Weight-normalized residual networks at constant resolution: convolutional for images, fully connected for vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import is_parametrized

from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.networks.factory import DEEPEST, WIDEST, measured

Layer = Callable[[int, int, int], nn.Module]
"""``(in_channels, out_channels, kernel_size) -> module``."""


def convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    """Convolution ``[B, in_channels, H, W] -> [B, out_channels, H, W]``."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")


def linear(in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
    """Fully connected layer ``[B, in_channels] -> [B, out_channels]``; ``kernel_size`` is ignored."""
    return nn.Linear(in_channels, out_channels)


class ResidualBlock(nn.Module):
    """Pre-activation residual block ``h + f(h)`` (He et al. 2016, arXiv:1603.05027), weight-normalized."""

    def __init__(self, layer: Layer, width: int, dropout: float) -> None:
        super().__init__()
        self.first = weight_norm(layer(width, width, 3))
        self.second = weight_norm(layer(width, width, 3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        """``[B, width, ...] -> [B, width, ...]``."""
        residual: Tensor = self.second(self.dropout(F.relu(self.first(F.relu(h)))))
        return h + residual


class ResidualNetwork(nn.Module):
    """Residual blocks with skip connections: the last layer acts on the sum of all their outputs.

    RealNVP (Dinh et al. 2017, §3.7 and §4.1, arXiv:1605.08803): residual blocks with skip connections and weight
    normalization (Salimans & Kingma 2016, arXiv:1602.07868). The last layer is initialized to zero, so that a
    coupling layer starts as the identity (Kingma & Dhariwal 2018, §3.3, arXiv:1807.03039).

    Args:
        layer: factory of layers.
        in_channels: channels of the input.
        out_channels: channels of the output.
        width: channels of a hidden layer.
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
        """``[B, in_channels, ...] -> [B, out_channels, ...]``."""
        h = self.first(x)
        total = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            h = block(h)
            total = total + skip(h)
        out: Tensor = self.last(F.relu(total))
        return out

    def scales(self) -> Iterator[nn.Parameter]:
        """Scales g of all weight-normalized layers, ``w = g v / |v|``, one per output channel."""
        for layer in self.modules():
            if is_parametrized(layer, "weight"):
                yield layer.get_parameter("parametrizations.weight.original0")


@measured
def resnet(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 64,
    blocks: int = 2,
    dropout: float = 0.0,
    patches: bool = True,
    width_multiplier: int = 1,
) -> nn.Module:
    """Residual network ``[B, *in_shape] -> [B, *out_shape]``: convolutional for images, fully connected for vectors.

    With ``patches``, which are not in the RealNVP paper, images of even sides above 4 are processed as 2 x 2 patches,
    four times cheaper at the same width. Every pixel of a patch has channels of its own, so that the network can
    distinguish the colors of a checkerboard.

    Args:
        in_shape: shape of one input, ``(C, H, W)`` or ``(D,)``.
        out_shape: shape of one output, of the same resolution.
        width: channels, or units, of a hidden layer.
        blocks: number of residual blocks.
        dropout: probability of dropping a unit within a block.
        patches: process images as patches.
        width_multiplier: factor by which ``width`` is multiplied.

    Raises:
        ValueError: if width or width_multiplier is less than 1, blocks is negative, dropout lies outside [0, 1), or the
            network does not fit into memory.

    >>> import torch
    >>> resnet((1, 8, 8), (2, 8, 8), width=4)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 2, 8, 8])
    """
    ensure_counts(1, WIDEST, width=width, width_multiplier=width_multiplier)
    ensure_counts(0, DEEPEST, blocks=blocks)
    ensure_numbers(at_least=0, below=1, dropout=dropout)
    in_channels, *resolution = in_shape
    width = width_multiplier * width
    if not resolution:
        return ResidualNetwork(linear, in_channels, out_shape[0], width, blocks, dropout)
    if not patches or min(resolution) <= 4 or any(side % 2 for side in resolution):
        return ResidualNetwork(convolution, in_channels, out_shape[0], width, blocks, dropout)
    on_patches = ResidualNetwork(convolution, 4 * in_channels, 4 * out_shape[0], width, blocks, dropout)
    return nn.Sequential(nn.PixelUnshuffle(2), on_patches, nn.PixelShuffle(2))
