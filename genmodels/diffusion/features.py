"""What a network sees of integer data under a little noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def lattice_features(x_t: Tensor, levels: int) -> Tensor:
    """``x_t [B, C, ...]`` followed by its sines and cosines with periods of one and of two levels: ``[B, 5 C, ...]``.

    Where noise is small against the spacing of the levels, x_0 is x_t rounded, which a network is slow to learn; these
    waves show it the nearest level (Kingma et al. 2021, §5.3 and appendix C, arXiv:2107.00630).

    >>> lattice_features(torch.zeros(2, 3, 8, 8), levels=17).shape
    torch.Size([2, 15, 8, 8])
    """
    per_level = math.pi * (levels - 1) * x_t  # levels are 2 / (levels - 1) apart on [-1, 1]
    waves = [wave(angle) for angle in (per_level, per_level / 2) for wave in (torch.sin, torch.cos)]
    return torch.cat([x_t, *waves], dim=1)
