"""Weighted candidates in groups of C: one is chosen from each group, or the groups are resampled.

Rows ``[N C, ...]`` hold the C candidates of N groups one after another, with log-weights ``[N C]`` in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor


def chosen(log_weights: Tensor, candidates: int) -> Tensor:
    """Indices ``[N]`` of one candidate of each group, drawn with probabilities in proportion to the weights.

    >>> chosen(torch.tensor([0.0, -1e4, -1e4, 0.0]), 2)
    tensor([0, 3])
    """
    grouped = log_weights.view(-1, candidates)
    index = torch.multinomial(torch.softmax(grouped, 1), 1).flatten()
    return torch.arange(len(grouped), device=index.device) * candidates + index


def resampled(log_weights: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
    """Indices ``[N C]`` of candidates that survive, and their new log-weights ``[N C]``, of each group alone.

    A group whose effective sample size has fallen below C / 2 is drawn anew by systematic resampling, after which its
    weights are equal and have the mean that they had; other groups stay as they are.

    >>> resampled(torch.tensor([0.0, -1e4, 0.0, 0.0]), 2)
    (tensor([0, 0, 2, 3]), tensor([-0.6931, -0.6931,  0.0000,  0.0000]))
    """
    grouped = log_weights.view(-1, candidates)
    n = len(grouped)
    p = torch.softmax(grouped.double(), 1)
    poor = 1 / p.square().sum(1, keepdim=True) < candidates / 2 + 1e-9
    grid = (torch.arange(candidates, device=p.device) + torch.rand(n, 1, dtype=p.dtype, device=p.device)) / candidates
    drawn = torch.searchsorted(p.cumsum(1), grid, right=True).clamp(max=candidates - 1)
    index = torch.where(poor, drawn, torch.arange(candidates, device=p.device))
    mean = torch.logsumexp(grouped, 1, keepdim=True) - torch.log(torch.tensor(float(candidates)))
    index = index + torch.arange(n, device=p.device)[:, None] * candidates
    return index.flatten(), torch.where(poor, mean, grouped).flatten()
