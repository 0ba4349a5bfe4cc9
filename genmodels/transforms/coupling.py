"""Affine coupling layers: one part of x is scaled and shifted by networks that see only the other part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genmodels.networks.factory import NetworkFactory
from genmodels.transforms.base import Transform


class BoundedAffine(nn.Module):
    """Log-scale and shift as functions of a context: ``s = scale * tanh(raw)``, ``t`` unbounded (RealNVP §4.1).

    ``scale`` is learned per channel. It bounds ``|s|``, so that neither direction of a coupling can blow up. Both
    outputs have the dtype of the context, whatever precision the network runs in.

    Args:
        in_shape: shape of one context.
        out_shape: shape of one ``s`` and of one ``t``.
        network: makes the network.
    """

    def __init__(self, in_shape: Sequence[int], out_shape: Sequence[int], network: NetworkFactory) -> None:
        super().__init__()
        channels, *resolution = out_shape
        self.network = network(in_shape, (2 * channels, *resolution))
        self.scale = nn.Parameter(torch.ones(channels, *[1] * len(resolution)))

    def forward(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """``s`` and ``t``, each ``[B, *out_shape]``."""
        raw, shift = self.network(context).to(context.dtype).chunk(2, dim=1)
        return self.scale * torch.tanh(raw), shift


class CheckerboardCoupling(Transform):
    """Coupling between the two colors of a checkerboard (RealNVP, eq. 9); on a vector, between odd and even indices.

    ``z = b x + (1 - b) (x exp(s(b x)) + t(b x))`` with the mask ``b``, 1 where a dimension stays as it is.

    Args:
        shape: shape of one example, ``(C, H, W)`` or ``(D,)``.
        network: makes the coupling network.
        parity: which color stays as it is, 0 or 1; alternate it.
    """

    mask: Tensor

    def __init__(self, shape: Sequence[int], network: NetworkFactory, parity: int) -> None:
        super().__init__()
        axes = shape[1:] or shape
        index = torch.stack(torch.meshgrid(*map(torch.arange, axes), indexing="ij")).sum(0)
        self.register_buffer("mask", ((index + parity) % 2 == 0).float().expand(tuple(shape)).clone(), persistent=False)
        self.affine = BoundedAffine(shape, shape, network)

    def masked_affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``s`` and ``t`` from the dimensions that stay, zero where they stay."""
        log_scale, shift = self.affine(self.mask * x)
        return (1 - self.mask) * log_scale, (1 - self.mask) * shift

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``log_det`` is the sum of ``s`` over the dimensions that move."""
        log_scale, shift = self.masked_affine(x)
        return x * torch.exp(log_scale) + shift, log_scale.flatten(1).sum(1)

    def decode(self, z: Tensor) -> Tensor:
        """``(z - t) exp(-s)``: the dimensions that stayed give back the same ``s`` and ``t``."""
        log_scale, shift = self.masked_affine(z)
        return (z - shift) * torch.exp(-log_scale)


class ChannelCoupling(Transform):
    """Coupling between the first and the second half of the channels (RealNVP, eq. 7-8), or of a vector.

    Args:
        shape: shape of one example, at least two channels.
        network: makes the coupling network.
        parity: which half stays as it is, 0 the first or 1 the second; alternate it.
    """

    def __init__(self, shape: Sequence[int], network: NetworkFactory, parity: int) -> None:
        super().__init__()
        channels, *resolution = shape
        self.first_stays = parity == 0
        self.sizes = [channels - channels // 2, channels // 2]
        stays, moves = self.sizes if self.first_stays else reversed(self.sizes)
        self.affine = BoundedAffine((stays, *resolution), (moves, *resolution), network)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The half that stays and the half that moves."""
        first, second = torch.split(x, self.sizes, dim=1)
        return (first, second) if self.first_stays else (second, first)

    def join(self, stays: Tensor, moves: Tensor) -> Tensor:
        """Inverse of :meth:`split`."""
        return torch.cat((stays, moves) if self.first_stays else (moves, stays), dim=1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``log_det`` is the sum of ``s``."""
        stays, moves = self.split(x)
        log_scale, shift = self.affine(stays)
        return self.join(stays, moves * torch.exp(log_scale) + shift), log_scale.flatten(1).sum(1)

    def decode(self, z: Tensor) -> Tensor:
        """``(z - t) exp(-s)`` on the half that moved."""
        stays, moves = self.split(z)
        log_scale, shift = self.affine(stays)
        return self.join(stays, (moves - shift) * torch.exp(-log_scale))
