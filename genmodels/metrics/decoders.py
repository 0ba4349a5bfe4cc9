"""Decoders p(x|z) of a latent z ~ p(z), reduced to what annealing needs: log-densities and samplers of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from genmodels.core.abilities import DecodesLatent, HasObservation
from genmodels.core.observation import SphericalGaussian


@dataclass(frozen=True)
class Decoder:
    """A distribution p(x|z) of data given a latent z ~ p(z).

    Attributes:
        log_prior: ``z [N, d] -> log p(z) [N]`` in nats, differentiable.
        draw: ``N -> z ~ p(z) [N, d]``.
        log_prob: ``x [N, *shape], z [N, d] -> log p(x|z) [N]`` in nats, differentiable in z.
        sample: ``z [N, d] -> x ~ p(x|z)``, raw data ``[N, *shape]``.
    """

    log_prior: Callable[[Tensor], Tensor]
    draw: Callable[[int], Tensor]
    log_prob: Callable[[Tensor, Tensor], Tensor]
    sample: Callable[[Tensor], Tensor]


def own_decoder(model: HasObservation) -> Decoder:
    """The decoder with the model's own p(x|z)."""
    return Decoder(model.latent_log_prob, model.draw_latent, model.conditional_log_prob, model.conditional_sample)


def gaussian_decoder(model: DecodesLatent, observation: SphericalGaussian) -> Decoder:
    """The decoder p_sigma(x|z) that adds isotropic Gaussian noise to the model's location."""

    def log_prob(x: Tensor, z: Tensor) -> Tensor:
        return observation.log_prob(x, model.location(z))

    def sample(z: Tensor) -> Tensor:
        return observation.sample(model.location(z))

    return Decoder(model.latent_log_prob, model.draw_latent, log_prob, sample)
