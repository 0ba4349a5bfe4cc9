"""The multilayer perceptron, from any shape to any shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from torch import nn

from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.networks.factory import DEEPEST, measured
from genmodels.networks.init import zero_init

STEEPEST = 1000.0  # bound of slopes, against typing errors


@measured
def mlp(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 256,
    depth: int = 2,
    activation: Callable[[], nn.Module] = nn.SiLU,
    slope: float | None = None,
) -> nn.Sequential:
    """Fully connected network from ``[B, *in_shape]`` to ``[B, *out_shape]``.

    With PyTorch's initialization it starts as a smooth function, and is slow to learn edges in data of few dimensions
    (the spectral bias: Rahaman et al. 2019, arXiv:1806.08734). A ``slope`` draws the weights of the first layer from
    U(-slope/√D, slope/√D) and its biases from U(-2 slope, 2 slope), so that its hidden units start steep, and bend
    somewhere within 3.5 standard deviations of standardized inputs.

    Args:
        in_shape: shape of one input, which is flattened.
        out_shape: shape of one output.
        width: units of a hidden layer.
        depth: number of hidden layers; 0 is one affine map.
        activation: factory of the nonlinearity after each hidden layer.
        slope: initial slope of the first layer; ``None`` for PyTorch's initialization.

    Raises:
        ValueError: if width is less than 1, depth is negative, slope is out of range, or the network does not fit into
            memory.

    >>> import torch
    >>> mlp((1, 8, 8), (3, 2), width=16)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 3, 2])
    """
    ensure_counts(width=width)
    ensure_counts(0, DEEPEST, depth=depth)
    ensure_slope(slope)
    widths = [math.prod(in_shape), *[width] * depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    layers.append(nn.Linear(widths[-1], math.prod(out_shape)))
    if len(out_shape) > 1:
        layers.append(nn.Unflatten(1, tuple(out_shape)))
    if slope is not None:
        first = layers[1]
        assert isinstance(first, nn.Linear)
        nn.init.uniform_(first.weight, -slope / math.sqrt(widths[0]), slope / math.sqrt(widths[0]))
        nn.init.uniform_(first.bias, -2 * slope, 2 * slope)
    return nn.Sequential(*layers)


@measured
def coupling_mlp(in_shape: Sequence[int], out_shape: Sequence[int], width: int = 64, depth: int = 2) -> nn.Sequential:
    """Fully connected network of a coupling on vectors ``[B, *in_shape] -> [B, *out_shape]``.

    Its output is initialized to zero, so that the coupling starts as the identity (Kingma & Dhariwal 2018, §3.3,
    arXiv:1807.03039).

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        width: units of a hidden layer.
        depth: number of hidden layers.

    Raises:
        ValueError: if width is less than 1, depth is negative, or the network does not fit into memory.

    >>> import torch
    >>> coupling_mlp((1,), (2,), width=8)(torch.ones(1, 1)).tolist()
    [[0.0, 0.0]]
    """
    network = mlp(in_shape, out_shape, width, depth, partial(nn.ReLU, inplace=True))
    zero_init(next(layer for layer in reversed(network) if isinstance(layer, nn.Linear)))
    return network


@measured
def fully_connected(
    in_shape: Sequence[int], out_shape: Sequence[int], width: int = 256, depth: int = 3, slope: float | None = None
) -> nn.Module:
    """Encoder or decoder ``[B, *in_shape] -> [B, *out_shape]`` of one kind for images and vectors.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        width: units of a hidden layer.
        depth: number of hidden layers; 0 is one affine map.
        slope: from vectors to vectors, the initial slope of the first layer of ReLUs, see :func:`mlp`; ``None`` for
            SiLUs in PyTorch's initialization, as for images and for an affine map.

    Raises:
        ValueError: if width is less than 1, depth is negative, slope is out of range, or the network does not fit into
            memory.

    >>> import torch
    >>> fully_connected((1, 8, 8), (2,), width=4)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 2])
    """
    ensure_slope(slope)
    steep = depth > 0 and len(in_shape) == len(out_shape) == 1
    return steep_mlp(in_shape, out_shape, width, depth, slope if steep else None)


def ensure_slope(slope: float | None) -> None:
    """Check a ``slope`` of :func:`mlp`.

    Raises:
        ValueError: unless it is positive and at most 1000, or ``None``.
    """
    ensure_numbers(above=0, at_most=STEEPEST, optional=True, slope=slope)


def steep_mlp(
    in_shape: Sequence[int], out_shape: Sequence[int], width: int, depth: int, slope: float | None
) -> nn.Module:
    """An :func:`mlp` of ReLUs with a ``slope``; without one, of SiLUs.

    Raises:
        ValueError: see :func:`mlp`.
    """
    return mlp(in_shape, out_shape, width, depth, nn.SiLU if slope is None else nn.ReLU, slope)
