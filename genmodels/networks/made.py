"""MADE: a fully connected network whose outputs for dimension i depend on the inputs before i alone.

Germain et al. 2015, https://arxiv.org/abs/1502.03509. Every unit has a degree d, the number of the first inputs that it
may depend on. Input i has degree i, hidden units have 1 .. D - 1. A hidden unit is connected to the units of the layer
before whose degree is at most its own (eq. 8), and outputs for i to the last hidden units of degree below i (eq. 9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from genmodels.errors import ensure, ensure_counts
from genmodels.networks.factory import DEEPEST, measured
from genmodels.networks.init import zero_init


class MaskedLinear(nn.Linear):
    """``W x + b`` with the entries of W that ``mask`` leaves.

    Args:
        mask: ``[units, inputs]``, true where a unit is connected to an input.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight), persistent=False)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.mask * self.weight, self.bias)


class MADE(nn.Module):
    """Parameters ``θ_i(x_1 .. x_{i-1})`` of all dimensions i in one pass, ``[B, D] -> [B, P, D]``.

    Hidden units are sorted by degree, and degrees are spread evenly over 1 .. D - 1, so that with fewer units than
    degrees every dimension still depends on nearly all before it. The outputs are initialized to zero.

    Args:
        dims: D.
        params_per_dim: P.
        width: units of a hidden layer.
        depth: number of hidden layers; 0 is one affine map.
    """

    def __init__(self, dims: int, params_per_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.dims, self.params_per_dim = dims, params_per_dim
        inputs = torch.arange(1, dims + 1)
        hidden = 1 + torch.arange(width) * (dims - 1) // width
        self.degrees = [inputs, *[hidden] * depth]
        self.hidden = nn.ModuleList(MaskedLinear(d[:, None] >= before) for before, d in pairwise(self.degrees))
        self.out = zero_init(MaskedLinear(inputs.repeat(params_per_dim)[:, None] > self.degrees[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """``θ [B, P, D]`` of ``x [B, D]``."""
        for layer in self.hidden:
            x = torch.relu_(layer(x))
        return self.out(x).unflatten(1, (self.params_per_dim, self.dims))

    @torch.no_grad()
    def unroll(self, batch: int, value: Callable[[int, Tensor], Tensor]) -> Tensor:
        """``x [B, D]`` whose dimensions follow one from another, ``x_i = value(i, θ_i(x_1 .. x_{i-1}))``.

        As soon as x_i is known, so are the hidden units of degree i, which see nothing later. Each step computes these
        alone, from the sorted units before them, and every weight is used once: D steps cost no more than one pass.

        Args:
            batch: B.
            value: maps i, counted from 0, and ``θ_i [B, P]`` to ``x_i [B]``. No gradients pass through it.
        """
        up_to = [torch.searchsorted(d, torch.arange(self.dims + 1), right=True).tolist() for d in self.degrees]
        units = [self.out.weight.new_empty(len(d), batch) for d in self.degrees]  # x, and the hidden layers
        weight, bias = (p.unflatten(0, (self.params_per_dim, self.dims)) for p in (self.out.weight, self.out.bias))
        for i in range(self.dims):
            seen = up_to[-1][i]
            units[0][i] = value(i, torch.addmm(bias[:, i, None], weight[:, i, :seen], units[-1][:seen]).T)
            for depth, layer in enumerate(cast("Iterable[MaskedLinear]", self.hidden)):
                seen, new = up_to[depth][i + 1], slice(*up_to[depth + 1][i : i + 2])
                inputs = torch.addmm(layer.bias[new, None], layer.weight[new, :seen], units[depth][:seen])
                units[depth + 1][new] = torch.relu(inputs)
        return units[0].T


MADEFactory = Callable[[Sequence[int], Sequence[int]], MADE]
"""``((D,), (P, D)) -> MADE`` from ``[B, D]`` to ``[B, P, D]``."""


@measured
def made(in_shape: Sequence[int], out_shape: Sequence[int], width: int = 256, depth: int = 1) -> MADE:
    """:class:`MADE` from ``[B, D]`` to ``[B, P, D]``.

    Args:
        in_shape: ``(D,)``.
        out_shape: ``(P, D)``.
        width: units of a hidden layer.
        depth: number of hidden layers; 0 is one affine map.

    Raises:
        ValueError: if width is less than 1, depth is negative, the shapes are others, or the network does not fit into
            memory.

    >>> made((3,), (2, 3), width=8)(torch.zeros(5, 3)).shape
    torch.Size([5, 2, 3])
    """
    ensure_counts(width=width)
    ensure_counts(0, DEEPEST, depth=depth)
    fit = len(in_shape) == 1 and len(out_shape) == 2 and out_shape[1] == in_shape[0]
    ensure(fit, f"out_shape must be (P, D) for in_shape (D,), got {tuple(out_shape)} for {tuple(in_shape)}.")
    return MADE(in_shape[0], out_shape[0], width, depth)
