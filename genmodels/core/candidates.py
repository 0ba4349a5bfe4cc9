"""Weighted candidates in groups of C, of which one is chosen from each group."""

from __future__ import annotations

import torch
from torch import Tensor


def chosen(log_weights: Tensor, candidates: int) -> Tensor:
    """Indices ``[N]`` of one candidate of each group, drawn with probabilities in proportion to the weights.

    The draw follows the law that the weights aim at ever more closely as C grows (sampling importance resampling: Rubin
    1988).

    Args:
        log_weights: ``[N C]`` in nats, the candidates of a group one after another.
        candidates: C.

    >>> chosen(torch.tensor([0.0, -1e4, -1e4, 0.0]), 2)
    tensor([0, 3])
    """
    grouped = log_weights.view(-1, candidates)
    index = torch.multinomial(torch.softmax(grouped, 1), 1).flatten()
    return torch.arange(len(grouped), device=index.device) * candidates + index
