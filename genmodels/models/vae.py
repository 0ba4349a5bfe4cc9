"""Variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114).

A latent variable ``z ~ p(z) = N(0, I)`` generates x through a decoder p(x|z). An encoder q(z|x), a diagonal Gaussian,
approximates the posterior p(z|x). Training maximizes the evidence lower bound (ELBO):

    log p(x) >= E_{q(z|x)}[ log p(x|z) ] - KL( q(z|x) || p(z) )                                            (eq. 2-3)

The KL divergence has a closed form (appendix B), and the expectation is estimated with the reparameterization
``z = mean(x) + std(x) ε``, ``ε ~ N(0, I)`` (§2.4). Any other prior (:mod:`genmodels.transforms.priors`) is learned with
the networks, by the same bound, in which the divergence is then estimated at the same z.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood, log_mean_exp
from genmodels.core.abilities import (
    LATENTS,
    ON_SYMMETRIC,
    Encodes,
    Exports,
    HasGaussianPosterior,
    HasImportanceWeights,
    HasObservation,
    Program,
    Samples,
)
from genmodels.core.observation import Observation, standard_normal_log_prob
from genmodels.core.quantization import to_symmetric
from genmodels.errors import ensure_counts, ensure_numbers
from genmodels.models.base import GenerativeModel, Loss, NetworkFactory, OptimizerFactory, SchedulerFactory
from genmodels.transforms import PriorFactory, StandardNormalPrior

MOST_LATENTS = 32  # latent variables by default
DECODED_AT_A_TIME = 1000  # latents in one pass of the decoder: importance samples times images


class VAE(GenerativeModel, Samples, HasImportanceWeights, HasObservation, HasGaussianPosterior, Encodes, Exports):
    """Latent variable model ``p(z) p(x|z)`` with the amortized Gaussian posterior ``q(z|x)``.

    The loss is ``-E_q[log p(x|z)] + beta KL(q(z|x) || p(z))``: the negative ELBO for ``beta = 1``, otherwise the
    loss of the beta-VAE (Higgins et al. 2017, eq. 4). Likelihoods are always reported with ``beta = 1``.

    Args:
        spec: the data that the model is built for.
        latent_dim: dimension of z; ``None`` for as many as the data have, at most 32.
        encoder: ``(data shape, (2 latent_dim,)) -> network``, giving mean and log standard deviation of q(z|x).
        decoder: ``((latent_dim,), parameter shape) -> network``.
        observation: ``spec -> Observation``, the distribution p(x|z).
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.
        beta: weight of the KL divergence in the loss.
        sample_mean: let samples be means of p(x|z) instead of draws from it.
        prior: ``latent_dim -> Prior``, the distribution p(z); N(0, I) in the paper.
        draws: draws of z per example in the loss (L of eq. 7), which reduce the variance of its gradient.

    Raises:
        ValueError: if latent_dim or draws is less than 1, or beta is negative.
    """

    family = "autoencoders"
    takes_labels = True

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int | None,
        encoder: NetworkFactory,
        decoder: NetworkFactory,
        observation: Callable[[DataSpec], Observation],
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        beta: float = 1.0,
        sample_mean: bool = False,
        prior: PriorFactory = StandardNormalPrior,
        draws: int = 1,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm)
        ensure_counts(optional=True, latent_dim=latent_dim)
        ensure_numbers(at_least=0, beta=beta)
        ensure_counts(1, 1000, draws=draws)
        self.latent_dim = min(spec.dims, MOST_LATENTS) if latent_dim is None else latent_dim
        self.beta = beta
        self.loss_draws = draws
        self.sample_mean = sample_mean
        self.prior = prior(self.latent_dim)
        self.observation = observation(spec)
        self.encoder = self.labels.beside_input(encoder)(spec.shape, (2 * self.latent_dim,))
        self.decoder = self.labels.beside_input(decoder)((self.latent_dim,), self.observation.param_shape)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation ``[B, latent_dim]`` of q(z|x) for raw data ``x [B, *shape]`` (eq. 9)."""
        mean, log_std = self.encoder(to_symmetric(x, self.spec)).float().chunk(2, dim=1)
        return mean, log_std.clamp(-7.0, 7.0)

    def loss(self, x: Tensor) -> Loss:
        """Mean of ``(-log p(x|z) + beta KL) / D`` in nats over ``x [B, *shape]``, each with L draws of z (eq. 7)."""
        rate, distortion = self.rate_and_distortion(x, self.loss_draws)
        total = (distortion + self.beta * rate).mean() / self.spec.dims
        return Loss(total, {"distortion": distortion.mean(), "rate": rate.mean()})

    def rate_and_distortion(self, x: Tensor, draws: int = 1) -> tuple[Tensor, Tensor]:
        """``KL(q(z|x) || p(z))`` and ``-log p(x|z)`` in nats at ``draws`` ``z ~ q(z|x)`` for each of ``x [B, *shape]``.

        Both are ``[draws B]``, of all x for the first draw, then for the second, and so on.
        """
        mean, log_std = self.posterior(x)
        mean, log_std, x = (repeated(t, draws) for t in (mean, log_std, x))
        z = mean + log_std.exp() * torch.randn_like(mean)
        return self.prior.divergence(mean, log_std, z), -self.observation.log_prob(x, self.decoder(z))

    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """Lower bound on ``log p(x) [B]`` in nats of raw data ``x [B, *shape]``.

        It is the ELBO for one sample, and the importance-weighted bound for K samples (Burda et al. 2016, eq. 8,
        arXiv:1509.00519).
        """
        if samples == 1:
            rate, distortion = self.rate_and_distortion(x)
            return Likelihood(-(rate + distortion), Kind.LOWER_BOUND, {"rate": rate, "distortion": distortion})
        return Likelihood(log_mean_exp(self.log_weights(x, samples)), Kind.LOWER_BOUND)

    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """``log p(x, z) - log q(z|x) [K, B]`` in nats of ``x [B, *shape]`` at K ``samples`` ``z ~ q(z|x)``."""
        mean, log_std = self.posterior(x)
        at_a_time = max(1, DECODED_AT_A_TIME // len(x))
        sizes = [min(at_a_time, samples - done) for done in range(0, samples, at_a_time)]
        noises = (torch.randn(size, *mean.shape, device=mean.device) for size in sizes)
        return torch.cat([self.weigh(x, mean, log_std, noise) for noise in noises])

    def log_weight_at(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p(x, z) - log q(z|x) [B]`` in nats of ``x [B, *shape]`` at ``z [B, latent_dim]``."""
        mean, log_std = self.posterior(x)
        return self.weigh(x, mean, log_std, ((z - mean) * torch.exp(-log_std))[None])[0]

    def weigh(self, x: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
        """``log p(x, z) - log q(z|x) [K, B]`` at ``z = mean + std noise``, all decoded in one pass.

        ``mean`` and ``log_std`` are the :meth:`posterior` of ``x [B, *shape]``; ``noise`` is ``[K, B, latent_dim]``.
        """
        samples, noise = len(noise), noise.flatten(0, 1)
        mean, log_std, x = (repeated(t, samples) for t in (mean, log_std, x))
        z = mean + log_std.exp() * noise
        log_q = standard_normal_log_prob(noise) - log_std.sum(1)
        log_w = self.conditional_log_prob(x, z) + self.prior.log_prob(z) - log_q
        return log_w.view(samples, -1)

    def simulate(self, n: int) -> tuple[Tensor, Tensor]:
        """``x [n, *shape]`` and ``z [n, latent_dim]`` with ``z ~ p(z)``, ``x ~ p(x|z)``."""
        z = self.draw_latent(n)
        return self.conditional_sample(z), z

    def sample(self, n: int) -> Tensor:
        """Raw data ``[n, *shape]``: ``z ~ p(z)``, then ``x ~ p(x|z)``, or the mean of p(x|z) if ``sample_mean``."""
        return self.decode(self.draw_latent(n), mean=self.sample_mean)

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """Whether samples are draws from p(x|z) or its means."""
        return {"observation": "mean" if self.sample_mean else "draw"}

    def encode(self, x: Tensor) -> Tensor:
        """Mean ``[B, latent_dim]`` of q(z|x), for raw data ``x [B, *shape]``."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor, mean: bool = True) -> Tensor:
        """Mean of p(x|z), or a draw from it: raw data ``[B, *shape]`` given ``z [B, latent_dim]``."""
        params = self.decoder(z)
        return self.observation.mean(params) if mean else self.observation.sample(params)

    @override
    def programs(self) -> Mapping[str, Program]:
        about = f"{LATENTS} to the location of p(x|z) {ON_SYMMETRIC}"
        return {"decoder": Program(self.location, (torch.zeros(2, self.latent_dim),), (self.decoder,), about)}

    @override
    def draw_latent(self, n: int) -> Tensor:
        return self.prior.sample(n, self.device)

    @override
    def latent_log_prob(self, z: Tensor) -> Tensor:
        return self.prior.log_prob(z)

    @override
    def location(self, z: Tensor) -> Tensor:
        return self.observation.location(self.decoder(z))

    @override
    def conditional_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        return self.observation.log_prob(x, self.decoder(z))

    @override
    def conditional_sample(self, z: Tensor) -> Tensor:
        return self.observation.sample(self.decoder(z))


def repeated(t: Tensor, times: int) -> Tensor:
    """``[times B, ...]``: the rows of ``t [B, ...]``, all of them ``times`` over."""
    return t.repeat(times, *[1] * (t.dim() - 1)) if times > 1 else t
