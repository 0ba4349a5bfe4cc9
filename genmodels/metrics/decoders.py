"""Decoders p(x|z) with a latent z ~ N(0, I), reduced to what annealing needs: a log-density and a sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from genmodels.core.abilities import DecodesLatent, HasObservation
from genmodels.core.observation import SphericalGaussian


@dataclass(frozen=True)
class Decoder:
    """A distribution p(x|z) of data given a latent z ~ N(0, I).

    Attributes:
        latent_dim: dimension d of z.
        log_prob: ``x [N, *shape], z [N, d] -> log p(x|z) [N]`` in nats, differentiable in z.
        sample: ``z [N, d] -> x ~ p(x|z)``, raw data ``[N, *shape]``.
    """

    latent_dim: int
    log_prob: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Tensor], Tensor]


def own_decoder(model: HasObservation) -> Decoder:
    """The decoder with the model's own p(x|z)."""
    return Decoder(model.latent_dim, model.conditional_log_prob, model.conditional_sample)


def gaussian_decoder(model: DecodesLatent, observation: SphericalGaussian) -> Decoder:
    """The decoder p_sigma(x|z) that adds isotropic Gaussian noise to the model's location."""

    def log_prob(x: Tensor, z: Tensor) -> Tensor:
        return observation.log_prob(x, model.location(z))

    def sample(z: Tensor) -> Tensor:
        return observation.sample(model.location(z))

    return Decoder(model.latent_dim, log_prob, sample)
