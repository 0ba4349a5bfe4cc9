"""Coupling by an invertible matrix: a linear map between neighboring channels, whose entries a network computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from genmodels.errors import ensure_counts
from genmodels.transforms.conditional import ConditionalMap


class TriangularFactors(ConditionalMap):
    """``z = L diag(exp s) U x + t`` in blocks of m channels, with unit triangular matrices L below and U above.

    A coupling ``(x_1, f(x_1) x_2 + t(x_1))`` by an invertible matrix f is the general linear one: NICE's has
    ``f = I`` (Dinh et al. 2015, arXiv:1410.8516), RealNVP's a diagonal f (Dinh et al. 2017, arXiv:1605.08803). Factors
    as of Glow's invertible 1x1 convolution (Kingma & Dhariwal 2018, §3.2, arXiv:1807.03039), which here depends on
    x_1, give ``log |det f| = sum s``, and an inverse by two triangular solves. Beyond the blocks f is zero. On images,
    every position has blocks of its own.

    ``s = scale tanh(raw)`` with a learned ``scale`` per channel, as in :class:`genmodels.transforms.BoundedAffine`,
    which it equals where all other entries of L and U are zero. For every channel the network computes a row of m
    entries, to the left of the diagonal those of L, on it raw, to its right those of U, and t.

    Args:
        shape: shape of one ``x``, channels first.
        block: largest m; blocks are filled from the first channel on, and the last has the rest.

    Raises:
        ValueError: if block is less than 1.
    """

    def __init__(self, shape: Sequence[int], block: int = 4) -> None:
        super().__init__(shape)
        ensure_counts(1, 64, block=block)
        channels, *resolution = shape
        self.channels = channels
        self.size = min(block, channels)
        self.params_per_dim = self.size + 1
        self.scale = nn.Parameter(torch.ones(channels, *[1] * len(resolution)))

    def blocks(self, x: Tensor) -> Tensor:
        """``x [B, C, *resolution]`` as ``[B, ceil(C/m), *resolution, m]``.

        The last block is filled up with zeros, which f maps to zeros, and which change nothing else.
        """
        missing = -self.channels % self.size
        x = F.pad(x, [0, 0] * (x.ndim - 2) + [0, missing])
        return x.unflatten(1, (-1, self.size)).movedim(2, -1)

    def unblocked(self, x: Tensor) -> Tensor:
        """Inverse of :meth:`blocks`."""
        return x.movedim(-1, 2).flatten(1, 2)[:, : self.channels]

    def factors(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The entries of L, raw and U, and ``s`` and ``t``, of ``params [B, m + 1, *shape]``.

        Returns:
            ``L + U - I`` with raw on its diagonal ``[B, ceil(C/m), *resolution, m, m]``; ``s`` and ``t [B, *shape]``.
        """
        *columns, t = params.unbind(1)
        entries = torch.stack([self.blocks(column) for column in columns], dim=-1)
        raw = self.unblocked(entries.diagonal(dim1=-2, dim2=-1))
        return entries, self.scale * torch.tanh(raw), t

    @override
    def encode(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        entries, s, t = self.factors(params)
        y = self.blocks(x)
        y = y + product(entries.triu(1), y)
        y = self.blocks(torch.exp(s)) * y
        y = y + product(entries.tril(-1), y)
        return self.unblocked(y) + t, s

    @override
    def decode(self, z: Tensor, params: Tensor) -> Tensor:
        entries, s, t = self.factors(params)
        y = self.blocks(z - t)[..., None]
        y = torch.linalg.solve_triangular(entries, y, upper=False, unitriangular=True)
        y = y * self.blocks(torch.exp(-s))[..., None]
        return self.unblocked(torch.linalg.solve_triangular(entries, y, upper=True, unitriangular=True)[..., 0])


def product(matrices: Tensor, vectors: Tensor) -> Tensor:
    """``A x [..., m]`` of ``A [..., m, m]`` and ``x [..., m]``, which stays in its precision under autocast."""
    return (matrices * vectors[..., None, :]).sum(-1)
