"""The transforms of a multi-scale architecture (RealNVP: Dinh et al. 2017, §3.6, arXiv:1605.08803)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure
from genmodels.transforms.base import Transform


class Squeeze(Transform):
    """Map ``[B, C, H, W]`` with even H and W to ``[B, 4C, H/2, W/2]``: each 2 x 2 square of pixels becomes channels.

    It only reorders dimensions, so that the log-determinant is 0. Channels are ordered by position first, so that
    each half of them contains one row of the square in all colors.
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
    """Map ``[B, *shape]`` to ``[B, D]`` in row-major order; the log-determinant is 0.

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
    """The second half of the channels becomes code, the first half is passed to the next scale (RealNVP, eq. 14-16).

    After an odd number of channel-wise couplings the second half is the one that moved last, given the first: what is
    factored out has a distribution given what is passed on. The other order would spend a coupling on the reverse.

    The codes of all scales are concatenated to ``[B, D]``, this scale's first, for a single base distribution.

    Args:
        shape: shape of one example, with an even number of channels.
        next_scale: transform of the first half, ``[B, C/2, H, W]`` to ``[B, D/2]``.

    Raises:
        ValueError: if the number of channels is odd.
    """

    def __init__(self, shape: Sequence[int], next_scale: Transform) -> None:
        super().__init__()
        ensure(shape[0] % 2 == 0, f"shape must have an even number of channels, got {tuple(shape)}.")
        self.half_shape = (shape[0] // 2, *shape[1:])
        self.next_scale = next_scale

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z [B, D]`` of ``x [B, C, H, W]``; the log-determinant is that of ``next_scale``."""
        rest, out = x.chunk(2, dim=1)
        z, log_det = self.next_scale(rest)
        return torch.cat([out.flatten(1), z], dim=1), log_det

    def decode(self, z: Tensor) -> Tensor:
        """``x [B, C, H, W]`` of ``z [B, D]``."""
        size = math.prod(self.half_shape)
        out, rest = z[:, :size], z[:, size:]
        return torch.cat([self.next_scale.decode(rest), out.reshape(-1, *self.half_shape)], dim=1)

    @override
    def initialize(self, x: Tensor) -> Tensor:
        rest, out = x.chunk(2, dim=1)
        return torch.cat([out.flatten(1), self.next_scale.initialize(rest)], dim=1)
