"""Diffusion by nonequilibrium thermodynamics (Sohl-Dickstein et al. 2015, arXiv:1503.03585).

A Markov chain q of small steps T_π erases the structure of data x_0 until x_T has the law π, Gaussian noise for reals
and independent bits for bits. A network learns its reversal p, a chain from x_T ~ π back to data. The steps are those
of the kernel, perturbed, since the reversal of a small step is of the same form (Feller 1949). The last one,
``p(x_0 | x_1) = T_π(x_0 | x_1; β_1)``, is not learned (appendix B). The log-likelihood is an average over trajectories,

    p(x_0) = E_q(x_{1:T} | x_0)[ p(x_T) prod_t p(x_{t-1} | x_t) / q(x_t | x_{t-1}) ],                         (eq. 9)

and its bound by Jensen's inequality, ``log p(x_0) >= K``, one of divergences and entropies:

    K = - sum_{t=2}^T E KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))
        + H_q(X_T | x_0) - H_q(X_1 | x_0) - H_p(X_T).                                                        (eq. 14)

The paper takes ``E log π`` to be the same at all times. This holds on average for data of the moments of π; here the
three terms are kept, so that K is a bound for any data and for every example alone: in the place of ``-H_p(X_T)`` is

    E log π(x_T) + log π(x_0) - E log π(x_1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.candidates import chosen
from genmodels.core.quantization import dequantize, from_symmetric, to_symmetric, unit_to_symmetric
from genmodels.core.stepwise import terms_by_step, weighted_sum
from genmodels.diffusion import extract, random_times
from genmodels.diffusion.chain import DiffusionChain
from genmodels.diffusion.guidance import guided
from genmodels.diffusion.kernels import BinomialKernel, GaussianKernel, Kernel
from genmodels.diffusion.laws import Factor, Law, per_example
from genmodels.diffusion.learned_schedule import LearnedSchedule
from genmodels.errors import UserError, ensure, ensure_counts, ensure_numbers
from genmodels.models.base import (
    DiffusionModel,
    Loss,
    NetworkFactory,
    OptimizerFactory,
    SchedulerFactory,
    Standardizes,
    in_float32,
)


class Nonequilibrium(DiffusionModel, Standardizes):
    """Binomial diffusion of data of two levels, Gaussian diffusion of all others.

    Reals are standardized, each channel by its mean and standard deviation; integers are dequantized, which makes the
    bound one on their log-mass, and lie in [-1, 1].

    Args:
        spec: the data that the model is built for.
        network: ``(shape, output shape) -> network`` of x_t ``[B, *shape]`` and t ``[B]``, which perturbs the kernel;
            the output has two numbers per dimension for Gaussian, and one for binomial diffusion.
        schedule: β_t for t = 1 .. T, fixed or learned, see :mod:`genmodels.diffusion`.
        optimizer: see :class:`GenerativeModel`.
        scheduler: see :class:`GenerativeModel`.
        clip_norm: see :class:`GenerativeModel`.
        rate: probability of ones in the equilibrium of binomial diffusion; ``None`` for the frequency in the data.

    Raises:
        ValueError: if the rate is not between 0 and 1, or a fixed β outside of (0, 1).
    """

    time_probability: Tensor

    def __init__(
        self,
        spec: DataSpec,
        network: NetworkFactory,
        schedule: Tensor | LearnedSchedule,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        rate: float | None = None,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm)
        ensure_numbers(above=0, below=1, optional=True, rate=rate)
        self.rate = rate
        self.kernel: Kernel[Any] = GaussianKernel()
        if spec.levels == 2:
            self.kernel = BinomialKernel(torch.full((), rate or 0.5))
        self.schedule = schedule if isinstance(schedule, nn.Module) else FixedSchedule(schedule)
        self.steps = len(self.betas())
        ensure(self.steps >= 2, "schedule must have at least two steps.")
        self.network = network(spec.shape, (self.kernel.outputs * spec.shape[0], *spec.shape[1:]))
        self.hold_moments(spec.shape[0], *[1] * (len(spec.shape) - 1))
        uniform = torch.cat([torch.zeros(2), torch.full((self.steps - 1,), 1 / (self.steps - 1))])
        self.register_buffer("time_probability", uniform, persistent=False)  # t = 2 .. T

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Take the moments of reals, or the frequency of ones, from raw data ``x [B, *shape]``."""
        if self.spec.levels is None:
            self.take_moments(x.float().transpose(0, 1).flatten(1).T)
        elif isinstance(self.kernel, BinomialKernel) and self.rate is None:
            self.kernel.rate.fill_((float(x.sum()) + 0.5) / (x.numel() + 1))  # inside of (0, 1)

    # Between data and the scale of the process ------------------------------------------------------------------------

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 ``[B, *shape]`` of raw data, drawn in the bins of integers, and ``log |dx_0/dx| [B]`` or of the bins."""
        if isinstance(self.kernel, BinomialKernel):
            return x.float(), x.new_zeros(len(x), dtype=torch.float32)
        if self.spec.levels is None:
            pixels = self.spec.dims // self.std.numel()
            return self.standardized(x.float()), (pixels * self.log_det_standardized).expand(len(x))
        u, log_bins = dequantize(x, self.spec)
        y, log_det = unit_to_symmetric(u, self.spec)
        return y, log_bins + log_det

    def unembed(self, x0: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` of x_0; an integer is the level whose bin contains it."""
        if isinstance(self.kernel, BinomialKernel):
            return x0.to(torch.uint8)
        return from_symmetric(x0, self.spec) if self.spec.is_discrete else self.restored(x0)

    # The two chains ---------------------------------------------------------------------------------------------------

    def betas(self) -> Tensor:
        """``[T]``, float64."""
        betas: Tensor = self.schedule()
        return betas

    def lost(self) -> tuple[Tensor, Tensor]:
        """``β_t`` and ``1 - ᾱ_t``, each ``[T + 1]`` and indexed by t from 0, computed in float64."""
        beta = torch.cat([self.betas().new_zeros(1), self.betas()])
        return beta.float(), -torch.expm1(torch.log1p(-beta).cumsum(0)).float()

    @in_float32
    def reverse(self, x_t: Tensor, t: Tensor, beta: Tensor) -> Law[Any]:
        """``p(x_{t-1} | x_t)`` at ``x_t [B, *shape]`` for t >= 2, given β_t ``[B, 1, ...]``; float32 under autocast."""
        inputs = to_symmetric(x_t, self.spec) if isinstance(self.kernel, BinomialKernel) else x_t
        perturbed: Law[Any] = self.kernel.perturbed(x_t, self.network(inputs, t).float(), beta)
        return perturbed

    # The bound: eq. 14 ------------------------------------------------------------------------------------------------

    def divergence(self, x0: Tensor, t: Tensor) -> Tensor:
        """``KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) [B]`` in nats, at one x_t ~ q(x_t | x_0) for each t >= 2."""
        beta, lost = (extract(table, t, x0) for table in self.lost())
        before = extract(self.lost()[1], t - 1, x0)
        x_t = self.kernel.transition(x0, lost).sample()
        posterior = self.kernel.posterior(x0, x_t, before, beta)
        return per_example(posterior.divergence(self.reverse(x_t, t, beta)))

    def entropies(self, x0: Tensor) -> Tensor:
        """``H_q(X_T | x_0) - H_q(X_1 | x_0) + E log π(x_T) + log π(x_0) - E log π(x_1) [B]`` in nats: K less its sum.

        It is in closed form, and depends on the schedule alone.
        """
        lost, equilibrium = self.lost()[1], self.kernel.equilibrium(x0)
        first, last = (self.kernel.transition(x0, lost[t]) for t in (1, self.steps))
        entropy = last.entropy() - first.entropy()  # H_q(X_T | x_0) - H_q(X_1 | x_0)
        potential = last.expected_log_prob(equilibrium) - first.expected_log_prob(equilibrium)
        return per_example(entropy + potential + equilibrium.log_prob(x0))

    def loss(self, x: Tensor) -> Loss:
        """``-K / D`` in nats per dimension for raw data ``x [B, *shape]``, by one divergence per example.

        The gradient passes through x_t as well, its noise held fixed, by which the schedule is learned (§2.4.1).
        """
        divergence, rest = self.one_term(x)
        terms = {"divergence": divergence.mean() / self.spec.dims, "entropies": rest.mean() / self.spec.dims}
        return Loss(terms["divergence"] - terms["entropies"], terms)

    def one_term(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """An estimate of the sum of divergences by one of them, and what else K consists of, ``[B]`` in nats."""
        x0, log_volume = self.embed(x)
        t = random_times(len(x), self.time_probability)
        return self.divergence(x0, t) / self.time_probability[t], self.entropies(x0) + log_volume

    @torch.no_grad()
    def stepwise_likelihood(self, x: Tensor, inclusion: Tensor | None = None) -> Likelihood:
        """K and its terms; unbiased with drawn divergences. Column t - 1 of the curve is the divergence at t + 1."""
        nats = terms_by_step(self.terms_at, x, self.passes_per_example, inclusion)["nats"]
        x0, log_volume = self.embed(x)
        terms = {"divergence": weighted_sum(nats, inclusion), "entropies": self.entropies(x0) + log_volume}
        return Likelihood(terms["entropies"] - terms["divergence"], Kind.LOWER_BOUND, terms, {"nats": nats})

    def terms_at(self, x: Tensor, t: Tensor) -> dict[str, Tensor]:
        """``nats [B]``: the divergence of the step from t + 1 to t, for ``t [B]`` of 1 .. T - 1."""
        return {"nats": self.divergence(self.embed(x)[0], t + 1)}

    @torch.no_grad()
    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """Unbiased estimate of K from one pass per example; times are stratified over the batch."""
        divergence, rest = self.one_term(x)
        return Likelihood(rest - divergence, Kind.LOWER_BOUND)

    @property
    def passes_per_example(self) -> int:
        """T - 1: K has a divergence for every step but the first, which is not learned."""
        return self.steps - 1

    @torch.no_grad()
    def entropy_bounds(self, x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Bounds ``[B]`` in nats whose means over data are bounds on ``H_q(X_{t-1} | X_t)`` of a reverse step (eq. 24).

        ``H_q(X_t|X_{t-1}) + H_q(X_{t-1}|X_0) - H_q(X_t|X_0) <= H_q(X_{t-1}|X_t) <= H_q(X_t|X_{t-1})``, where the upper
        one needs data as spread out as π, so that the entropy of X_t does not rise less than that of the noise.

        Raises:
            ValueError: if t is not in 2 .. T.
        """
        ensure_counts(2, self.steps, t=t)
        x0, (beta, lost) = self.embed(x)[0], self.lost()
        before, after = (self.kernel.transition(x0, lost[s]) for s in (t - 1, t))
        step = self.kernel.transition_entropy(before, beta[t])
        return per_example(step + before.entropy() - after.entropy()), per_example(step)

    # Trajectories: eq. 9 ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_weight_at(self, x: Tensor, z: Tensor) -> Tensor:
        """``log w [B]`` in nats on trajectories ``z = x_{0:T} [B, T + 1, *shape]``, whose x_0 is in the bins of x."""
        _, log_volume = self.embed(x)
        x0, *trajectory = z.unbind(1)
        return self.chain().log_weight(x0, trajectory) + log_volume

    def step_back(self, x_t: Tensor, step: int, beta: Tensor) -> Law[Any]:
        """``p(x_{t-1} | x_t)`` at ``x_t [B, *shape]``, where t is the same for all, and may be 1."""
        if step == 1:
            first: Law[Any] = self.kernel.transition(x_t, beta)  # p(x_0 | x_1) = T_π(x_0 | x_1; β_1)
            return first
        t = torch.full((len(x_t),), step, device=x_t.device)
        return self.reverse(x_t, t, beta.expand(len(x_t)).view(-1, *[1] * (x_t.dim() - 1)))

    def path(self, n: int) -> Iterator[Tensor]:
        """States ``[n, *shape]`` of the reverse chain, from x_T to x_0."""
        betas = self.lost()[0]
        x = self.kernel.equilibrium(torch.zeros(n, *self.spec.shape, device=self.device)).sample()
        yield x
        for step in range(self.steps, 0, -1):
            x = self.step_back(x, step, betas[step]).sample()
            yield x

    @torch.no_grad()
    def simulate(self, n: int) -> tuple[Tensor, Tensor]:
        """``x [n, *shape]``, raw data, and the trajectories ``x_{0:T} [n, T + 1, *shape]`` drawn with them from p.

        Of integers, trajectories that end outside of all bins are rejected: no x has their mass in its log-likelihood.

        Raises:
            UserError: if fewer than one in 100 ends inside.
        """
        z = torch.empty(0, self.steps + 1, *self.spec.shape, device=self.device)
        for _ in range(100):
            drawn = torch.stack(list(self.path(n))[::-1], dim=1)
            z = torch.cat([z, drawn[self.in_bins(drawn[:, 0])]])
            if len(z) >= n:
                return self.unembed(z[:n, 0]), z[:n]
        raise UserError(f"of {100 * n} trajectories, only {len(z)} end in the bins of the data's levels.")

    def in_bins(self, x0: Tensor) -> Tensor:
        """Whether every number of ``x0 [B, *shape]`` lies in the bin of a level: ``[B]``."""
        edge = math.inf
        if not isinstance(self.kernel, BinomialKernel) and self.spec.levels is not None:
            edge = 1 + 1 / (self.spec.levels - 1)
        return (x0.abs() <= edge).flatten(1).all(1)

    # Posteriors: §2.5 -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def posterior_sample(self, n: int, log_r: Factor, candidates: int = 8) -> Tensor:
        """``n`` draws ``[n, *shape]`` of ``p(x) r(x)``, normalized, where r is a product over dimensions.

        Args:
            n: number of draws.
            log_r: ``x [B, *shape] -> log r(x) [B, *shape]`` in nats, differentiable, of data as floats, such as
                ``-0.5 * ((x - y) / sigma) ** 2`` for an observation y with Gaussian noise.
            candidates: as of :meth:`complete`.

        Raises:
            ValueError: if candidates is less than 1.
        """
        ensure_counts(candidates=candidates)

        def log_factor(x0: Tensor) -> Tensor:
            half = ((self.spec.levels or 3) - 1) / 2  # 1 for reals
            scaled = x0 if isinstance(self.kernel, BinomialKernel) else self.restored(x0)
            symmetric = self.spec.is_discrete and not isinstance(self.kernel, BinomialKernel)
            return log_r((x0 + 1) * half if symmetric else scaled)

        x0 = torch.zeros(n * candidates, *self.spec.shape, device=self.device)
        x0, log_w = guided(self.chain(), x0, torch.zeros_like(x0).bool(), log_factor)
        return self.unembed(x0[chosen(log_w, candidates)])

    def chain(self) -> DiffusionChain:
        """The laws of q and p, step by step."""
        beta, lost = self.lost()
        return DiffusionChain(
            steps=self.steps,
            equilibrium=self.kernel.equilibrium,
            step=lambda x, t: self.kernel.transition(x, beta[t]),
            forward=lambda x0: self.kernel.transition(x0, lost[-1]),
            posterior=lambda x0, x_t, t: self.kernel.posterior(x0, x_t, lost[t - 1], beta[t]),
            reverse=lambda x_t, t: self.step_back(x_t, t, beta[t]),
        )

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """The number of steps."""
        return {"steps": self.steps}

    @property
    def passes_per_sample(self) -> int:
        """T - 1: the last step is not learned."""
        return self.steps - 1


class FixedSchedule(nn.Module):
    """Given ``betas [T]``, which are not saved with the weights.

    Raises:
        ValueError: if one lies outside of (0, 1).
    """

    values: Tensor

    def __init__(self, betas: Tensor) -> None:
        super().__init__()
        ensure(bool(((betas > 0) & (betas < 1)).all()), "betas must all lie in (0, 1).")
        self.register_buffer("values", betas.double(), persistent=False)

    def forward(self) -> Tensor:
        """``betas [T]``, float64."""
        return self.values
