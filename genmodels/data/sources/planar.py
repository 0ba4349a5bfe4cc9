"""Distributions on the plane, three of which have a density in closed form to check likelihoods against.

All are concentrated within a few units of the origin, so that no model needs to rescale them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from typing_extensions import override

from genmodels.core.abilities import HasDensity
from genmodels.data.sources.drawn import Drawn
from genmodels.errors import ensure, ensure_counts, ensure_numbers

SMALLEST, LARGEST = 1e-6, 1e6  # widths whose squares, and their logarithms, are finite in float32


@dataclass(frozen=True)
class Planar(Drawn):
    """Independent draws ``[N, 2]`` from a distribution on the plane; sizes and seed are those of :class:`Drawn`."""

    example_bytes = 4 * 2 * 4  # both coordinates four times


@dataclass(frozen=True)
class Gaussian(Planar, HasDensity):
    """One correlated Gaussian."""

    mean: Sequence[float] = (0.5, -0.5)
    covariance: Sequence[Sequence[float]] = ((1.0, 0.6), (0.6, 0.5))

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure(finite(self.mean, (2,)), f"mean must be two numbers, got {self.mean!r}.")
        matrix = finite(self.covariance, (2, 2))
        definite = matrix and is_definite(torch.tensor([list(row) for row in self.covariance]))
        ensure(definite, f"covariance must be a symmetric positive definite 2 x 2 matrix, got {self.covariance!r}.")

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

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure_counts(1, 1000, components=self.components)
        ensure_numbers(at_least=SMALLEST, at_most=LARGEST, radius=self.radius, scale=self.scale)

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

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure_counts(2, 1000, cells=self.cells)
        ensure(self.cells % 2 == 0, f"cells must be even, got {self.cells}.")
        ensure_numbers(at_least=SMALLEST, at_most=LARGEST, half_width=self.half_width)

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

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure_numbers(at_least=0, at_most=LARGEST, noise=self.noise)

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

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure_numbers(at_least=0, at_most=LARGEST, noise=self.noise)

    @override
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        angle = 1.5 * math.pi * (1 + 2 * torch.rand(n, generator=generator))
        spiral = angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1) * (2 / (4.5 * math.pi))
        return spiral + self.noise * torch.randn(n, 2, generator=generator)


def finite(values: Any, shape: tuple[int, ...]) -> bool:
    """Whether nested lists hold finite numbers in the given shape.

    >>> finite([[1.0, 2], [3, 4]], (2, 2)), finite([1.0, math.nan], (2,)), finite("ab", (2,))
    (True, False, False)
    """
    try:
        array = np.array(values)
    except ValueError:  # of unequal lengths
        return False
    return array.shape == shape and array.dtype.kind in "if" and bool((np.abs(array) <= LARGEST).all())


def is_definite(matrix: Tensor) -> bool:
    """Whether ``matrix [D, D]`` is symmetric and positive definite.

    >>> is_definite(torch.tensor([[1.0, 0.6], [0.6, 0.5]])), is_definite(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    (True, False)
    """
    matrix = matrix.float()
    return bool(torch.equal(matrix, matrix.T) and torch.linalg.cholesky_ex(matrix).info == 0)
