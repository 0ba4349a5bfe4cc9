"""Networks of energies, scalars without a constant: adding one would change neither the density nor any gradient."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from genmodels.errors import ensure_counts
from genmodels.networks.convnet import encoder
from genmodels.networks.factory import DEEPEST, WIDEST, measured
from genmodels.networks.mlp import ensure_slope, steep_mlp


@measured
def mlp_energy(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 256,
    depth: int = 3,
    slope: float | None = None,
) -> nn.Module:
    """Fully connected network from ``[B, *in_shape]``, images too, to ``[B, *out_shape]``, without a last bias.

    Args:
        in_shape: ``(C, H, W)`` or ``(D,)``.
        out_shape: ``(1,)``.
        width: units of a hidden layer.
        depth: number of hidden layers.
        slope: for vectors, the initial slope of the first layer of ReLUs, see :func:`genmodels.networks.mlp.mlp`;
            ``None`` for SiLUs in PyTorch's initialization, as for images.

    Raises:
        ValueError: if width is less than 1, depth is negative, slope is out of range, or the network does not fit into
            memory.

    >>> import torch
    >>> mlp_energy((1, 8, 8), (1,), width=4)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 1])
    """
    ensure_counts(1, WIDEST, width=width)
    ensure_counts(0, DEEPEST, depth=depth)
    ensure_slope(slope)
    return without_constant(steep_mlp(in_shape, out_shape, width, depth, slope if len(in_shape) == 1 else None))


@measured
def convnet_energy(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 16,
    blocks: int = 1,
    depth: int = 3,
    slope: float | None = None,
) -> nn.Module:
    """:func:`genmodels.networks.convnet.encoder` to ``[B, *out_shape]``, without batch normalization or a last bias.

    Arguments are those of the encoder.

    Raises:
        ValueError: see :func:`genmodels.networks.convnet.encoder`.

    >>> import torch
    >>> convnet_energy((1, 8, 8), (1,), width=4)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 1])
    """
    return without_constant(encoder(in_shape, out_shape, width, blocks, depth, slope))


def without_constant(network: nn.Module) -> nn.Module:
    """``network`` without the bias of its last linear layer."""
    *_, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    last.register_parameter("bias", None)
    return network
