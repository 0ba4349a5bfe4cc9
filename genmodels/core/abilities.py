"""The abilities of models, as small abstract classes in plain torch; a model inherits from those that it has.

Metrics, callbacks and the conformance suite test ``isinstance(model, Samples)`` and the like. A model without an
ability lacks the method instead of raising an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from genmodels.core.likelihood import Likelihood

Progress = Callable[[Sequence[int]], Iterable[int]]
"""Wraps the iteration over the steps of a long computation, as a progress bar does."""


class Samples(ABC):
    """A model that can be sampled."""

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """Draw ``n`` samples ``[n, *shape]`` in data space: uint8 for integer data, float32 otherwise.

        Samples are independent of earlier calls and change no state of the model. Callers use ``torch.no_grad``; a
        sampler that needs gradients enables them itself.
        """

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """The settings that determine how samples are drawn, as plain types, recorded with every score of samples."""
        return {}

    @property
    def passes_per_sample(self) -> int:
        """Network evaluations per sample."""
        return 1


class HasLikelihood(ABC):
    """A model with a log-likelihood in data space: exact, a bound, or an estimate.

    Attributes:
        draws: what ``samples`` counts, by its name in protocols.
        passes_at_a_time: network evaluations in one call of :meth:`log_likelihood` by metrics, between two updates of
            a progress bar; more where those of one example follow one another.
    """

    draws: ClassVar[str] = "importance_samples"
    passes_at_a_time: ClassVar[int] = 10_000

    @abstractmethod
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """``log p(x) [B]`` in nats of raw data ``x [B, *shape]``; more ``samples`` tighten a bound."""

    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """A cheaper ``log p(x) [B]`` for use during training: equal in expectation, or a looser bound."""
        return self.log_likelihood(x)

    @property
    def likelihood_protocol(self) -> dict[str, Any]:
        """The settings that determine how :meth:`log_likelihood` is computed, such as a tolerance, as plain types."""
        return {}

    @property
    def passes_per_example(self) -> int:
        """Network evaluations per example in :meth:`log_likelihood` with one sample."""
        return 1


class HasStepwiseBound(HasLikelihood):
    """A model whose bound, with one sample, is a sum over T = :attr:`passes_per_example` steps, each one network pass.

    ``-log p(x) <= c(x) + sum_{t=1}^T term_t(x)`` with c in closed form. Metrics that cannot afford every term of every
    example draw some of them, see :mod:`genmodels.core.stepwise`.
    """

    @abstractmethod
    def terms_at(self, x: Tensor, t: Tensor) -> Mapping[str, Tensor]:
        """Quantities ``[B]`` at one step ``t [B]`` of 1 .. T per example ``x [B, *shape]``; ``nats`` is the term."""

    @abstractmethod
    def stepwise_likelihood(self, x: Tensor, inclusion: Tensor | None = None) -> Likelihood:
        """The bound ``[B]`` of ``log_likelihood(x)``, or an unbiased estimate of it from drawn terms.

        Args:
            x: raw data ``[B, *shape]``.
            inclusion: probabilities ``[T]`` of drawing each term, see
                :func:`genmodels.core.stepwise.inclusion_probabilities`; ``None`` for every term.

        Returns:
            The likelihood; columns of its ``curves`` are the quantities of :meth:`terms_at`, NaN if not drawn.
        """


class HasImportanceWeights(HasLikelihood):
    """A model whose bound averages importance weights ``w = p(x, z) / q(z | x)`` of latents z drawn from q.

    The latent is a VAE's z, the dequantization noise of a flow, or the trajectory x_1 .. x_T of a diffusion model.
    ``E_q[w] = p(x)``, and at a latent of the posterior ``p(z | x)``, such as the one that x was simulated from,
    ``E[1 / w] = 1 / p(x)``, by which the bound becomes an upper one (Grosse et al. 2015, arXiv:1511.02543).
    """

    @abstractmethod
    def simulate(self, n: int) -> tuple[Tensor, Tensor]:
        """``n`` independent draws from p(x, z): raw data ``[n, *shape]`` and their latents ``[n, ...]``."""

    @abstractmethod
    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """``log w [K, B]`` in nats of raw data ``x [B, *shape]``, at K ``samples`` of the latent, drawn from q(z|x)."""

    @abstractmethod
    def log_weight_at(self, x: Tensor, z: Tensor) -> Tensor:
        """``log w [B]`` in nats of raw data ``x [B, *shape]`` at the given latents ``z [B, ...]``."""

    @property
    def no_gap_reason(self) -> str | None:
        """Why there is no gap to measure, as the end of a sentence, such as "it is exact"; ``None`` if there is."""
        return None


class HasEnergy(ABC):
    """A model of an unnormalized density or mass ``f``: ``p(x) = f(x) / Z`` with ``f(x) = exp(-energy(x))``."""

    @abstractmethod
    def energy(self, x: Tensor) -> Tensor:
        """``-log f(x) = -log p(x) - log Z [B]`` in nats of raw data ``x [B, *shape]``; log Z is unknown."""


class HasPartition(HasEnergy):
    """A model whose normalizer Z, the partition function, is a sum or an integral that annealing estimates."""

    @property
    def energy_is_exact(self) -> bool:
        """Whether :meth:`energy` is that of x itself, not an upper bound in expectation, as of dequantized integers."""
        return True

    @abstractmethod
    def log_partition(self) -> tuple[float, str] | None:
        """``log Z`` in nats and how it was summed, such as "enumeration"; ``None`` if there are too many states."""

    @abstractmethod
    def partition_weights(self, n: int, temperatures: int, progress: Progress = iter) -> Tensor:
        """``log w [n]`` in nats, float64, of ``n`` independent annealed chains with ``E[w] = Z``.

        Args:
            n: number of chains.
            temperatures: number of inverse temperatures, which need not be that of :meth:`Samples.sample`.
            progress: wraps the iteration over temperatures.
        """


class RunsChains(HasEnergy):
    """A model whose Markov chains leave its distribution invariant, up to their step size."""

    @abstractmethod
    def chains_at(self, x: Tensor) -> Tensor:
        """States of chains ``[N, ...]`` at raw data ``x [N, *shape]``."""

    @abstractmethod
    def chains_of_noise(self, n: int) -> Tensor:
        """States ``[n, ...]`` of chains far from equilibrium, drawn from the law at which annealing begins."""

    @abstractmethod
    def run_chains(self, state: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """States ``[N, ...]`` after ``steps`` transitions, and the mean probability ``[N]`` of accepting one."""

    @abstractmethod
    def chain_energy(self, state: Tensor) -> Tensor:
        """Energy ``[N]`` in nats of states ``[N, ...]``."""


class HasProbabilityFlow(ABC):
    """A model whose samples are generated by an ODE, or can also be, which gives them a density."""

    @abstractmethod
    def flow_log_density(self, y: Tensor, tolerance: float, probes: Tensor | None = None) -> tuple[Tensor, int]:
        """Estimate of the log-density ``[B]`` in nats of the ODE's samples at ``y``, and the number of evaluations.

        Args:
            y: ``[B, *shape]`` floats on the scale of the model: [-1, 1] for integers, the data's own for reals.
            tolerance: relative and absolute tolerance of the ODE solver.
            probes: random signs ``[P, B, *shape]`` to estimate traces with; ``None`` for exact traces.
        """

    @property
    def no_flow_reason(self) -> str | None:
        """Why the model as configured has no such ODE, as the end of a sentence; ``None`` if it has one."""
        return None


class Encodes(ABC):
    """A model that maps data to a latent code and back."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Latent code ``[B, ...]`` of raw data ``x [B, *shape]``."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` of latent codes ``z [B, ...]``."""


class DecodesLatent(ABC):
    """A model with a decoder, which maps a latent variable ``z ~ p(z)`` to the location of the data.

    Attributes:
        latent_dim: dimension of z.
    """

    latent_dim: int

    @property
    def no_latent_reason(self) -> str | None:
        """Why there is no such z after all, as the end of a sentence; ``None`` if there is."""
        return None

    @abstractmethod
    def draw_latent(self, n: int) -> Tensor:
        """``n`` draws ``z ~ p(z) [n, latent_dim]``."""

    @abstractmethod
    def latent_log_prob(self, z: Tensor) -> Tensor:
        """``log p(z) [B]`` in nats of ``z [B, latent_dim]``, differentiable."""

    @abstractmethod
    def location(self, z: Tensor) -> Tensor:
        """Location ``[B, *shape]`` of the data given ``z [B, latent_dim]``, differentiable in z.

        It is on the [-1, 1] scale of :func:`genmodels.core.quantization.to_symmetric` for integers, on the data's own
        for reals.
        """


class HasObservation(DecodesLatent):
    """A decoder with an observation model p(x|z) of its own."""

    @abstractmethod
    def conditional_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p(x|z) [B]`` in nats of raw data ``x [B, *shape]`` given ``z [B, latent_dim]``, differentiable in z."""

    @abstractmethod
    def conditional_sample(self, z: Tensor) -> Tensor:
        """A draw ``x ~ p(x|z)``: raw data ``[B, *shape]`` given ``z [B, latent_dim]``."""


class Completes(ABC):
    """A model from which the rest of an example can be drawn, given some of its values."""

    @abstractmethod
    def complete(self, x: Tensor, known: Tensor, candidates: int = 8) -> Tensor:
        """Raw data ``[N, *shape]``: known values as they are, the others drawn given these, independently for each row.

        A row is one of several candidates, chosen with probabilities in proportion to their importance weights. Its
        law becomes the model's ``p(unknown | known)`` as the candidates become many.

        Args:
            x: raw data ``[N, *shape]``, of which only known values are looked at.
            known: ``[N, *shape]`` of booleans.
            candidates: number C of candidates for each row.

        Raises:
            ValueError: if candidates is less than 1.
        """


class HasGaussianPosterior(DecodesLatent):
    """A decoder with an encoder that approximates the posterior p(z|x) by a diagonal Gaussian q(z|x)."""

    @abstractmethod
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation ``[B, latent_dim]`` of q(z|x) for raw data ``x [B, *shape]``."""


class Denoises(ABC):
    """A model that samples by removing noise step by step."""

    @abstractmethod
    def denoising_strip(self, n: int, frames: int) -> Tensor:
        """Raw data ``[frames, n, *shape]``: ``n`` samples at evenly spaced steps from pure noise to data."""


LATENTS = "z ~ p(z) [B, latent_dim]"
ON_SYMMETRIC = "[B, *shape], of which integers are on [-1, 1]"  # as to_symmetric has them


@dataclass(frozen=True)
class Program:
    """A part of a model that other programs run without genmodels, see :mod:`genmodels.programs`.

    Attributes:
        run: a function of tensors whose first dimension is the batch; it draws no random numbers.
        inputs: examples of its arguments, of at least two rows.
        networks: the modules that hold its parameters.
        about: its arguments and its value, in a sentence.
    """

    run: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    networks: tuple[nn.Module, ...]
    about: str


class Exports(ABC):
    """A model with parts that are functions of tensors, such as a decoder or one step of a sampler."""

    @abstractmethod
    def programs(self) -> Mapping[str, Program]:
        """Its parts by name, such as ``decoder``."""


class HasDensity(ABC):
    """A source of data whose distribution is known: probabilities of integers, or a density of reals."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """``log p(x) [B]`` in nats of raw data ``x [B, *shape]``: a log-mass of integers, a log-density of reals."""
