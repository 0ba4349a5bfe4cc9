"""Time conditioning: a sinusoidal embedding of time, and a residual MLP for vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genmodels.networks.init import zero_init


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of ``t`` at geometrically spaced frequencies from 1 to 1/10000 (Vaswani et al. 2017, §3.5).

    Args:
        dim: length of the embedding, even.
    """

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        self.register_buffer("frequencies", torch.logspace(0, -4, half), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """``t [B] -> [B, dim]``."""
        angle = t.float()[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class TimeEmbedding(nn.Sequential):
    """A network ``t [B] -> [B, dim]``: sinusoidal features followed by two linear layers.

    Args:
        dim: length of the embedding.
    """

    def __init__(self, dim: int) -> None:
        sinusoids = 2 * math.ceil(dim / 4)
        layers = SinusoidalEmbedding(sinusoids), nn.Linear(sinusoids, dim), nn.SiLU(), nn.Linear(dim, dim)
        super().__init__(*layers)
        self.dim = dim


class TimeResidual(nn.Module):
    """``h + f(h, time)`` with a two-layer f that is initialized to zero."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.into = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, width))
        self.time = nn.Linear(width, width)
        self.out = nn.Sequential(
            nn.LayerNorm(width), nn.SiLU(), nn.Dropout(dropout), zero_init(nn.Linear(width, width))
        )

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        """``h [B, width], time [B, width] -> [B, width]``."""
        f: Tensor = self.out(self.into(h) + self.time(time))
        return h + f


class TimeMLP(nn.Module):
    """Time-conditioned residual MLP on vectors; its output is initialized to zero.

    Args:
        in_features: dimensions of the input.
        out_features: dimensions of the output.
        width: hidden units.
        depth: residual blocks.
        dropout: probability of dropping a hidden unit.
    """

    def __init__(self, in_features: int, out_features: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.time = nn.Sequential(TimeEmbedding(width), nn.SiLU())
        self.into = nn.Linear(in_features, width)
        self.blocks = nn.ModuleList(TimeResidual(width, dropout) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), zero_init(nn.Linear(width, out_features)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """``x [B, in_features], t [B] -> [B, out_features]``."""
        time = self.time(t)
        h: Tensor = self.into(x)
        for block in self.blocks:
            h = block(h, time)
        h = self.out(h)
        return h
