"""Multi-scale architecture: trade resolution for channels, and factor out half of them at every scale (RealNVP §3.6).

Dinh et al. 2017, arXiv:1605.08803.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure
from genmodels.transforms.base import Transform


class Squeeze(Transform):
    """``[B, C, H, W]`` with even H and W to ``[B, 4C, H/2, W/2]``: each 2 x 2 square of pixels becomes channels.

    It only reorders dimensions, so that the log-determinant is 0. Channels are ordered by position first, so that
    either half of them holds one row of the square in every color.
    """

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, channels, height, width = x.shape
        squares = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4)
        return squares.reshape(batch, 4 * channels, height // 2, width // 2), x.new_zeros(batch)

    @override
    def decode(self, z: Tensor) -> Tensor:
        batch, channels, height, width = z.shape
        squares = z.reshape(batch, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
        return squares.reshape(batch, channels // 4, 2 * height, 2 * width)


class Flatten(Transform):
    """``[B, *shape]`` to ``[B, D]``, the last axis fastest; the log-determinant is 0.

    Args:
        shape: shape of one example.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.new_zeros(x.shape[0])

    @override
    def decode(self, z: Tensor) -> Tensor:
        return z.reshape(-1, *self.shape)


class FactorOut(Transform):
    """The first half of the channels becomes code, the second half goes on to the next scale (RealNVP, eq. 14-16).

    All scales end in one flat code ``[B, D]``, this scale's share first, so that one base distribution covers them.

    Args:
        shape: shape of one example, an even number of channels.
        rest: transform of the second half, ``[B, C/2, H, W]`` to ``[B, D/2]``.

    Raises:
        ValueError: for an odd number of channels.
    """

    def __init__(self, shape: Sequence[int], rest: Transform) -> None:
        super().__init__()
        ensure(shape[0] % 2 == 0, f"shape must have an even number of channels, got {tuple(shape)}.")
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

    @override
    def initialize(self, x: Tensor) -> Tensor:
        out, rest = x.chunk(2, dim=1)
        return torch.cat([out.flatten(1), self.rest.initialize(rest)], dim=1)
