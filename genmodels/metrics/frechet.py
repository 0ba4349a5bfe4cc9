"""The Fréchet distance between two Gaussians, and means and covariances computed in streaming fashion."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from genmodels.errors import require

RANK = 1e-12  # eigenvalues below this multiple of the largest are zero


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
    root_trace = torch.linalg.eigvalsh(symmetric_product(factor(cov1), cov2)).clamp(min=0).sqrt().sum()
    return float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * root_trace)


def factor(covariance: Tensor) -> Tensor:
    """A matrix ``L [d, d]`` with ``L L^T = covariance [d, d]``."""
    found, singular = torch.linalg.cholesky_ex(covariance)
    if not singular:
        return found
    variances, axes = torch.linalg.eigh(covariance)  # fewer examples than features, or a feature that never varies
    return axes * variances.clamp(min=0).sqrt()


def symmetric_product(root: Tensor, covariance: Tensor) -> Tensor:
    """``root^T covariance root [d, d]``, symmetric to the last bit."""
    product = root.T @ covariance @ root
    return (product + product.T) / 2


def influences(features: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    r"""Influence ``[n]`` of each sample on the Fréchet distance: its derivative with respect to the sample's weight.

    The n weights sum to one, what a sample gains being taken from all in equal parts. With
    :math:`\delta = \mu - \mu_r` and :math:`c_i = x_i - \mu` it is :math:`2 \delta^T c_i + c_i^T (I - T) c_i`, but for a
    constant, where :math:`T = L (L^T \Sigma L)^{-1/2} L^T` carries the samples' Gaussian to the reference's: the
    gradient of the distance with respect to :math:`\Sigma` is :math:`I - T`, since that of :math:`tr M^{1/2}` with
    respect to M is :math:`M^{-1/2} / 2`.

    Args:
        features: ``[n, d]`` of the samples, in float64.
        mean: of the reference, ``[d]``.
        root: a factor L of the reference's covariance, ``[d, d]``.
    """
    own = moments(features)
    squares, axes = torch.linalg.eigh(symmetric_product(root, own.covariance))
    present = squares > squares.max() * RANK
    transport = root @ axes[:, present] * squares[present].pow(-0.25)  # times its transpose it is T
    centered = features - own.mean
    return 2 * centered @ (own.mean - mean) + centered.square().sum(1) - (centered @ transport).square().sum(1)


def frechet_error(features: Tensor, mean: Tensor, covariance: Tensor) -> float:
    r"""Standard error of the Fréchet distance of one set of n samples to a reference, whose own error is left out.

    The infinitesimal jackknife (Jaeckel 1972) takes the distance to be linear in the weights of the samples, and
    estimates its variance by :math:`J_n = \sum_i I_i^2 / n^2` with the influences :math:`I_i`. The distance has a
    quadratic part as well, which makes its bias and near the floor most of its variance; every jackknife counts the
    variance of this part twice (Efron & Stein 1981). The linear part of the variance falls as 1/n and the
    quadratic one as 1/n², so that :math:`J_n = V_1 / n + 2 V_2 / n^2`, and the half sets tell the two apart:
    :math:`V_1 / n + V_2 / n^2 = \tfrac32 J_n - \tfrac14 J_{n/2}`, which lies between :math:`J_n / 2` and :math:`J_n`.

    Args:
        features: ``[n, d]`` of the samples.
        mean: of the reference, ``[d]``.
        covariance: of the reference, ``[d, d]``.

    Raises:
        UserError: for fewer than four samples.
    """
    require(len(features) >= 4, f"an error of the Fréchet distance needs at least 4 examples, got {len(features)}.")
    features, mean, root = features.double(), mean.double(), factor(covariance.double())

    def jackknife(part: Tensor) -> float:
        return float(influences(part, mean, root).var()) / len(part)

    whole = jackknife(features)
    halves = (jackknife(features[0::2]) + jackknife(features[1::2])) / 2
    return math.sqrt(min(max(1.5 * whole - halves / 4, whole / 2), whole))


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
