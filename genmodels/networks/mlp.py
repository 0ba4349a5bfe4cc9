"""The multilayer perceptron, from any shape to any shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from genmodels.errors import ensure_counts
from genmodels.networks.factory import DEEPEST, measured


@measured
def mlp(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 256,
    depth: int = 2,
    activation: Callable[[], nn.Module] = nn.SiLU,
) -> nn.Sequential:
    """Fully connected network from ``[B, *in_shape]`` to ``[B, *out_shape]``.

    Args:
        in_shape: shape of one input, which is flattened.
        out_shape: shape of one output.
        width: units of a hidden layer.
        depth: number of hidden layers; 0 is one affine map.
        activation: factory of the nonlinearity after each hidden layer.

    Raises:
        ValueError: if width is less than 1, depth is negative, or the network does not fit into memory.

    >>> import torch
    >>> mlp((1, 8, 8), (3, 2), width=16)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 3, 2])
    """
    ensure_counts(width=width)
    ensure_counts(0, DEEPEST, depth=depth)
    widths = [math.prod(in_shape), *[width] * depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    layers += [nn.Linear(widths[-1], math.prod(out_shape)), nn.Unflatten(1, tuple(out_shape))]
    return nn.Sequential(*layers)
