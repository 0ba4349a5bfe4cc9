"""Coupling layers: one part of x stays, the other moves by a map whose parameters a network computes from what stays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure
from genmodels.networks.factory import NetworkFactory
from genmodels.transforms.base import Transform
from genmodels.transforms.conditional import BoundedAffine, ConditionalMapFactory


class Coupling(Transform):
    """``z = (x_s, g(x_m; θ(x_s)))`` with a network θ and an invertible map g (NICE: Dinh et al. 2015, §3.2).

    The Jacobian is block triangular, so that ``log |det dz/dx| = log |det dg/dx_m|`` whatever the network.

    A subclass says which part stays, ``x_s``, and which moves, ``x_m``.

    Args:
        stays: shape of one ``x_s``.
        moves: shape of one ``x_m``, of the same resolution.
        network: makes θ; its output holds the map's parameters one after another along the channels.
        conditional_map: makes g.
    """

    def __init__(
        self,
        stays: Sequence[int],
        moves: Sequence[int],
        network: NetworkFactory,
        conditional_map: ConditionalMapFactory,
    ) -> None:
        super().__init__()
        channels, *resolution = moves
        self.map = conditional_map(moves)
        self.network = network(stays, (self.map.params_per_dim * channels, *resolution))

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``x_s [B, *stays]`` and ``x_m [B, *moves]`` of ``x [B, *shape]``."""

    @abstractmethod
    def join(self, stays: Tensor, moves: Tensor) -> Tensor:
        """Inverse of :meth:`split`."""

    def log_det(self, terms: Tensor) -> Tensor:
        """``log |det dz/dx| [B]`` from the map's terms ``[B, *moves]``: their sum over the dimensions that move."""
        return terms.flatten(1).sum(1)

    def params(self, stays: Tensor) -> Tensor:
        """``θ(x_s) [B, P, *moves]``, in the dtype of ``x_s`` whatever precision the network runs in."""
        out: Tensor = self.network(stays).to(stays.dtype)
        return out.unflatten(1, (self.map.params_per_dim, -1))

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stays, moves = self.split(x)
        moved, terms = self.map.encode(moves, self.params(stays))
        return self.join(stays, moved), self.log_det(terms)

    @override
    def decode(self, z: Tensor) -> Tensor:
        stays, moved = self.split(z)
        return self.join(stays, self.map.decode(moved, self.params(stays)))


class CheckerboardCoupling(Coupling):
    """Coupling between the two colors of a checkerboard (RealNVP, eq. 9); on a vector, between odd and even indices.

    ``z = b x + (1 - b) g(x; θ(b x))`` with the mask ``b``, 1 where a dimension stays as it is. The network sees zeros
    where dimensions move, and what it says of those that stay is not used. The map must be elementwise.

    Args:
        shape: shape of one example, ``(C, H, W)`` or ``(D,)``.
        network: makes the coupling network.
        parity: which color stays as it is, 0 or 1; alternate it.
        conditional_map: makes the map of the dimensions that move.
    """

    mask: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        network: NetworkFactory,
        parity: int,
        conditional_map: ConditionalMapFactory = BoundedAffine,
    ) -> None:
        super().__init__(shape, shape, network, conditional_map)
        axes = shape[1:] or shape
        index = torch.stack(torch.meshgrid(*map(torch.arange, axes), indexing="ij")).sum(0)
        self.register_buffer("mask", ((index + parity) % 2 == 0).expand(tuple(shape)).clone(), persistent=False)

    @override
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mask * x, x

    @override
    def join(self, stays: Tensor, moves: Tensor) -> Tensor:
        return torch.where(self.mask, stays, moves)

    @override
    def log_det(self, terms: Tensor) -> Tensor:
        return super().log_det(~self.mask * terms)


class ChannelCoupling(Coupling):
    """Coupling between the first and the second half of the channels (RealNVP, eq. 7-8), or of a vector.

    The network sees the half that stays, and nothing else.

    Args:
        shape: shape of one example, at least two channels.
        network: makes the coupling network.
        parity: which half stays as it is, 0 the first or 1 the second; alternate it.
        conditional_map: makes the map of the half that moves.

    Raises:
        ValueError: for fewer than two channels.
    """

    def __init__(
        self,
        shape: Sequence[int],
        network: NetworkFactory,
        parity: int,
        conditional_map: ConditionalMapFactory = BoundedAffine,
    ) -> None:
        channels, *resolution = shape
        ensure(channels >= 2, f"shape must have at least two channels to couple, got {tuple(shape)}.")
        sizes = [channels - channels // 2, channels // 2]
        stays, moves = sizes if parity == 0 else reversed(sizes)
        super().__init__((stays, *resolution), (moves, *resolution), network, conditional_map)
        self.sizes = sizes
        self.first_stays = parity == 0

    @override
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = torch.split(x, self.sizes, dim=1)
        return (first, second) if self.first_stays else (second, first)

    @override
    def join(self, stays: Tensor, moves: Tensor) -> Tensor:
        return torch.cat((stays, moves) if self.first_stays else (moves, stays), dim=1)
