"""The network of an energy, a scalar without a constant."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from genmodels.networks.convnet import encoder
from genmodels.networks.factory import measured


@measured
def energy(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 32,
    blocks: int = 1,
    depth: int = 2,
    slope: float | None = None,
) -> nn.Module:
    """:func:`genmodels.networks.convnet.encoder` without the bias of its last layer, from data to ``[B, *out_shape]``.

    Adding a constant to an energy changes neither its density nor any gradient.

    Raises:
        ValueError: see :func:`genmodels.networks.convnet.encoder`.

    >>> import torch
    >>> energy((1, 8, 8), (1,), width=4)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 1])
    """
    network = encoder(in_shape, out_shape, width, blocks, depth, slope)
    *_, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    last.register_parameter("bias", None)
    return network
