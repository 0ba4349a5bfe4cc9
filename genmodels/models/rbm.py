"""Restricted Boltzmann machine (Smolensky 1986; Hinton 2002, https://doi.org/10.1162/089976602760128018).

Visible units v, the data, and hidden units h in {0, 1} interact across the two layers only:

    p(v, h) = exp(-E(v, h)) / Z,    E(v, h) = -a^T v - c^T h - v^T W h

so that both p(h | v) and p(v | h) are products, and the hidden units sum out in closed form,

    p(v) = f(v) / Z,    log f(v) = a^T v + sum_j log(1 + exp(c_j + (W^T v)_j)).

The gradient of the log-likelihood is the difference of two expectations of the gradient of log f, over the data and
over the model. The latter is taken over chains of block Gibbs sampling: k sweeps from the data (contrastive divergence,
CD-k), or k further sweeps of chains that persist between batches (Tieleman 2008,
https://doi.org/10.1145/1390156.1390290).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.abilities import Encodes
from genmodels.errors import ensure, ensure_counts
from genmodels.mcmc import AnnealedLaw, enumerate_states, linear_schedule, numbered_states
from genmodels.mcmc.gibbs import (
    BinomialUnits,
    Bipartite,
    BipartitePath,
    ClampedGibbs,
    GaussianUnits,
    GibbsAnnealed,
    GibbsState,
    Visible,
)
from genmodels.models.base import EnergyModel, Loss, OptimizerFactory, SchedulerFactory, Standardizes, in_float32

MOST_BITS = 20  # 2^20 states are enumerated within seconds


class RBM(EnergyModel, Standardizes, Encodes):
    """Boltzmann machine of D visible and m hidden units, in two layers.

    The visible units follow from the data: Bernoulli for two levels, binomial for L (sums of L - 1 equal Bernoulli
    units, Teh & Hinton 2001), so that integers need no dequantization, and Gaussian for reals (Welling et al. 2005),
    which are standardized, with learned precisions.

    A machine whose hidden or visible states can be enumerated has an exact likelihood and independent, exact samples.
    Beyond that both are those of the annealed chain, see :class:`genmodels.models.base.EnergyModel`.

    Args:
        spec: the data that the model is built for.
        hidden: number m of hidden units.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``optimizer -> LRScheduler``, stepped once per batch, or ``None``.
        clip_norm: largest global gradient norm, or ``None``.
        sweeps: k, sweeps of the chains for every batch.
        chains: number of persistent chains; 0 for chains that start from each batch, contrastive divergence.
        units: values of binary units, ``"binary"`` for 0 and 1 or ``"spin"`` for -1 and 1; integers in between are
            evenly spaced. The same distributions, with other gradients.
        centered: subtract from every unit an offset, the mean of the data or of a uniform hidden unit (Montavon &
            Müller 2012; Melchior et al. 2016, JMLR 17). The same distributions, with other gradients.
        exact: enumerate the states: ``None`` if there are at most 2^20, ``True`` to refuse more, ``False`` never.
        temperatures: see :class:`genmodels.models.base.EnergyModel`.
        validation_temperatures: likewise.

    Raises:
        ValueError: if a number is out of range, units are of another kind, or there are too many states for ``exact``.
    """

    def __init__(
        self,
        spec: DataSpec,
        hidden: int,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        sweeps: int = 1,
        chains: int = 128,
        units: str = "binary",
        centered: bool = True,
        exact: bool | None = None,
        temperatures: int = 1000,
        validation_temperatures: int = 100,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm, temperatures, validation_temperatures)
        ensure_counts(hidden=hidden, sweeps=sweeps)
        ensure_counts(0, chains=chains)
        ensure(units in ("binary", "spin"), f"units must be binary or spin, got {units!r}.")
        bits = min(hidden, spec.dims * math.log2(spec.levels or math.inf))
        ensure(
            not exact or bits <= MOST_BITS,
            f"exact=true is for at most 2^{MOST_BITS} states of the hidden or the visible units, here {hidden} hidden "
            f"units; set hidden to at most {MOST_BITS}, or exact=null for the law of annealed chains.",
        )
        self.exact = bits <= MOST_BITS and exact is not False
        self.hidden, self.sweeps, self.n_chains = hidden, sweeps, chains
        self.scale = 1.0 if units == "binary" else 2.0
        self.centered = centered
        self.visible_bias = nn.Parameter(torch.zeros(spec.dims))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        # of reals, half of the variance is at first between the means of units given h, half within
        size = 0.01 if spec.is_discrete else math.sqrt(2 / hidden) / self.scale
        self.weight = nn.Parameter(size * torch.randn(spec.dims, hidden))
        if not spec.is_discrete:
            self.log_precision = nn.Parameter(torch.full((spec.dims,), math.log(2)))
        self.hold_moments(spec.dims)
        self.mean.fill_(((spec.levels or 1) - 1) / 2)
        self._remembered: tuple[Any, Tensor] = (None, torch.empty(0))  # key and value of log_f_of_states

    # The machine ------------------------------------------------------------------------------------------------------

    def visible(self) -> Visible:
        """The kind of the visible units, with their code: standardized reals, or ``κ v`` less an offset."""
        if self.spec.levels is None:
            return GaussianUnits(self.log_precision.exp())
        n = self.spec.levels - 1
        spin = n if self.scale == 2 else 0  # 2 v - n lies between -n and n
        offset = self.scale * self.mean - spin if self.centered else torch.zeros_like(self.mean)
        return BinomialUnits(n, self.scale, offset + spin)

    def machine(self) -> Bipartite:
        """The machine with the present parameters, in its natural ones: fields that add up."""
        visible = self.visible()
        weight: Tensor = self.weight
        bias: Tensor = self.visible_bias
        if isinstance(visible, GaussianUnits):  # given h, reals have the mean a + W h
            weight, bias = visible.precision[:, None] * weight, visible.precision * bias
        shift = self.scale / 2 if self.centered or self.scale == 2 else 0.0
        return Bipartite(visible, weight, bias, self.hidden_bias, self.scale, shift)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Take offsets, biases and the start of the chains from the means of raw data ``x [B, *shape]``."""
        v = x.flatten(1).float()
        if self.spec.levels is None:
            self.take_moments(v)
        else:
            self.mean.copy_((v.sum(0) + (self.spec.levels - 1) / 2) / (len(v) + 1))  # inside of the range
            self.visible_bias.copy_(self.base_bias())
        self.chains = self.initial_chains()

    @torch.no_grad()
    def initial_chains(self) -> dict[str, Tensor]:
        """Persistent chains, if there are any, at draws of the base-rate machine.

        What is kept of a chain is its hidden units: of the visible ones the gradient computes the next hidden field.
        """
        if not self.n_chains:
            return {}
        machine = self.machine()
        return {"h": machine.draw_hidden(machine.hidden_field(self.chains_of_noise(self.n_chains)))}

    def base_bias(self) -> Tensor:
        """Biases ``[D]`` of the base-rate machine, whose independent units have the means of the data."""
        if self.spec.levels is None:
            return torch.zeros_like(self.mean)
        return torch.logit(self.mean / (self.spec.levels - 1)) / self.scale

    def embed(self, x: Tensor) -> Tensor:
        """Units ``v [B, D]`` of raw data ``x [B, *shape]``: integers as they are, reals standardized."""
        v = x.flatten(1).float()
        return v if self.spec.is_discrete else self.standardized(v)

    def log_volume(self, y: Tensor) -> Tensor:
        """The log-determinant ``[B]`` of standardizing reals, 0 for integers."""
        return (0.0 if self.spec.is_discrete else self.log_det_standardized) + y.new_zeros(len(y))

    def unembed(self, y: Tensor) -> Tensor:
        """Raw data ``x [B, *shape]`` of units ``v [B, D]``."""
        if self.spec.is_discrete:
            return y.to(torch.uint8).view(-1, *self.spec.shape)
        return self.restored(y).view(-1, *self.spec.shape)

    # Training ---------------------------------------------------------------------------------------------------------

    @in_float32
    def loss(self, x: Tensor) -> Loss:
        """``(E[log f(chains)] - E[log f(x)]) / D`` for raw data ``x [B, *shape]``, after k sweeps of the chains.

        Its gradient is that of the mean ``-log p(x)``, in nats per dimension, if the chains have the law of the model.
        """
        machine, data = self.machine(), self.embed(x)
        with torch.no_grad():
            h = self.chains["h"] if self.n_chains else machine.draw_hidden(machine.hidden_field(data))
            for _ in range(self.sweeps - 1):
                h = machine.sweep(h)
            v = machine.draw_visible(h)
        both = torch.cat([data, v])
        field = machine.hidden_field(both)
        if self.n_chains:
            self.chains = {"h": machine.draw_hidden(field[len(data) :].detach())}
        log_f = machine.log_visible(both) + machine.log_hidden(field)
        positive, negative = log_f[: len(data)].mean(), log_f[len(data) :].mean()
        terms = {"free_energy_data": -positive, "free_energy_chains": -negative}
        return Loss((negative - positive) / self.spec.dims, terms, is_objective=False)

    # Likelihood and samples -------------------------------------------------------------------------------------------

    def annealed(self, temperatures: int) -> GibbsAnnealed:
        """Chains of one sweep for each inverse temperature, evenly spaced, from the base-rate machine."""
        base = GaussianUnits(torch.ones_like(self.mean)) if self.spec.levels is None else self.visible()
        path = BipartitePath(self.machine(), base, self.base_bias())
        return GibbsAnnealed(path, linear_schedule(temperatures))

    @override
    def clamped(self, y: Tensor, known: Tensor) -> AnnealedLaw[GibbsState]:
        law = self.annealed(self.temperatures)
        return ClampedGibbs(law.path, law.betas, y, known)

    @property
    def sums_hidden(self) -> bool:
        """Whether the states of the hidden units are enumerated, which are fewer, or those of the visible ones."""
        return self.hidden <= self.spec.dims * math.log2(self.spec.levels or math.inf)

    @property
    def states(self) -> tuple[int, Sequence[int]]:
        """Units of the layer that is enumerated, and their values."""
        if self.sums_hidden:
            return self.hidden, (0, 1)
        return self.spec.dims, range(self.spec.levels or 0)

    @torch.no_grad()
    def log_f_of_states(self) -> Tensor:
        """``log f`` of all states of one layer, the other summed out, float64; remembered until a parameter changes.

        Parameters are compared by value, since fused optimizers do not count up their versions.
        """
        values = torch.cat([t.flatten() for t in (*self.parameters(), *self.buffers())])
        key = (self.device, values.cpu().numpy().tobytes())
        if self._remembered[0] != key:
            machine = self.machine()
            log_f = machine.log_f_hidden if self.sums_hidden else machine.log_f
            states = enumerate_states(*self.states, dtype=self.weight.dtype, device=self.device)
            self._remembered = (key, torch.cat([log_f(part).double() for part in states]))
        return self._remembered[1]

    def log_partition(self) -> tuple[float, str] | None:
        """``log Z`` in nats by enumeration, if the states are few enough; else by quadrature on the plane."""
        if not self.exact:
            return super().log_partition()
        return float(torch.logsumexp(self.log_f_of_states(), 0)), "enumeration"

    @torch.no_grad()
    @in_float32
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """``log p(x) [B]`` in nats of raw data ``x [B, *shape]``, exact by enumeration, or by annealed chains a bound.

        Raises:
            ValueError: if samples is less than 1.
        """
        ensure_counts(samples=samples)
        if not self.exact:
            return super().log_likelihood(x, samples)
        v, log_z = self.embed(x), torch.logsumexp(self.log_f_of_states(), 0).float()
        return Likelihood(self.machine().log_f(v) - log_z + self.log_volume(v), Kind.EXACT)

    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """The likelihood by enumeration, else the bound for a shorter annealed chain."""
        return self.log_likelihood(x) if self.exact else super().validation_likelihood(x)

    @torch.no_grad()
    @in_float32
    def sample(self, n: int) -> Tensor:
        """Raw data ``[n, *shape]``: draws of the machine, of first one layer and then the other, or annealed chains."""
        if not self.exact:
            return super().sample(n)
        cumulative = self.log_f_of_states().softmax(0).cumsum(0)
        uniform = torch.rand(n, dtype=torch.float64, device=cumulative.device) * cumulative[-1]
        index = torch.searchsorted(cumulative, uniform).clamp(max=len(cumulative) - 1)
        states, machine = numbered_states(index, *self.states, dtype=self.weight.dtype), self.machine()
        return self.unembed(machine.visible.sample(machine.visible_field(states)) if self.sums_hidden else states)

    @property
    def law(self) -> dict[str, Any]:
        """What the likelihood and the samples are of: the machine itself, or chains that are annealed to it."""
        return {"law": "enumerated"} if self.exact else super().law

    @property
    def no_gap_reason(self) -> str | None:
        """An enumerated likelihood is no bound."""
        return "its log-likelihood is exact" if self.exact else None

    @property
    def passes_per_example(self) -> int:
        """One, or one per temperature."""
        return 1 if self.exact else super().passes_per_example

    @property
    def passes_per_sample(self) -> int:
        """One, or one per temperature."""
        return 1 if self.exact else super().passes_per_sample

    def encode(self, x: Tensor) -> Tensor:
        """``p(h_j = 1 | x) [B, m]`` of raw data ``x [B, *shape]``."""
        machine = self.machine()
        return torch.sigmoid(machine.scale * machine.hidden_field(self.embed(x)))

    def decode(self, z: Tensor) -> Tensor:
        """Means of p(x | h) as raw data ``[B, *shape]``, for hidden units, or probabilities of them, ``z [B, m]``."""
        machine = self.machine()
        mean = machine.visible.mean(machine.visible_field(z))
        return self.unembed(mean.round() if self.spec.is_discrete else mean)
