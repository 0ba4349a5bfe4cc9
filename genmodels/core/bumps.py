"""Bumps: overlapping functions of time that sum to one, by which a function of time is a few numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def bump_functions(steps: int, bumps: int) -> Tensor:
    """``g [T, J]``: J Gaussian bumps over the times 1 .. T, normalized to sum to one at each of them.

    Their centers are evenly spaced from 1 to T, their width is half of the spacing (Sohl-Dickstein et al. 2015, eq. 67,
    arXiv:1503.03585; the width is that of the authors' code).

    >>> bump_functions(3, 2)
    tensor([[0.8808, 0.1192],
            [0.5000, 0.5000],
            [0.1192, 0.8808]])
    """
    t, centers = torch.linspace(0, 1, steps)[:, None], torch.linspace(0, 1, bumps)
    width = 0.5 / max(bumps - 1, 1)
    return torch.softmax(-0.5 * ((t - centers) / width).square(), dim=1)
