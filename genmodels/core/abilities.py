"""What a model can do, as small abstract classes in plain torch: a model inherits those it has, and no others.

Metrics, callbacks and the conformance suite ask ``isinstance(model, Samples)`` and the like; a model without an ability
lacks the method, it does not raise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from genmodels.core.likelihood import Likelihood


class Samples(ABC):
    """A model one can draw from."""

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """Draw ``n`` examples ``[n, *shape]`` in data space, uint8 where data are integers.

        The draws are independent of earlier calls and change no state of the model. Callers run this under
        ``torch.no_grad``; a sampler that follows gradients enables them itself.
        """

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """What one must know to draw in the same way: plain types, recorded with every number that rests on samples."""
        return {}

    @property
    def passes_per_sample(self) -> int:
        """Network evaluations that one sample costs."""
        return 1


class HasLikelihood(ABC):
    """A model with a log-likelihood, a bound on it or an estimate of it, in data space.

    Attributes:
        draws: what ``samples`` counts, as protocols call it.
    """

    draws: ClassVar[str] = "importance_samples"

    @abstractmethod
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """``log p(x) [B]`` of raw data ``x [B, *shape]`` in nats; bounds are tightened by ``samples`` draws."""

    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """A cheaper number of the same kind for use while training: equal in expectation, or a looser bound."""
        return self.log_likelihood(x)

    @property
    def likelihood_protocol(self) -> dict[str, Any]:
        """What one must know to compute :meth:`log_likelihood` in the same way, such as a solver's tolerance."""
        return {}

    @property
    def passes_per_example(self) -> int:
        """Network passes that one-sample :meth:`log_likelihood` costs for one example."""
        return 1


class HasEnergy(ABC):
    """A model of an unnormalized density, ``p(x) = exp(-energy(x)) / Z``."""

    @abstractmethod
    def energy(self, x: Tensor) -> Tensor:
        """Energy ``[B]`` in nats of raw data ``x [B, *shape]``, known up to the constant log Z."""


class HasProbabilityFlow(ABC):
    """A model whose samples can also be had by an ODE, which gives them a density."""

    @abstractmethod
    def flow_log_density(self, y: Tensor, tolerance: float, probes: Tensor | None = None) -> tuple[Tensor, int]:
        """Estimate of the log-density ``[B]`` in nats of the ODE's samples at ``y``, and network evaluations it took.

        Args:
            y: ``[B, *shape]`` floats on the model's own scale: [-1, 1] for integers, reals as they are.
            tolerance: of the ODE's solver, relative and absolute.
            probes: random signs ``[P, B, *shape]`` by which to estimate traces; ``None`` for exact ones.
        """


class Encodes(ABC):
    """A model with a map from data to a latent code and back."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Latent code ``[B, ...]`` of raw data ``x [B, *shape]``."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` from a latent code."""


class DecodesLatent(ABC):
    """A model that maps a latent with a standard normal prior to the location of the data.

    Attributes:
        latent_dim: dimensions of z.
    """

    latent_dim: int

    @abstractmethod
    def location(self, z: Tensor) -> Tensor:
        """Decoder's location ``[B, *shape]`` for latents ``z [B, latent_dim]``, differentiable.

        Integers lie on the [-1, 1] scale of :func:`genmodels.core.quantization.to_symmetric`, reals are as they are.
        """


class HasObservation(DecodesLatent):
    """A decoder with an observation model p(x|z) of its own."""

    @abstractmethod
    def conditional_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p(x|z) [B]`` in nats of raw data ``x [B, *shape]`` given ``z [B, latent_dim]``, differentiable in z."""

    @abstractmethod
    def conditional_sample(self, z: Tensor) -> Tensor:
        """``x ~ p(x|z)``, raw data ``[B, *shape]``."""


class Denoises(ABC):
    """A model that samples by removing noise step by step, which is worth a picture."""

    @abstractmethod
    def denoising_strip(self, n: int, frames: int) -> Tensor:
        """Raw data ``[frames, n, *shape]``: ``n`` samples at evenly spaced moments from pure noise to the end."""
