"""Networks that depend on time in their last layer only (Sohl-Dickstein et al. 2015, appendix D, arXiv:1503.03585)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genmodels.core.bumps import bump_functions
from genmodels.errors import ensure_counts
from genmodels.networks.factory import DEEPEST, measured
from genmodels.networks.mlp import mlp


class Readout(nn.Module):
    """``y(x, t) = sum_j g_j(t) y_j(x)``: outputs of a network that does not know t, mixed by J bump functions of t.

    Args:
        features: network ``[B, *in_shape] -> [B, width]``.
        width: number of features.
        out_shape: shape of y.
        steps: T, the largest time.
        bumps: J; ``None`` for outputs of its own at every one of the T times.
    """

    basis: Tensor

    def __init__(
        self, features: nn.Module, width: int, out_shape: Sequence[int], steps: int, bumps: int | None
    ) -> None:
        super().__init__()
        self.features, self.out_shape = features, tuple(out_shape)
        readouts = steps if bumps is None else bumps
        self.register_buffer("basis", None if bumps is None else bump_functions(steps, bumps), persistent=False)
        self.weight = nn.Parameter(torch.zeros(readouts, math.prod(out_shape), width))
        self.bias = nn.Parameter(torch.zeros(readouts, math.prod(out_shape)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """``x [B, *in_shape], t [B] of 1 .. T -> [B, *out_shape]``; zero at first."""
        h: Tensor = self.features(x)
        if self.basis is None:
            y = torch.einsum("bow,bw->bo", self.weight[t - 1], h) + self.bias[t - 1]
        else:
            g = self.basis[t - 1]  # [B, J]
            y = ((g[:, :, None] * h[:, None]).flatten(1) @ self.weight.transpose(1, 2).flatten(0, 1)) + g @ self.bias
        return y.view(-1, *self.out_shape)


@measured
def readout(
    in_shape: Sequence[int],
    out_shape: Sequence[int],
    width: int = 256,
    depth: int = 2,
    bumps: int | None = 10,
    steps: int = 1000,
) -> nn.Module:
    """A fully connected network ``(x [B, *in_shape], t [B]) -> [B, *out_shape]`` whose :class:`Readout` depends on t.

    Args:
        in_shape: shape of x.
        out_shape: shape of the output.
        width: units of a hidden layer.
        depth: number of hidden layers, at least 1.
        bumps: number of bump functions of t; ``None`` for outputs of its own at every time.
        steps: T.

    Raises:
        ValueError: if a number is out of range, or the network does not fit into memory.

    >>> readout((1, 8, 8), (2, 8, 8), width=16)(torch.zeros(5, 1, 8, 8), torch.ones(5, dtype=torch.long)).shape
    torch.Size([5, 2, 8, 8])
    """
    ensure_counts(1, DEEPEST, depth=depth)
    ensure_counts(2, steps=steps)
    ensure_counts(1, 1000, optional=True, bumps=bumps)
    hidden = mlp(in_shape, (width,), width, depth - 1)
    return Readout(nn.Sequential(hidden, nn.SiLU()), width, out_shape, steps, bumps)
