"""The Fréchet distance between two Gaussians, and means and covariances computed in streaming fashion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from genmodels.errors import require


class Moments(NamedTuple):
    """Sample mean ``[d]`` and unbiased covariance ``[d, d]`` of ``n`` feature vectors, in float64."""

    mean: Tensor
    covariance: Tensor
    n: int


def moments(features: Tensor) -> Moments:
    """Moments of ``features [n, d]``.

    Raises:
        UserError: for fewer than two vectors.
    """
    require(len(features) >= 2, f"a covariance needs at least 2 examples, got {len(features)}.")
    features = features.double()
    return Moments(features.mean(0), torch.cov(features.T).reshape(features.shape[1], -1), len(features))


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    r"""Squared Fréchet (2-Wasserstein) distance between two Gaussians, in float64 on the CPU.

    :math:`|\mu_1 - \mu_2|^2 + tr(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})` (Dowson & Landau 1982, eq. 4;
    Heusel et al. 2017, eq. 6, arXiv:1706.08500). With any factor :math:`\Sigma_1 = L L^T` the product
    :math:`\Sigma_1 \Sigma_2` has the eigenvalues of the symmetric :math:`L^T \Sigma_2 L`, whose square roots sum to
    the required trace; they are real, non-negative, and computable by a symmetric eigenvalue solver.

    Args:
        mean1: ``[d]``.
        cov1: symmetric positive semi-definite ``[d, d]``; faster if definite.
        mean2: ``[d]``.
        cov2: symmetric positive semi-definite ``[d, d]``.

    Raises:
        UserError: if an entry is not finite.

    >>> eye = torch.eye(3)
    >>> round(frechet_distance(torch.zeros(3), eye, torch.ones(3), 4 * eye), 9)  # 3 + 3 (1 + 4 - 2 * 2)
    6.0
    """
    mean1, cov1, mean2, cov2 = (t.detach().to("cpu").double() for t in (mean1, cov1, mean2, cov2))
    finite = all(bool(t.isfinite().all()) for t in (mean1, cov1, mean2, cov2))
    require(finite, "the Fréchet distance needs finite means and covariances; a feature is NaN or infinite.")
    factor, singular = torch.linalg.cholesky_ex(cov1)
    if singular:  # fewer examples than features, or a feature that never varies
        variances, axes = torch.linalg.eigh(cov1)
        factor = axes * variances.clamp(min=0).sqrt()
    product = factor.T @ cov2 @ factor
    root_trace = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    return float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * root_trace)


class FeatureStatistics(Metric):
    """Mean and covariance of features over batches and processes, in constant memory and float64.

    Args:
        dims: length d of a feature vector.

    >>> statistics = FeatureStatistics(1)
    >>> statistics.update(torch.tensor([[1.0], [3.0]]))
    >>> mean, covariance, n = statistics.compute()
    >>> mean.item(), covariance.item(), n
    (2.0, 2.0, 2)
    """

    full_state_update = False
    total: Tensor
    outer: Tensor
    count: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(dims, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(dims, dims, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add ``features [B, d]``; they are checked in :meth:`compute`, so that all processes fail together."""
        features = features.detach().to(self.total.device).double()
        self.total += features.sum(0)
        self.outer.addmm_(features.T, features)
        self.count += features.shape[0]

    def compute(self) -> Moments:
        """Moments over all batches and processes.

        Raises:
            UserError: for fewer than two vectors, or a feature that is NaN or infinite.
        """
        n = int(self.count)
        require(n >= 2, f"a covariance needs at least 2 examples, got {n}.")
        finite = bool(self.total.isfinite().all() & self.outer.isfinite().all())
        require(finite, f"a feature of {n} examples is NaN or infinite: the samples or the feature network overflowed.")
        mean = self.total / n
        covariance = (self.outer - n * torch.outer(mean, mean)) / (n - 1)
        return Moments(mean, covariance, n)
