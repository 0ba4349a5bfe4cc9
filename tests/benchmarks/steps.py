"""What the benchmarks beside other libraries share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Peer = tuple[nn.Module, Callable[[], Tensor], Callable[[], object]]
"""A model, its loss on the batch, and one draw of samples."""


def step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """One training step by plain Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def train() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return train


def networks_alone(widths: Sequence[int], number: int, batch: int) -> tuple[Callable[[], None], Callable[[], object]]:
    """A training step and a pass of that many equal networks without a flow: what no flow of them can be faster than.

    They are fully connected, of these widths, with random inputs and random gradients of their outputs. The step is a
    pass through each network and back, to its parameters and its input (the first one's is data), and plain Adam.
    """

    def network() -> nn.Sequential:
        layers = [part for sizes in pairwise(widths) for part in (nn.Linear(*sizes), nn.ReLU(inplace=True))]
        return nn.Sequential(*layers[:-1])

    networks = nn.ModuleList(network() for _ in range(number))
    inputs = [torch.randn(batch, widths[0], requires_grad=i > 0) for i in range(number)]
    gradients = [torch.randn(batch, widths[-1]) / batch for _ in range(number)]
    optimizer = torch.optim.Adam([*networks.parameters()], lr=1e-4)

    def forward() -> list[Tensor]:
        return [network(x) for network, x in zip(networks, inputs, strict=True)]

    def train() -> None:
        optimizer.zero_grad()
        for x in inputs:
            x.grad = None
        torch.autograd.backward(forward(), gradients)
        optimizer.step()

    return train, forward


def compared(ours: float, theirs: float, floor: float | None = None) -> tuple[str, str, str]:
    """Both times, their ratio, and the one that would be reached if only the networks took time, in ``floor``."""
    ratio = f"{theirs / ours:.2f}x faster"
    bound = "" if floor is None else f", {theirs / floor:.2f}x at most ({1e3 * floor:.1f} ms)"
    return f"{1e3 * ours:.1f} ms", f"{1e3 * theirs:.1f} ms", ratio + bound
