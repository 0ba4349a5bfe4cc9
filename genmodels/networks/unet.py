"""The time-conditioned U-Net of Ho et al. 2020 (appendix B, arXiv:2006.11239), at a depth set by the image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.errors import ensure, ensure_counts, ensure_numbers
from genmodels.networks.factory import DEEPEST, WIDEST, measured
from genmodels.networks.init import zero_init
from genmodels.networks.scales import halvings
from genmodels.networks.time import TimeEmbedding

ATTENTION_SIDE = 16  # the paper attends at 16x16 of its 32x32 images


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with at most 32 groups of at least 4 channels; for the paper's 128 channels these are its 32 groups.

    >>> [group_norm(c).num_groups for c in (128, 32, 6, 3)]
    [32, 8, 1, 1]
    """
    fitting = [g for g in range(1, 33) if channels % g == 0 and channels // g >= 4]
    return nn.GroupNorm(max(fitting, default=1), channels)


def convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution ``[B, in, H, W] -> [B, out, H, W]``; a stride of 2 halves the sides."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)


class Attention(nn.Module):
    """Single-head self-attention over pixels, added to its input; the added part is initialized to zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zero_init(nn.Linear(channels, channels))

    def forward(self, h: Tensor) -> Tensor:
        """``[B, C, H, W] -> [B, C, H, W]``."""
        pixels = self.norm(h).flatten(2).transpose(1, 2)  # [B, HW, C]
        q, k, v = self.qkv(pixels).unsqueeze(1).chunk(3, dim=-1)  # each [B, 1, HW, C]
        attended: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).squeeze(1))
        return h + attended.transpose(1, 2).reshape(h.shape)


class Residual(nn.Module):
    """A residual block of two convolutions, with the time embedding added between them and optional attention after."""

    def __init__(self, in_channels: int, out_channels: int, time_dim: int, dropout: float, attend: bool) -> None:
        super().__init__()
        self.into = nn.Sequential(group_norm(in_channels), nn.SiLU(), convolution(in_channels, out_channels))
        self.time = nn.Linear(time_dim, out_channels)
        self.out = nn.Sequential(
            group_norm(out_channels), nn.SiLU(), nn.Dropout(dropout), zero_init(convolution(out_channels, out_channels))
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.attention = Attention(out_channels) if attend else nn.Identity()

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        """``h [B, in, H, W], time [B, time_dim] -> [B, out, H, W]``."""
        f = self.out(self.into(h) + self.time(time)[:, :, None, None])
        attended: Tensor = self.attention(self.shortcut(h) + f)
        return attended


class UNet(nn.Module):
    """A U-Net, in which every feature map of the way down is concatenated to one of the way up; the output starts at 0.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        widths: channels at each resolution, from the highest to the lowest.
        attend: whether to use attention at each resolution; the middle always has attention.
        blocks: number of residual blocks at each resolution.
        dropout: probability of dropping a feature inside a residual block.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        attend: Sequence[bool],
        blocks: int,
        dropout: float,
    ) -> None:
        super().__init__()
        time_dim = 4 * widths[0]
        self.time = nn.Sequential(TimeEmbedding(time_dim), nn.SiLU())
        self.into = convolution(in_channels, widths[0])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, skips = widths[0], [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(blocks):
                self.down.append(Residual(channels, width, time_dim, dropout, attend[level]))
                channels = width
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(convolution(width, width, stride=2))
                skips.append(width)
        self.middle = nn.ModuleList(
            Residual(channels, channels, time_dim, dropout, attend=first) for first in (True, False)
        )
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(Residual(channels + skips.pop(), width, time_dim, dropout, attend[level]))
                channels = width
            if level > 0:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), convolution(width, width)))
        self.out = nn.Sequential(group_norm(channels), nn.SiLU(), zero_init(convolution(channels, out_channels)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """``x [B, in, H, W], t [B] -> [B, out, H, W]``."""
        time = self.time(t)
        h: Tensor = self.into(x)
        skips = [h]
        for layer in self.down:
            h = layer(h, time) if isinstance(layer, Residual) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, time)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], 1), time) if isinstance(layer, Residual) else layer(h)
        h = self.out(h)
        return h


def ensure_multipliers(width_multipliers: Sequence[int]) -> None:
    """Check the ``width_multipliers`` of :func:`unet`.

    Raises:
        ValueError: if they are not a list of positive integers.
    """
    several = isinstance(width_multipliers, Sequence) and len(width_multipliers) > 0
    ensure(several, f"width_multipliers must be a list of integers, got {width_multipliers!r}.")
    for multiplier in width_multipliers:
        ensure_counts(1, DEEPEST, width_multipliers=multiplier)


@measured
def unet(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 32,
    width_multipliers: Sequence[int] = (1, 2, 2, 2),
    blocks: int = 2,
    dropout: float = 0.0,
    attention: int = ATTENTION_SIDE,
) -> UNet:
    """A U-Net that halves the image as often as possible, with attention at one resolution and in the middle.

    Args:
        in_shape: ``(C, H, W)`` of the input, any size.
        out_shape: ``(C', H, W)`` of the output.
        width: base number of channels.
        width_multipliers: channels at each resolution in multiples of ``width``, from the highest to the lowest
            resolution; the last one repeats.
        blocks: number of residual blocks at each resolution.
        dropout: see :class:`UNet`.
        attention: the first resolution whose longer side is at most this has attention.

    Raises:
        ValueError: if the two shapes differ in height or width, a number is out of range, or the network does not fit
            into memory.

    >>> net = unet((1, 8, 8), (2, 8, 8), width=8)
    >>> net(torch.zeros(3, 1, 8, 8), torch.ones(3)).shape
    torch.Size([3, 2, 8, 8])
    """
    same_size = tuple(in_shape[1:]) == tuple(out_shape[1:])
    ensure(same_size, f"out_shape={tuple(out_shape)} must have the height and width of in_shape={tuple(in_shape)}.")
    ensure_counts(1, WIDEST, width=width, attention=attention)
    ensure_counts(1, DEEPEST, blocks=blocks)
    ensure_numbers(at_least=0, below=1, dropout=dropout)
    ensure_multipliers(width_multipliers)
    levels = 1 + halvings(in_shape[1], in_shape[2])
    width_multipliers = [*width_multipliers, *[width_multipliers[-1]] * levels][:levels]
    fits = [max(in_shape[1:]) // 2**level <= attention for level in range(levels)]
    attend = [fit and not any(fits[:level]) for level, fit in enumerate(fits)]
    return UNet(in_shape[0], out_shape[0], [width * m for m in width_multipliers], attend, blocks, dropout)
