"""Multi-scale architecture: trade resolution for channels, and let half of them go at every scale (RealNVP §3.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from genmodels.transforms.base import Transform


class Squeeze(Transform):
    """``[B, C, H, W]`` to ``[B, 4C, H/2, W/2]``: every 2 x 2 square of pixels becomes channels (RealNVP §3.6).

    Channels are ordered by position first, so that either half of them holds one row of the square in every color.
    """

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A permutation of dimensions: ``log_det = 0``."""
        batch, channels, height, width = x.shape
        squares = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return squares.reshape(batch, 4 * channels, height // 2, width // 2), x.new_zeros(batch)

    def decode(self, z: Tensor) -> Tensor:
        """``[B, 4C, H/2, W/2]`` to ``[B, C, H, W]``."""
        batch, channels, height, width = z.shape
        squares = z.reshape(batch, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
        return squares.reshape(batch, channels // 4, 2 * height, 2 * width)


class Flatten(Transform):
    """``[B, *shape]`` to ``[B, D]``.

    Args:
        shape: shape of one example.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Row by row: ``log_det = 0``."""
        return x.flatten(1), x.new_zeros(x.shape[0])

    def decode(self, z: Tensor) -> Tensor:
        """``[B, D]`` to ``[B, *shape]``."""
        return z.reshape(-1, *self.shape)


class FactorOut(Transform):
    """First half of the channels straight into the code, second half on to the next scale (RealNVP, eq. 14-16).

    All scales end in one flat code ``[B, D]``, this scale's share first, so that the prior is one N(0, I).

    Args:
        shape: shape of one example, an even number of channels.
        rest: transform of the second half, ``[B, C/2, H, W]`` to ``[B, D/2]``.
    """

    def __init__(self, shape: Sequence[int], rest: Transform) -> None:
        super().__init__()
        self.half_shape = (shape[0] // 2, *shape[1:])
        self.rest = rest

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, C, H, W]`` to ``[B, D]``; the log-determinant is that of ``rest``."""
        out, rest = x.chunk(2, dim=1)
        z, log_det = self.rest(rest)
        return torch.cat([out.flatten(1), z], dim=1), log_det

    def decode(self, z: Tensor) -> Tensor:
        """``[B, D]`` to ``[B, C, H, W]``."""
        size = math.prod(self.half_shape)
        out, rest = z[:, :size], z[:, size:]
        return torch.cat([out.reshape(-1, *self.half_shape), self.rest.decode(rest)], dim=1)

    def initialize(self, x: Tensor) -> Tensor:
        """Hand ``rest`` its half."""
        out, rest = x.chunk(2, dim=1)
        return torch.cat([out.flatten(1), self.rest.initialize(rest)], dim=1)
