r"""Normal densities at which paths begin: exact draws, the gradient, and the normalizer ``Z_0``.

The density that has the covariance of data leaves less to be annealed than N(0, I): at the same start chains have the
right mean and covariance, and only what no Gaussian has remains for transitions and for the network that tilts it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import ensure
from genmodels.mcmc.paths import standard_normal


class NormalDensity(ABC):
    """A density ``f_0 / Z_0`` on ``R^D``, which is a :data:`genmodels.mcmc.Base` as it is called."""

    log_z0: float
    """``log Z_0`` in nats."""

    @abstractmethod
    def draw(self, n: int) -> Tensor:
        """``n`` independent draws ``[n, D]``."""

    @abstractmethod
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Summands ``[N, D]`` of ``log f_0`` at ``x [N, D]``, and its gradient ``[N, D]``."""


class Reference(NormalDensity):
    """One that can be conditioned on some of its dimensions."""

    @abstractmethod
    def given(self, y: Tensor, known: Tensor) -> Given:
        """The density of the other dimensions, given the ``known [N, D]`` ones of ``y [N, D]``."""


class Given(NormalDensity):
    """What :meth:`Reference.given` returns: a density of N rows, each given dimensions of its own.

    Chains in it keep positions ``[N, D]``, of which known dimensions are independent N(0, 1) and mean nothing.

    Attributes:
        log_known: density ``[N]`` of the known dimensions, in nats up to a constant that known values do not change.
    """

    log_known: Tensor


class StandardNormal(Reference):
    """N(0, I) on ``R^dims``."""

    def __init__(self, dims: int, device: torch.device | None = None) -> None:
        self.dims, self.device = dims, device
        self.log_z0 = 0.5 * dims * math.log(2 * math.pi)

    @override
    def draw(self, n: int) -> Tensor:
        return torch.randn(n, self.dims, device=self.device)

    @override
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return standard_normal(x)

    @override
    def given(self, y: Tensor, known: Tensor) -> GivenIndependent:
        return GivenIndependent(y, known)


class GivenIndependent(StandardNormal, Given):
    """N(0, I) again, since its dimensions are independent."""

    def __init__(self, y: Tensor, known: Tensor) -> None:
        super().__init__(y.shape[1], y.device)
        self.log_known = torch.where(known, -0.5 * y.square(), 0.0).sum(1)


class CorrelatedNormal(Reference):
    """N(0, C).

    Args:
        root: lower triangular R ``[D, D]`` with ``C = R R^T``.
        precision: its inverse ``[D, D]``.
    """

    def __init__(self, root: Tensor, precision: Tensor) -> None:
        self.root, self.precision = root, precision

    @cached_property
    def log_z0(self) -> float:  # type: ignore[override]
        """``log Z_0`` in nats, which is read from the device only where it is asked for, and not in a training step."""
        return 0.5 * len(self.root) * math.log(2 * math.pi) + float(self.root.diagonal().double().log().sum())

    @override
    def draw(self, n: int) -> Tensor:
        noise = torch.randn(n, len(self.root), dtype=self.root.dtype, device=self.root.device)
        return noise @ self.root.T

    @override
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gradient = -x @ self.precision
        return 0.5 * x * gradient, gradient

    @override
    def given(self, y: Tensor, known: Tensor) -> GivenCorrelated:
        return GivenCorrelated(self.precision, y, known)


class GivenCorrelated(Given):
    """The normal density of some dimensions given others, whose precision is a part of the whole precision P.

    For unknown dimensions u and known ones k, ``P_uu`` is the precision and ``-P_uu^-1 P_uk y_k`` the mean.

    Args:
        precision: P ``[D, D]``.
        y: known values ``[N, D]``.
        known: ``[N, D]``.
    """

    def __init__(self, precision: Tensor, y: Tensor, known: Tensor) -> None:
        self.precision, self.y, self.known = precision, y, known
        self.log_z0 = math.nan  # it differs between rows
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, unknown dimensions, Cholesky factor of P_uu
        self.mean, self.log_known = torch.zeros_like(y), y.new_zeros(len(y))
        masks, which = torch.unique(known, dim=0, return_inverse=True)
        for i, mask in enumerate(masks):
            rows, u, k = (which == i).nonzero()[:, 0], (~mask).nonzero()[:, 0], mask.nonzero()[:, 0]
            values, slope = y[rows][:, k], y[rows][:, k] @ precision[k][:, u]  # y_k, P_uk y_k
            factor = torch.linalg.cholesky(precision[u][:, u])
            mean = -torch.cholesky_solve(slope.T, factor).T
            self.parts.append((rows, u, factor))
            self.mean[rows[:, None], u] = mean
            square = ((values @ precision[k][:, k]) * values).sum(1) + (slope * mean).sum(1)
            self.log_known[rows] = -0.5 * square

    @override
    def draw(self, n: int) -> Tensor:
        ensure(n == len(self.y), f"as many draws as rows, {len(self.y)}, are needed, got {n}.")
        x = torch.randn_like(self.y)
        for rows, u, factor in self.parts:
            noise = torch.linalg.solve_triangular(factor.T, x[rows][:, u].T, upper=True).T
            x[rows[:, None], u] = self.mean[rows][:, u] + noise
        return x

    @override
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        whole = torch.where(self.known, self.y, x)
        slope = -whole @ self.precision
        half = 0.5 * whole * slope
        return torch.where(self.known, half - 0.5 * x.square(), half), torch.where(self.known, -x, slope)


def correlations(parts: Iterable[Tensor]) -> Tensor:
    """Correlation matrix ``[D, D]``, float64, of N rows in parts ``[B, D]`` with means 0 and variances 1, shrunk.

    D examples of independent dimensions are added to the N, so that it has an inverse whatever N.

    >>> correlations([torch.tensor([[1.0, 1.0], [-1.0, -1.0]])])
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]], dtype=torch.float64)
    """
    n, total = 0, torch.zeros((), dtype=torch.float64)
    for part in parts:
        n, total = n + len(part), total + part.double().T @ part.double()
    dims = len(total)
    return (total + dims * torch.eye(dims, dtype=torch.float64, device=total.device)) / (n + dims)
