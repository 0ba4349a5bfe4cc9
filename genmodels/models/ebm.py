r"""Energy-based model: a neural network tilts a Gaussian, ``p(z) = N(z; 0, I) exp(-f(z) / T) / Z``.

The tilt of a reference density is that of Xie et al. 2016 (arXiv:1602.03264, eq. 1); it makes Z finite for every f that
grows more slowly than a square. Here z is the data, standardized. The reference density can also be the
Gaussian copula of the data, N(z; 0, C) of normal scores z with correlations C, which leaves to f what is neither in the
histograms of single dimensions nor in the correlations of two. The gradient of the negative log-likelihood,

    E_data[ grad f ] - E_p[ grad f ]    (over T),

lowers the energy of data and raises that of samples of the model. The samples are the ends of Langevin chains,

    z <- z + η grad log p(z) + sqrt(2 η) ε,    ε ~ N(0, I)

that begin where the last ones ended (Tieleman 2008; Du & Mordatch 2019, arXiv:1903.08689), at noise (short runs:
Nijkamp et al. 2019, arXiv:1904.09770), or at data (contrastive divergence: Hinton 2002).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from genmodels.core import DataSpec
from genmodels.core.normal_scores import NormalScores
from genmodels.core.quantization import dequantize, ensure_alpha, logit, logit_log_det, quantize, unlogit
from genmodels.errors import ensure, ensure_counts, ensure_numbers, require
from genmodels.mcmc import (
    CorrelatedNormal,
    LangevinAnnealed,
    LogDensity,
    NormalDensity,
    Reference,
    StandardNormal,
    correlations,
    sigmoid_schedule,
)
from genmodels.mcmc.starts import Data as Data  # configs name all three here
from genmodels.mcmc.starts import Noise as Noise
from genmodels.mcmc.starts import Persistent as Persistent
from genmodels.mcmc.starts import Start
from genmodels.models.base import (
    EnergyModel,
    Loss,
    NetworkFactory,
    OptimizerFactory,
    SchedulerFactory,
    Standardizes,
    in_float32,
)

FEWEST_ACCEPTED = 0.01  # of the steps of chains that move
MOST_CORRELATED = 4096  # dimensions, whose matrix has 64 MiB
EXAMPLES_PER_DIM = 50  # for their correlations
AT_A_TIME = 4096  # examples
ADAPTATION = 0.1  # of the logarithm of a step size at a batch, times what acceptance lacks


class EBM(EnergyModel, Standardizes):
    """A network f of the energy, trained by contrast with Langevin chains.

    Integers are dequantized and mapped to the reals by the logit (as for a flow, Dinh et al. 2017, §4.1), and all
    dimensions standardized by the data's moments; the reference density is N(0, I) there. Samples and likelihood are
    those of the annealed chain, see :class:`genmodels.models.base.EnergyModel`, whose transitions are single Langevin
    steps of the size with which the model is trained.

    Args:
        spec: the data that the model is built for.
        energy: ``(data shape, (1,)) -> network`` f, of standardized data.
        start: where the chains of a training step begin.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.
        steps: Langevin steps for every batch.
        step_size: η of a Langevin step, in squared standard deviations of the data.
        acceptance: mean probability of accepting a step to which training adapts η, from ``step_size`` on, since the
            law of the model narrows as it learns; ``None`` for a fixed η. What it ends with is part of the model.
            Annealed chains begin with ``step_size`` all the same, which suits the reference density.
        adjusted: accept steps by the rule of Metropolis and Hastings (MALA), which makes the chains exact.
        largest_gradient: largest norm of the gradient in a Langevin step (truncated MALA: Roberts & Tweedie 1996), or
            ``None``. The chains' law is then another one, of which likelihood and samples still are.
        copula: let the reference density be the Gaussian copula of the data: normal scores in place of logits of
            integers (:class:`genmodels.core.normal_scores.NormalScores`), and their correlations, both estimated before
            training. ``None`` for integers of at most 4096 dimensions.
        temperature: T of the model's law ``exp(-f / T)``. As a sampler knows only f / T, T sets how fast the law
            changes with the network's weights.
        energy_decay: weight of the mean squared energies of data and chains in the loss (Du & Mordatch 2019, §3.2).
        alpha: on integer data, the logit map's distance from 0 and 1, ``logit(alpha + (1 - 2 alpha) u)``.
        temperatures: see :class:`genmodels.models.base.EnergyModel`.
        validation_temperatures: likewise.

    Raises:
        ValueError: if a number is out of range, or the data have too many dimensions for a copula.
    """

    remedies = "lower model.step_size, at which chains diverge, or model.optimizer.lr, or set model.largest_gradient"
    root: Tensor
    precision: Tensor
    adapted: Tensor

    def __init__(
        self,
        spec: DataSpec,
        energy: NetworkFactory,
        start: Start,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        steps: int = 20,
        step_size: float = 0.01,
        acceptance: float | None = None,
        adjusted: bool = True,
        largest_gradient: float | None = None,
        copula: bool | None = False,
        temperature: float = 1.0,
        energy_decay: float = 0.0,
        alpha: float = 1e-6,
        temperatures: int = 500,
        validation_temperatures: int = 50,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm, temperatures, validation_temperatures)
        ensure_counts(steps=steps)
        ensure_numbers(above=0, below=2, step_size=step_size)  # from 2 on, steps in N(0, I) diverge
        ensure_numbers(above=0, temperature=temperature)
        ensure_numbers(above=0, optional=True, largest_gradient=largest_gradient)
        ensure_numbers(above=0, below=1, optional=True, acceptance=acceptance)
        ensure(acceptance is None or adjusted, "acceptance is for adjusted=true: other steps are always accepted.")
        ensure_numbers(at_least=0, energy_decay=energy_decay)
        ensure_alpha(alpha)
        ensure(
            not copula or spec.dims <= MOST_CORRELATED,
            f"copula=true is for data of at most {MOST_CORRELATED} dimensions, here {spec.dims}.",
        )
        self.copula = spec.is_discrete and spec.dims <= MOST_CORRELATED if copula is None else copula
        self.steps, self.step_size, self.adjusted, self.largest_gradient = steps, step_size, adjusted, largest_gradient
        self.temperature, self.energy_decay, self.alpha = temperature, energy_decay, alpha
        self.start = start
        self.network = energy(spec.shape, (1,))
        self.hold_moments(spec.dims)
        self.acceptance = acceptance
        if acceptance is not None:
            self.register_buffer("adapted", torch.tensor(step_size))
        self.scores = NormalScores(spec.dims, spec.levels) if self.copula and spec.levels is not None else None
        if self.copula:
            self.register_buffer("root", torch.eye(spec.dims))
            self.register_buffer("precision", torch.eye(spec.dims))

    # Between data and the standardized reals --------------------------------------------------------------------------

    def to_reals(self, x: Tensor) -> Tensor:
        """Raw data ``x [B, *shape]`` as reals ``[B, D]``; integers as logits of points drawn in their bins."""
        u = dequantize(x, self.spec)[0].flatten(1)
        return logit(u, self.alpha)[0] if self.spec.is_discrete else u

    @property
    def first_examples(self) -> int:
        """As many as the moments, or the correlations, of the data are taken of."""
        return EXAMPLES_PER_DIM * self.spec.dims if self.copula else super().first_examples

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Take the moments of raw data ``x [B, *shape]``, or their copula, and start the chains."""
        if self.scores is not None:
            self.scores.fit(x.flatten(1))
        self.take_moments(self.to_reals(x) if self.scores is None else dequantize(x, self.spec)[0].flatten(1))
        if self.scores is not None:
            self.std.fill_(self.std.square().mean().sqrt())  # pixels keep their contrast
        if self.copula:
            c = correlations(self.embed(part) for part in x.split(AT_A_TIME))
            self.root.copy_(torch.linalg.cholesky(c))
            self.precision.copy_(torch.linalg.inv(c))
        self.chains = self.initial_chains()

    @override
    def initial_chains(self) -> dict[str, Tensor]:
        return self.start.initial(self.chains_of_noise)

    @override
    def check_batch(self, n: int) -> None:
        most = self.start.most
        require(n <= most, f"model.start.size={most} is less than the {n} examples of a batch; raise it.")

    @override
    def remark(self, terms: Mapping[str, float]) -> str | None:
        """That chains hardly move, which neither the loss nor the likelihood of the annealed law reveals."""
        accepted = terms["acceptance"]
        if accepted >= FEWEST_ACCEPTED:
            return None
        return f"{100 * accepted:.2g} % of the steps of chains are accepted, which hardly move; lower model.step_size."

    @override
    def embed(self, x: Tensor) -> Tensor:
        if self.scores is not None:
            return self.scores.encode(x.flatten(1))
        return self.standardized(self.to_reals(x))

    def log_volume(self, y: Tensor) -> Tensor:
        """Log-determinant ``[B]`` of standardizing, of the logit, and log-volume of a bin, at ``y [B, D]``."""
        if self.scores is not None:
            return self.scores.log_volume(y).sum(1)
        log_det = self.log_det_standardized.expand(len(y))
        if self.spec.levels is None:
            return log_det
        log_det = log_det + logit_log_det(self.restored(y), self.alpha)
        return log_det - self.spec.dims * math.log(self.spec.levels)

    def unembed(self, y: Tensor) -> Tensor:
        """Raw data ``x [B, *shape]`` of ``y [B, D]``; an integer is the level whose bin contains its point."""
        if self.scores is not None:
            return self.scores.decode(y).to(torch.uint8).view(-1, *self.spec.shape)
        reals = self.restored(y)
        u = unlogit(reals, self.alpha) if self.spec.is_discrete else reals
        return quantize(u, self.spec).view(-1, *self.spec.shape)

    # Energy and chains ------------------------------------------------------------------------------------------------

    def tilt(self, z: Tensor) -> Tensor:
        """``-f(z) / T [B]``, what is added to the reference's log-density, at ``z [B, D]``.

        In place of normal scores the network sees the values that they stand for.
        """
        seen = z if self.scores is None else self.standardized(self.scores.dequantized(z))
        energy: Tensor = self.network(seen.view(-1, *self.spec.shape)).float().flatten()
        return -energy / self.temperature

    @property
    def eta(self) -> float | Tensor:
        """Size η of a Langevin step: fixed, or adapted, ``[]``, of which training reads no number from its device."""
        return self.step_size if self.acceptance is None else self.adapted.clone()

    @property
    def reference(self) -> Reference:
        """The density ``f_0 / Z_0`` that f tilts."""
        if self.copula:
            return CorrelatedNormal(self.root, self.precision)
        return StandardNormal(self.spec.dims, self.device)

    @override
    def chains_of_noise(self, n: int) -> Tensor:
        return self.reference.draw(n)

    @override
    def annealed(self, temperatures: int) -> LangevinAnnealed:
        return self.langevin_along(self.tilt, self.reference, temperatures)

    def langevin_along(
        self, log_g: LogDensity[Tensor], reference: NormalDensity, temperatures: int
    ) -> LangevinAnnealed:
        """Chains of single Langevin steps from a reference density to its tilt by ``log_g``."""
        betas, first = sigmoid_schedule(temperatures), None if self.acceptance is None else self.step_size
        return LangevinAnnealed(log_g, reference, betas, self.eta, self.adjusted, self.largest_gradient, first)

    @override
    def clamped(self, y: Tensor, known: Tensor) -> LangevinAnnealed:
        """The tilt sees known positions in the place of the chain's own, which stay independent of all others."""
        given = self.reference.given(y, known)
        return self.langevin_along(lambda z: self.tilt(torch.where(known, y, z)), given, self.temperatures)

    @override
    def log_known_volume(self, y: Tensor, known: Tensor) -> Tensor:
        if not self.spec.is_discrete:
            return y.new_zeros(len(y))
        given = self.reference.given(y, known)
        if self.scores is not None:
            return given.log_known + torch.where(known, self.scores.log_volume(y), 0.0).sum(1)
        reals = self.restored(y)
        return given.log_known + torch.where(known, F.softplus(reals) + F.softplus(-reals), 0.0).sum(1)

    @property
    def law(self) -> dict[str, Any]:
        """The chain that is annealed, by single Langevin steps, and the temperature of the energy."""
        clipped = {} if self.largest_gradient is None else {"largest_gradient": self.largest_gradient}
        size = (
            self.step_size
            if self.acceptance is None
            else f"{self.step_size}, then adapted to an acceptance of {self.acceptance}"
        )
        steps = {"step_size": size, "adjusted": self.adjusted, "temperature": self.temperature}
        copula = {"reference": "Gaussian copula"} if self.copula else {}
        return {**super().law, **steps, **clipped, **copula}

    @in_float32
    def loss(self, x: Tensor) -> Loss:
        """``(E[f(data)] - E[f(chains)]) / (T D)`` for raw data ``x [B, *shape]``, plus the decay of energies.

        Its gradient is that of the mean ``-log p(x)``, in nats per dimension, if the chains have the law of the model.
        """
        data = self.embed(x)
        ends, acceptance = self.move_chains(data)
        tilts = self.tilt(torch.cat([data, ends]))
        on_data, on_chains = tilts.chunk(2)
        contrast = (on_chains.mean() - on_data.mean()) / self.spec.dims
        decay = self.energy_decay * tilts.square().mean()
        terms = {"energy_data": -on_data.mean(), "energy_chains": -on_chains.mean(), "acceptance": acceptance}
        return Loss(contrast + decay, terms, is_objective=False)

    @torch.no_grad()
    def move_chains(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """Ends ``[B, D]`` of chains for a batch ``data [B, D]``, and the mean acceptance, a scalar."""
        begin, slots = self.start.pick(self.chains, data, self.chains_of_noise)
        ends, acceptance = self.run_chains(begin, self.steps)
        if slots is not None:
            self.chains["z"][slots] = ends
            self.chains["age"][slots] += self.steps
        if self.acceptance is not None:  # at most 1.9, since from 2 on steps in N(0, I) diverge
            self.adapted.mul_((ADAPTATION * (acceptance.mean() - self.acceptance)).exp()).clamp_(max=1.9)
        return ends, acceptance.mean()

    @property
    def energy_is_exact(self) -> bool:
        """Integers are dequantized, which bounds their energy from above."""
        return not self.spec.is_discrete
