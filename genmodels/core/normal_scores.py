r"""Integers as standard normal variables in bins, each dimension by its own histogram.

An integer x_i is the bin of its dimension into which a latent :math:`z_i \sim N(0, 1)` falls, and the bins have the
frequencies p_i(k) of the data. Given x_i, :math:`\Phi(z_i)` is uniform between the cumulative frequencies on either
side, which dequantizes x_i: with :math:`q(z|x) = \varphi(z) / p(x)` inside the bin,

.. math:: P(x) = \int_{bin(x)} p(z)\,dz = E_{q}\Big[\frac{p(z)}{\varphi(z)}\Big]\,p(x).

N(0, I) is then the law of independent dimensions with the data's histograms, and a normal law with correlations a
Gaussian copula (Sklar 1959; for integers, Smith & Khaled 2012, https://doi.org/10.1080/01621459.2011.644501).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PSEUDO = 0.5  # examples added to every level, by which unseen ones have a probability (Krichevsky & Trofimov 1981)
EDGE = 1e-12  # distance of probabilities from 0 and 1, so that normal scores are finite
REACH, PER_UNIT = 4, 8  # largest score of the table of dequantized values, and knots per unit


class NormalScores(nn.Module):
    """The map between integers ``x [B, D]`` of L levels and latent normals ``z [B, D]``.

    Args:
        dims: D.
        levels: L.

    Attributes:
        cumulative: cumulative frequencies ``[D, L + 1]``, float64, from 0 to 1; of uniform levels before :meth:`fit`.
        table: dequantized values ``[D, K]`` at K evenly spaced scores.
    """

    cumulative: Tensor
    table: Tensor

    def __init__(self, dims: int, levels: int) -> None:
        super().__init__()
        uniform = torch.linspace(0, 1, levels + 1, dtype=torch.float64)
        self.register_buffer("cumulative", uniform.repeat(dims, 1))
        self.register_buffer("table", self._tabulated())

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the frequencies of integers ``x [B, D]``."""
        dims, levels = len(self.cumulative), self.cumulative.shape[1] - 1
        offsets = levels * torch.arange(dims, device=x.device)
        counts = torch.bincount((x.long() + offsets).flatten(), minlength=dims * levels).view(dims, levels)
        self.cumulative[:, 1:] = (counts.double() + PSEUDO).cumsum(1) / (len(x) + PSEUDO * levels)
        self.table.copy_(self._tabulated())

    def encode(self, x: Tensor) -> Tensor:
        """Draws ``z [B, D]``, float32, in the bins of integers ``x [B, D]``."""
        below, p = self._bins(x.long().T)
        u = below + p * torch.rand(x.shape, device=x.device).T
        z: Tensor = torch.special.ndtri(u.clamp(EDGE, 1 - EDGE))
        return z.T.float()

    def decode(self, z: Tensor) -> Tensor:
        """The integers ``x [B, D]`` in whose bins ``z [B, D]`` lie."""
        u = torch.special.ndtr(z.double()).T.contiguous()
        return torch.searchsorted(self.cumulative[:, 1:-1].contiguous(), u, right=True).T

    def dequantized(self, z: Tensor) -> Tensor:
        """Values ``[B, D]`` between 0 and 1 of ``z [B, D]``, with a gradient: ``(x + (place in its bin)) / L``.

        They are interpolated between the knots of a table, and constant beyond them, so that they are good for what a
        network sees, and not for the integer.
        """
        place = ((z + REACH) * PER_UNIT).clamp(0, 2 * REACH * PER_UNIT)
        knot = place.detach().nan_to_num(0).floor().clamp(max=2 * REACH * PER_UNIT - 1)  # NaN has a NaN as its value
        index = knot.long() + self.table.shape[1] * torch.arange(len(self.table), device=z.device)
        below, above = self.table.take(index), self.table.take(index + 1)
        return torch.addcmul(below, above - below, place - knot)

    def _tabulated(self) -> Tensor:
        """The dequantized values at the knots, ``[D, K]``, float32."""
        knots = torch.linspace(-REACH, REACH, 2 * REACH * PER_UNIT + 1, device=self.cumulative.device)
        z = knots[:, None].expand(-1, len(self.cumulative))
        levels = self.decode(z).T
        below, p = self._bins(levels)
        place: Tensor = (torch.special.ndtr(z.T.double()) - below) / p
        return ((levels + place.clamp(0, 1)) / (self.cumulative.shape[1] - 1)).float()

    def log_volume(self, z: Tensor) -> Tensor:
        """``log (p(x) / φ(z)) [B, D]`` in nats of the bins of ``z [B, D]``, by which a density of z becomes a mass."""
        _, p = self._bins(self.decode(z).T)
        return (p.log().T + 0.5 * z.double().square()).float() + 0.5 * math.log(2 * math.pi)

    def _bins(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Cumulative frequencies below ``levels [D, B]``, and their frequencies."""
        below = self.cumulative.gather(1, levels)
        return below, self.cumulative.gather(1, levels + 1) - below
