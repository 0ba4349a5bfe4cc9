"""Priors p(z) of latent vectors: the standard normal, and mixtures and flows that are learned with the model.

Where the latents of the data do not follow N(0, I), its draws lie where a decoder has seen none. A learned prior goes
where they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core.observation import standard_normal_log_prob
from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.networks.factory import NetworkFactory
from genmodels.networks.mlp import coupling_mlp
from genmodels.transforms.distributions import BaseDistribution, StandardNormal
from genmodels.transforms.stacks import vector_flow


class Prior(BaseDistribution, nn.Module):
    """A distribution p(z) of latent vectors.

    Args:
        dims: dimension d of z.
    """

    def divergence(self, mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
        """``KL(q || p) [B]`` in nats of ``q = N(mean, std²)``, or an unbiased estimate of it from one draw ``z ~ q``.

        All arguments are ``[B, d]``. The estimate is ``log q(z) - log p(z)``.
        """
        log_q = standard_normal_log_prob((z - mean) * torch.exp(-log_std)) - log_std.sum(1)
        return log_q - self.log_prob(z)


PriorFactory = Callable[[int], Prior]
"""``d -> p(z)`` of ``z [B, d]``."""


class StandardNormalPrior(StandardNormal, Prior):
    """``p(z) = N(0, I)``."""

    def divergence(self, mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
        """``½ sum(mean² + std² - 1 - log std²) [B]`` in nats (Kingma & Welling 2014, appendix B, arXiv:1312.6114)."""
        return 0.5 * (mean.square() + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1)


class MixturePrior(Prior):
    """A mixture of Gaussians, ``p(z) = sum_k π_k N(z; m_k, (A_kᵀ A_k)⁻¹)``, learned with the model.

    Tomczak & Welling 2018 (arXiv:1705.07120) compare mixtures as priors.

    Args:
        dims: dimension d of z.
        components: number of Gaussians.
        spread: standard deviation of the initial means, below 1; the mixture starts with the covariance I.
        gain: factor from the parameters that are trained to m, A and log π, by which they learn as much faster with
            Adam. Networks learn at a rate at which a mixture would lag far behind them.

    Raises:
        ValueError: if components is less than 1, spread outside [0, 1), or gain not positive.
    """

    def __init__(self, dims: int, components: int = 100, spread: float = 0.3, gain: float = 10.0) -> None:
        super().__init__(dims)
        ensure_counts(1, 100_000, components=components)
        ensure_numbers(at_least=0, below=1, spread=spread)
        ensure_numbers(above=0, at_most=1000, gain=gain)
        self.gain = gain
        self.logits = nn.Parameter(torch.zeros(components))
        self.centers = nn.Parameter(spread / gain * torch.randn(components, dims))
        log_scale = -0.5 / gain * math.log(1 - spread**2) * torch.eye(dims)
        self.factors = nn.Parameter(log_scale.repeat(components, 1, 1))  # lower triangles of A, the log of its diagonal

    def log_weights(self) -> Tensor:
        """``log π [K]``."""
        return torch.log_softmax(self.gain * self.logits, dim=0)

    def means(self) -> Tensor:
        """``m [K, d]``."""
        return self.gain * self.centers

    def scales(self) -> tuple[Tensor, Tensor]:
        """``A [K, d, d]``, lower triangular with a positive diagonal, and ``log det A [K]``."""
        factors = self.gain * self.factors
        log_diagonal = factors.diagonal(dim1=1, dim2=2)
        return factors.tril(-1) + torch.diag_embed(log_diagonal.exp()), log_diagonal.sum(1)

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        scales, log_det = self.scales()
        with torch.autocast(z.device.type, enabled=False):
            shifts = torch.einsum("kij,kj->ki", scales, self.means())
            u = (z @ scales.flatten(0, 1).T).unflatten(1, shifts.shape) - shifts  # A_k (z - m_k) [B, K, d]
        log_normal = -0.5 * (u.square().sum(2) + self.dims * math.log(2 * math.pi))
        return torch.logsumexp(self.log_weights() + log_det + log_normal, dim=1)

    @override
    def sample(self, n: int, device: torch.device) -> Tensor:
        k = torch.multinomial(self.log_weights().exp(), n, replacement=True)
        noise = torch.randn(n, self.dims, 1, device=device)
        scales, _ = self.scales()
        return self.means()[k] + torch.linalg.solve_triangular(scales[k], noise, upper=False)[:, :, 0]


class FlowPrior(Prior):
    """Affine couplings f, learned with the model: ``log p(z) = log p_0(f(z)) + log |det df/dz|``.

    Chen et al. 2017 (arXiv:1611.02731) and Huang et al. 2017 (arXiv:1710.02248) have other flows as priors. From a base
    p_0 without clusters, affine couplings reach clusters only with bridges between them; a mixture as p_0 has its own.
    The flow starts as the identity, that is, p(z) as p_0.

    Args:
        dims: dimension d of z.
        network: factory of the couplings' networks.
        depth: number of couplings.
        base: ``d -> p_0``.

    Raises:
        ValueError: if depth is less than 1.
    """

    def __init__(
        self,
        dims: int,
        network: NetworkFactory = coupling_mlp,
        depth: int = 8,
        base: PriorFactory = MixturePrior,
    ) -> None:
        super().__init__(dims)
        ensure_counts(1, 1000, depth=depth)
        self.flow = vector_flow((dims,), network, depth)
        self.base = base(dims)

    @override
    def log_prob(self, z: Tensor) -> Tensor:
        u, log_det = self.flow(z)
        return self.base.log_prob(u) + log_det

    @override
    def sample(self, n: int, device: torch.device) -> Tensor:
        return self.flow.decode(self.base.sample(n, device))
