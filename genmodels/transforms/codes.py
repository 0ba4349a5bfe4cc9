"""Laws q(z) of the codes of an autoencoder, fitted to the codes of training data, by which it can be sampled.

Nothing in an autoencoder's loss says where its codes lie. A draw of a law that is not theirs is decoded where the
decoder has seen no code. Ghosh et al. 2020 (arXiv:1903.12436, §4) compare such laws.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.errors import ensure_counts


class CodeLaw(nn.Module, ABC):
    """A distribution q(z) of codes: N(0, I) until it is fitted.

    What is fitted are buffers, and parts of checkpoints: of the codes of training data the mean, a root of the
    covariance, and a mixture of Gaussians. Every law has all of them, so that a trained model can be sampled by another
    law than it was trained with.

    Args:
        dims: dimension d of z.
        components: largest number of Gaussians of the mixture; fewer codes have as many as they are.

    Raises:
        ValueError: if components is less than 1.
    """

    mean: Tensor
    factor: Tensor
    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, dims: int, components: int = 10) -> None:
        super().__init__()
        ensure_counts(1, 1000, components=components)
        self.dims, self.components = dims, components
        self.register_buffer("mean", torch.zeros(dims))
        self.register_buffer("factor", torch.eye(dims))
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, dims))
        self.register_buffer("factors", torch.eye(dims).repeat(components, 1, 1))

    @torch.no_grad()
    def fit(self, z: Tensor) -> None:
        """Fit to codes ``z [N, d]`` by maximum likelihood. Equal codes give an equal law: no random numbers are drawn.

        The mixture is scikit-learn's, by expectation maximization from the clusters of k-means.
        """
        from sklearn.mixture import GaussianMixture  # takes a second to import

        z = z.double().cpu()
        self.mean.copy_(z.mean(0))
        self.factor.copy_(root(torch.cov(z.T, correction=0).reshape(self.dims, self.dims)))
        k = min(self.components, len(z))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of equal codes, and of a likelihood that still rises a little
            found = GaussianMixture(k, random_state=0).fit(z.numpy())
        self.weights.zero_()  # of components beyond k
        self.weights[:k] = torch.as_tensor(found.weights_).to(self.weights)
        self.means[:k] = torch.as_tensor(found.means_).to(self.means)
        self.factors[:k] = root(torch.as_tensor(found.covariances_)).to(self.factors)

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """``n`` draws ``z [n, d]``."""


CodeLawFactory = Callable[[int], CodeLaw]
"""``d -> q(z)`` of ``z [B, d]``."""


class AffineLaw(CodeLaw):
    """A law ``z = m + L u`` with ``u ~ N(0, I)``."""

    @abstractmethod
    def color(self, u: Tensor) -> Tensor:
        """``m + L u [B, d]`` of ``u [B, d]``."""

    @override
    def sample(self, n: int) -> Tensor:
        return self.color(torch.randn(n, self.dims, device=self.mean.device))


class StandardNormalCodes(AffineLaw):
    """``q(z) = N(0, I)``, whatever the codes are: the law that a VAE imposes on its codes, and nothing here does."""

    @override
    def color(self, u: Tensor) -> Tensor:
        return u


class GaussianCodes(AffineLaw):
    """``q(z) = N(m, S)`` with the mean and the covariance of the codes."""

    @override
    def color(self, u: Tensor) -> Tensor:
        return self.mean + u @ self.factor.T


class MixtureCodes(CodeLaw):
    """``q(z) = sum_k π_k N(z; m_k, S_k)``, fitted to the codes."""

    @override
    def sample(self, n: int) -> Tensor:
        k = torch.multinomial(self.weights, n, replacement=True)
        noise = torch.randn(n, self.dims, 1, device=self.mean.device)
        return self.means[k] + (self.factors[k] @ noise)[:, :, 0]


def root(covariance: Tensor) -> Tensor:
    """``L [..., d, d]`` with ``L Lᵀ`` equal to a positive semi-definite ``covariance [..., d, d]``."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()[..., None, :]
