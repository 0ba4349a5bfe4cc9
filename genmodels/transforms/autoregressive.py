"""Autoregressive layers: the dimensions before i determine, through a network, the map of dimension i."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.networks.made import MADEFactory
from genmodels.transforms.base import Transform
from genmodels.transforms.conditional import ConditionalMapFactory, Standardizing


class Autoregressive(Transform):
    """``z_i = g(x_i; θ_i(x_1 .. x_{i-1}))`` with a MADE θ and an invertible map g (MAF: Papamakarios et al. 2017, §3).

    It equals D couplings, each of which moves one dimension, from the last to the first: all see what is not yet moved.
    The Jacobian is lower triangular. All dimensions are encoded at once, and decoded one after another
    (arXiv:1705.07057).

    Args:
        dims: D.
        network: factory of θ.
        conditional_map: factory of g, which must be elementwise, without parameters of its own.
    """

    def __init__(self, dims: int, network: MADEFactory, conditional_map: ConditionalMapFactory = Standardizing) -> None:
        super().__init__()
        self.map = conditional_map((dims,))
        self.network = network((dims,), (self.map.params_per_dim, dims))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``z [B, D]`` of ``x [B, D]``, and ``log |det dz/dx| [B]`` in nats, with θ in the dtype of x."""
        z, terms = self.map.encode(x, self.network(x).to(x.dtype))
        return z, terms.sum(1)

    def decode(self, z: Tensor) -> Tensor:
        """``x [B, D]`` of ``z [B, D]``, at the cost of one pass of the network; no gradients pass through it."""

        def value(i: int, params: Tensor) -> Tensor:
            return self.map.decode(z[:, i, None], params[:, :, None].to(z.dtype))[:, 0]

        return self.network.unroll(len(z), value)


class Shuffle(Transform):
    """``z_i = x_{π(i)}``: the dimensions ``[B, D]`` in a random order π, drawn once; the log-determinant is 0.

    Args:
        dims: D.
    """

    order: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(dims))

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(x.shape[0])

    @override
    def decode(self, z: Tensor) -> Tensor:
        return z[:, self.order.argsort()]


class Reverse(Transform):
    """``z_i = x_{D+1-i}``: the dimensions ``[B, D]`` in reverse order; the log-determinant is 0."""

    @override
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(x.shape[0])

    @override
    def decode(self, z: Tensor) -> Tensor:
        return z.flip(1)
