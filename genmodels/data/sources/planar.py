"""Distributions on the plane, three of which have a density in closed form to check likelihoods against.

All are concentrated within a few units of the origin, so that no model needs to rescale them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor
from typing_extensions import override

from genmodels.core.abilities import HasDensity
from genmodels.data.sources.base import Arrays


@dataclass(frozen=True)
class Planar(ABC):
    """Independent draws from a distribution on the plane.

    Args:
        train_size: number of training examples.
        test_size: number of test examples.
        seed: determines the draws; independent of a run's seed, so that all runs have the same data.
    """

    train_size: int = 50_000
    test_size: int = 10_000
    seed: int = 0

    @abstractmethod
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """``n`` draws, ``[n, 2]`` float32."""

    def load(self, root: Path) -> Arrays:
        """Draw the data; ``root`` is not used."""
        x = self.sample(self.train_size + self.test_size, torch.Generator().manual_seed(self.seed))
        return Arrays(train=x[self.test_size :], test=x[: self.test_size], drawn_from=repr(self))


@dataclass(frozen=True)
class Gaussian(Planar, HasDensity):
    """One correlated Gaussian."""

    mean: Sequence[float] = (0.5, -0.5)
    covariance: Sequence[Sequence[float]] = ((1.0, 0.6), (0.6, 0.5))

    def _distribution(self) -> torch.distributions.MultivariateNormal:
        covariance = torch.tensor([list(row) for row in self.covariance])
        return torch.distributions.MultivariateNormal(torch.tensor(list(self.mean)), covariance)

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        distribution = self._distribution()
        return distribution.loc + torch.randn(n, 2, generator=generator) @ distribution.scale_tril.T

    @override
    def log_prob(self, x: Tensor) -> Tensor:
        log_density: Tensor = self._distribution().log_prob(x)
        return log_density


@dataclass(frozen=True)
class Mixture(Planar, HasDensity):
    """Equally weighted, isotropic Gaussians on a circle, which reveal mode dropping (Metz et al. 2017, §3.3.1)."""

    components: int = 8
    radius: float = 2.0
    scale: float = 0.2

    @property
    def centers(self) -> Tensor:
        """Means ``[K, 2]`` of the components."""
        angle = torch.arange(self.components) * (2 * math.pi / self.components)
        return self.radius * torch.stack([angle.cos(), angle.sin()], dim=1)

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        component = torch.randint(self.components, (n,), generator=generator)
        return self.centers[component] + self.scale * torch.randn(n, 2, generator=generator)

    @override
    def log_prob(self, x: Tensor) -> Tensor:
        square = (x[:, None] - self.centers.to(x)).square().sum(2)  # [B, K]
        log_normal = -square / (2 * self.scale**2) - math.log(2 * math.pi * self.scale**2)
        return torch.logsumexp(log_normal, dim=1) - math.log(self.components)


@dataclass(frozen=True)
class Checkerboard(Planar, HasDensity):
    """Uniform distribution on the dark cells of the board ``[-half_width, half_width]²``, ``cells`` (even) per side."""

    cells: int = 4
    half_width: float = 2.0

    @property
    def cell_width(self) -> float:
        """Side of one cell."""
        return 2 * self.half_width / self.cells

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        column = torch.randint(self.cells, (n,), generator=generator)
        row = 2 * torch.randint(self.cells // 2, (n,), generator=generator) + column % 2
        corner = torch.stack([column, row], dim=1)
        return (corner + torch.rand(n, 2, generator=generator)) * self.cell_width - self.half_width

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density ``[B]`` in nats of ``x [B, 2]``, minus infinity off the dark cells."""
        cell = ((x + self.half_width) / self.cell_width).floor()
        dark = (cell.sum(1) % 2 == 0) & (x.abs() < self.half_width).all(1)
        area = (2 * self.half_width) ** 2 / 2
        return torch.where(dark, -math.log(area), -math.inf)


@dataclass(frozen=True)
class Moons(Planar):
    """Two interleaved half circles with Gaussian noise, centered at the origin."""

    noise: float = 0.1

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        angle = math.pi * torch.rand(n, generator=generator)
        upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
        turned = torch.rand(n, 1, generator=generator) < 0.5  # the lower moon is the upper one, rotated by pi
        return torch.where(turned, -upper, upper) + self.noise * torch.randn(n, 2, generator=generator)


@dataclass(frozen=True)
class SwissRoll(Planar):
    """A spiral of 1.5 turns and radius 2 with Gaussian noise: the Swiss roll (Marsland 2009, ch. 6) along its axis."""

    noise: float = 0.07

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        angle = 1.5 * math.pi * (1 + 2 * torch.rand(n, generator=generator))
        spiral = angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1) * (2 / (4.5 * math.pi))
        return spiral + self.noise * torch.randn(n, 2, generator=generator)
