"""Coupling layers: one part of x stays unchanged and determines, through a network, the map of the other part."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure
from genmodels.networks.factory import NetworkFactory
from genmodels.transforms.base import Transform
from genmodels.transforms.conditional import BoundedAffine, ConditionalMapFactory


class Coupling(Transform):
    """``z = (x_s, g(x_m; θ(x_s)))`` with a network θ and an invertible map g (NICE: Dinh et al. 2015, §3.2).

    The Jacobian is block triangular, so that ``log |det dz/dx| = log |det dg/dx_m|`` for any network.

    A subclass defines which part stays, ``x_s``, and which moves, ``x_m``.

    Args:
        stays: shape of one ``x_s``.
        moves: shape of one ``x_m``, of the same resolution.
        network: factory of θ, whose output concatenates the parameters of the map along the channels.
        conditional_map: factory of g.
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
        """Inverse of :meth:`split`: ``x [B, *shape]``."""

    def log_det(self, terms: Tensor) -> Tensor:
        """``log |det dz/dx| [B]`` in nats: the sum of the map's ``terms [B, *moves]`` over the dimensions that move."""
        return terms.flatten(1).sum(1)

    def params(self, stays: Tensor) -> Tensor:
        """``θ(x_s) [B, P, *moves]``, in the dtype of ``x_s``, under autocast too."""
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
    """Coupling between the two colors of a checkerboard of pixels (RealNVP: Dinh et al. 2017, eq. 9, arXiv:1605.08803).

    ``z = b x + (1 - b) g(x; θ(b x))`` with the mask ``b``, 1 where a pixel stays. Since convolutions need the whole
    grid, the input of the network is zero where pixels move, and its output is ignored where they stay. The map must
    act on every pixel by itself.

    Args:
        shape: shape of one example, ``(C, H, W)``.
        network: factory of the coupling network.
        parity: which color stays, 0 (that of the top left pixel) or 1; successive layers alternate.
        conditional_map: factory of the map of the pixels that move.

    Raises:
        ValueError: if shape is not ``(C, H, W)``.
    """

    mask: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        network: NetworkFactory,
        parity: int,
        conditional_map: ConditionalMapFactory = BoundedAffine,
    ) -> None:
        ensure(len(shape) == 3, f"shape must be (C, H, W) for a checkerboard, got {tuple(shape)}.")
        super().__init__(shape, shape, network, conditional_map)
        rows, columns = (torch.arange(side) for side in shape[1:])
        stays = (rows[:, None] + columns + parity) % 2 == 0
        self.register_buffer("mask", stays.expand(tuple(shape)).clone(), persistent=False)

    @override
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(self.mask, x, 0.0), x

    @override
    def join(self, stays: Tensor, moves: Tensor) -> Tensor:
        return torch.where(self.mask, stays, moves)

    @override
    def log_det(self, terms: Tensor) -> Tensor:
        return super().log_det(torch.where(self.mask, 0.0, terms))


class ChannelCoupling(Coupling):
    """Coupling between the first and the second half of the channels (RealNVP, eq. 7-8), or of a vector.

    The input of the network is the half that stays.

    Args:
        shape: shape of one example, with at least two channels.
        network: factory of the coupling network.
        parity: which half stays, 0 for the first, 1 for the second; successive layers alternate.
        conditional_map: factory of the map of the half that moves.

    Raises:
        ValueError: if there are fewer than two channels.
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
        halves = channels - channels // 2, channels // 2
        stays, moves = halves if parity == 0 else reversed(halves)
        super().__init__((stays, *resolution), (moves, *resolution), network, conditional_map)
        self.first_stays = parity == 0

    @override
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.chunk(2, dim=1)
        return (first, second) if self.first_stays else (second, first)

    @override
    def join(self, stays: Tensor, moves: Tensor) -> Tensor:
        return torch.cat((stays, moves) if self.first_stays else (moves, stays), dim=1)


class OddEvenCoupling(ChannelCoupling):
    """Coupling between the dimensions of odd and of even index of a vector (NICE: Dinh et al. 2015, §5.1).

    With the even ones sorted before the odd ones, it is a coupling between two halves. In a row of such couplings only
    the first has to sort the dimensions, and only the last to restore their order.

    Args:
        shape: shape of one example, ``(D,)`` with at least two dimensions.
        network: factory of the coupling network.
        parity: which indices stay, the even ones for 0, the odd ones for 1; successive layers alternate.
        conditional_map: factory of the map of the half that moves.
        sorts: whether x is in the order of the data, and not yet sorted.
        restores: whether z is in the order of the data again.

    Raises:
        ValueError: if shape is not ``(D,)`` with at least two dimensions.
    """

    def __init__(
        self,
        shape: Sequence[int],
        network: NetworkFactory,
        parity: int,
        conditional_map: ConditionalMapFactory = BoundedAffine,
        sorts: bool = True,
        restores: bool = True,
    ) -> None:
        vector = len(shape) == 1 and shape[0] >= 2
        ensure(vector, f"shape must be (D,) with at least two dimensions, got {tuple(shape)}.")
        super().__init__(shape, network, parity, conditional_map)
        several = shape[0] > 2  # two are in order as they are
        self.sorts, self.restores = sorts and several, restores and several

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = super().encode(evens_first(x) if self.sorts else x)
        return interleaved(z) if self.restores else z, log_det

    @override
    def decode(self, z: Tensor) -> Tensor:
        x = super().decode(evens_first(z) if self.restores else z)
        return interleaved(x) if self.sorts else x


def evens_first(x: Tensor) -> Tensor:
    """The dimensions ``[B, D]``, those of even index before those of odd index, counted from 0.

    >>> evens_first(torch.arange(5)[None]).tolist()
    [[0, 2, 4, 1, 3]]
    """
    return transposed(x, (-1, 2))


def interleaved(x: Tensor) -> Tensor:
    """Inverse of :func:`evens_first`."""
    return transposed(x, (2, -1))


def transposed(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The dimensions ``[B, D]`` written into a matrix by its rows, whose last entry is free if D is odd; by columns."""
    if x.shape[1] % 2:
        return transposed(F.pad(x, [0, 1]), size)[:, :-1]
    return x.unflatten(1, size).mT.flatten(1)
