"""What the benchmarks beside other libraries share."""

from __future__ import annotations

from collections.abc import Callable

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
