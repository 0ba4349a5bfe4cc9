"""Distances between two sets of points."""

from __future__ import annotations

import torch
from torch import Tensor


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """Energy distance between the empirical distributions of ``x [n, D]`` and ``y [m, D]``: a scalar, at least 0.

    ``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` over all pairs (Székely & Rizzo 2013, eq. 6), divided by √D, which makes its
    scale independent of D. It is zero only for equal distributions, and biased upward by an amount that depends on n
    and m.

    >>> energy_distance(torch.zeros(3, 4), torch.zeros(2, 4)), energy_distance(torch.zeros(2, 4), torch.ones(2, 4))
    (tensor(0.), tensor(2.))
    """
    between, within_x, within_y = (torch.cdist(a, b).mean() for a, b in ((x, y), (x, x), (y, y)))
    return torch.div(2 * between - within_x - within_y, x.shape[1] ** 0.5)
