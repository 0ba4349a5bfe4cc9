"""The base class of energy models, whose samples and likelihood are those of the chain that is annealed to them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood, log_mean_exp
from genmodels.core.abilities import Completes, HasImportanceWeights, HasPartition, Progress, RunsChains, Samples
from genmodels.core.candidates import chosen
from genmodels.errors import ensure_counts, require
from genmodels.mcmc import AnnealedLaw
from genmodels.models.base.model import GenerativeModel
from genmodels.models.base.numerics import in_float32
from genmodels.models.base.training import OptimizerFactory, SchedulerFactory

CELLS, SIDE = 400, 12.0  # of the quadrature on the plane, in standard deviations of the data
RESOLVED = 2.0**24  # the magnitude beyond which neighbors in float32 are more than 1 apart
LOST = 10.0  # nats per dimension by which a model that learns is never worse than what its training began with


class EnergyModel(GenerativeModel, Samples, HasImportanceWeights, HasPartition, RunsChains, Completes):
    """A model ``p(x) = f(x) / Z`` whose Z is unknown, as sampled by annealing.

    Its samples end chains that are annealed from a distribution ``f_0 / Z_0`` to f, and its likelihood is a lower bound
    on the probability of exactly these (:class:`genmodels.mcmc.AnnealedLaw`). Both speak of the same normalized law,
    which approaches ``f / Z`` as the temperatures become many. The trajectories of the chain are its latent variables.

    Chains run at positions ``y [N, D]`` on the model's own scale: see :meth:`embed`.

    Args:
        spec: the data that the model is built for.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.
        temperatures: T, inverse temperatures of the annealed chain.
        validation_temperatures: as many for the likelihood during training, which is a bound of the same kind on the
            law of a shorter chain.

    Raises:
        ValueError: if there is not one temperature.
    """

    family = "energies"
    draws = "reverse_chains"
    passes_at_a_time = 1_000_000
    needs_float32 = True  # an acceptance probability hangs on the last digits of an energy

    def __init__(
        self,
        spec: DataSpec,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        temperatures: int = 1000,
        validation_temperatures: int = 50,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm)
        ensure_counts(temperatures=temperatures, validation_temperatures=validation_temperatures)
        self.temperatures = temperatures
        self.validation_temperatures = validation_temperatures

    @property
    def largest_loss(self) -> float:
        """Per dimension, that of energies of data and chains whose difference float32 cannot tell to a nat.

        An energy that is linear in weights grows with them and stays finite long after chains have stopped to move.
        """
        return RESOLVED / self.spec.dims

    @abstractmethod
    def annealed(self, temperatures: int) -> AnnealedLaw[Any]:
        """The law of chains that are annealed to f over so many temperatures."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Positions ``y [B, D]`` of raw data ``x [B, *shape]``, drawn at random in the bins of dequantized integers."""

    def log_volume(self, y: Tensor) -> Tensor:
        """What a log-density at ``y [B, D]`` lacks to the log-density, or mass, of x: ``[B]`` in nats, 0 by default.

        That is the log-determinant of the map from x to y, and for dequantized integers the log-volume of a bin.
        """
        return y.new_zeros(len(y))

    @abstractmethod
    def unembed(self, y: Tensor) -> Tensor:
        """Raw data ``x [B, *shape]`` of positions ``y [B, D]``."""

    @torch.no_grad()
    @in_float32
    def annealed_weights(self, x: Tensor, samples: int, temperatures: int) -> Tensor:
        """``log w [K, B]`` in nats of ``x [B, *shape]`` by K ``samples`` of the reversed chain, ``E[w] = p_ann(x)``."""
        y = self.embed(x.repeat(samples, *[1] * (x.dim() - 1)))
        return (self.annealed(temperatures).log_weights(y) + self.log_volume(y)).view(samples, -1)

    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """Lower bound ``[B]`` in nats on the log-probability of raw data ``x [B, *shape]`` under the annealed chain.

        It tightens with the number of reversed chains, ``samples``, and carries no gradient.

        Raises:
            ValueError: if samples is less than 1.
        """
        ensure_counts(samples=samples)
        log_weights = self.annealed_weights(x, samples, self.temperatures)
        return Likelihood(log_mean_exp(log_weights).float(), Kind.LOWER_BOUND)

    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """The bound of a chain of ``validation_temperatures``."""
        log_weights = self.annealed_weights(x, 1, self.validation_temperatures)
        return Likelihood(log_weights[0].float(), Kind.LOWER_BOUND)

    @torch.no_grad()
    @in_float32
    def base_log_likelihood(self, x: Tensor) -> Tensor:
        """``log p [B]`` in nats of raw data ``x [B, *shape]`` under ``f_0 / Z_0``, where annealing begins."""
        y, law = self.embed(x), self.annealed(1)
        return law.path.log_f(law.state(y), 0.0) - law.log_z0 + self.log_volume(y)

    @override
    def monitor(self, x: Tensor) -> Likelihood:
        """The likelihood of :meth:`validation_likelihood`, compared with that of what training began with.

        The loss is no objective, and may stay small while chains follow a machine that has nothing of the data.

        Raises:
            UserError: if the model is far worse.
        """
        found = self.validation_likelihood(x)
        lost = float((self.base_log_likelihood(x) - found.nats).mean()) / self.spec.dims
        require(
            not lost > LOST,
            f"the validation likelihood is {lost:.3g} nats per dimension below that of the law from "
            f"which training began, so it has diverged and was stopped; {self.remedies}.",
        )
        return found

    @property
    def law(self) -> dict[str, Any]:
        """What samples and likelihood are of, as plain types: the chain that is annealed."""
        return {"law": "annealed", "temperatures": self.temperatures}

    @property
    def likelihood_protocol(self) -> dict[str, Any]:
        """The :attr:`law`, as one entry, since it is the model's and no condition of the measurement."""
        return {"law": self.law}

    @property
    def passes_per_example(self) -> int:
        """One per temperature."""
        return self.temperatures

    @torch.no_grad()
    @in_float32
    def sample(self, n: int) -> Tensor:
        """Raw data ``[n, *shape]``: the last states of annealed chains."""
        return self.unembed(self.annealed(self.temperatures).sample(n))

    @abstractmethod
    def clamped(self, y: Tensor, known: Tensor) -> AnnealedLaw[Any]:
        """The law of chains that are annealed to f given the ``known [N, D]`` ones of positions ``y [N, D]``.

        Positions that it leads to may differ from y where that is known.
        """

    def log_known_volume(self, y: Tensor, known: Tensor) -> Tensor:
        """``log f_0(y) |dy/dx| [N]`` in nats of known positions, up to a constant, where these are drawn at random.

        It is what the weights of chains that were annealed given different such draws have to be multiplied by; 0
        where positions are not drawn.
        """
        return y.new_zeros(len(y))

    @torch.no_grad()
    @in_float32
    def complete(self, x: Tensor, known: Tensor, candidates: int = 8) -> Tensor:
        """Raw data ``[N, *shape]``: the unknown values end chains that are annealed given the known ones.

        Their law is that of f as there are many temperatures, or many candidates.

        Raises:
            ValueError: if candidates is less than 1.
        """
        ensure_counts(candidates=candidates)
        rows, mask = (part.repeat_interleave(candidates, 0) for part in (x, known))
        y, fixed = self.embed(rows), mask.flatten(1)
        law = self.clamped(y, fixed)
        run = law.anneal(len(y))
        index = chosen(run.log_weight + self.log_known_volume(y, fixed), candidates)
        return torch.where(known, x, self.unembed(law.position(run.state)[index]))

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """The :attr:`law`."""
        return self.law

    @property
    def passes_per_sample(self) -> int:
        """One per temperature."""
        return self.temperatures

    # Importance weights: the latent variable is the trajectory of the chain, of which only its weight is kept ---------

    @torch.no_grad()
    @in_float32
    def simulate(self, n: int) -> tuple[Tensor, Tensor]:
        """``x ~ p_ann [n, *shape]`` and the log-weights ``[n, 1]`` of the chains that arrived there."""
        law = self.annealed(self.temperatures)
        run = law.anneal(n)
        y = law.position(run.state)
        return self.unembed(y), (law.weigh(run.state, run.log_weight) + self.log_volume(y))[:, None]

    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """``log w [K, B]`` in nats of ``x [B, *shape]`` by K ``samples`` of the reversed chain, ``E[w] = p_ann(x)``."""
        return self.annealed_weights(x, samples, self.temperatures)

    def log_weight_at(self, x: Tensor, z: Tensor) -> Tensor:
        """``log w [B]`` in nats of ``x [B, *shape]``, as :meth:`simulate` gave it: ``z [B, 1]`` itself."""
        return z[:, 0]

    # Partition function and chains ------------------------------------------------------------------------------------

    @torch.no_grad()
    @in_float32
    def energy(self, x: Tensor) -> Tensor:
        """``-log f(x) [B]`` in nats of raw data ``x [B, *shape]``; dequantized, a bound from above in expectation."""
        y = self.embed(x)
        return self.chain_energy(y) - self.log_volume(y)

    def log_partition(self) -> tuple[float, str] | None:
        """``log Z`` in nats on the plane, by the midpoint rule over standardized positions; ``None`` elsewhere."""
        if self.spec.is_discrete or self.spec.dims != 2:
            return None
        width = 2 * SIDE / CELLS
        line = (torch.arange(CELLS, device=self.device) + 0.5) * width - SIDE
        energies = torch.cat([self.chain_energy(part) for part in torch.cartesian_prod(line, line).split(10_000)])
        return float(torch.logsumexp(-energies.double(), 0)) + 2 * math.log(width), "quadrature"

    @torch.no_grad()
    @in_float32
    def partition_weights(self, n: int, temperatures: int, progress: Progress = iter) -> Tensor:
        """``log w [n]`` in nats, float64, of chains annealed over so many temperatures: ``E[w] = Z``."""
        law = self.annealed(temperatures)
        return law.anneal(n, progress).log_weight.cpu() + law.log_z0

    def chains_at(self, x: Tensor) -> Tensor:
        """Positions ``[N, D]`` of raw data ``x [N, *shape]``."""
        return self.embed(x)

    def chains_of_noise(self, n: int) -> Tensor:
        """Positions ``[n, D]`` drawn from ``f_0``."""
        law = self.annealed(1)
        return law.position(law.draw(n))

    @torch.no_grad()
    @in_float32
    def run_chains(self, state: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Positions ``[N, D]`` after so many transitions at temperature 1, and the mean acceptance ``[N]``."""
        law = self.annealed(1)
        chains, accepted = law.state(state), state.new_zeros(len(state))
        for _ in range(steps):
            chains, probability = law.transition(chains, 1.0, 1)
            accepted = accepted + probability
        return law.position(chains), accepted / max(steps, 1)

    @torch.no_grad()
    @in_float32
    def chain_energy(self, state: Tensor) -> Tensor:
        """``-log f [N]`` in nats at positions ``[N, D]``."""
        law = self.annealed(1)
        return -law.path.log_f(law.state(state), 1.0)
