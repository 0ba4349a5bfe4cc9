"""Denoising diffusion probabilistic models (Ho, Jain & Abbeel 2020, arXiv:2006.11239).

The forward process q adds noise to data x_0 in T small steps until x_T is close to N(0, I). A network learns to reverse
the steps. Training minimizes a reweighted variational bound; the bound itself is the likelihood:

    -log p(x_0) <= E_q[ L_T + sum_{t=2}^{T} L_{t-1} + L_0 ]                                                  (eq. 5)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood
from genmodels.core.abilities import Exports, HasProbabilityFlow, Program
from genmodels.core.observation import discretized_gaussian
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.core.stepwise import terms_by_step, weighted_sum
from genmodels.diffusion import (
    Ancestral,
    Coefficients,
    DiffusionProcess,
    Noised,
    Objective,
    Prediction,
    ReverseVariance,
    Sampler,
    random_times,
)
from genmodels.diffusion.chain import DiffusionChain, gaussian_chain
from genmodels.diffusion.gaussian import kl_divergence, log_prob
from genmodels.diffusion.laws import DiscretizedNormal, Normal, per_example
from genmodels.diffusion.objectives import Simple as Simple  # configs name both objectives here
from genmodels.diffusion.objectives import Variational as Variational
from genmodels.diffusion.probability_flow import flow_log_prob
from genmodels.errors import ensure, ensure_numbers
from genmodels.models.base import DiffusionModel, Loss, NetworkFactory, OptimizerFactory, SchedulerFactory, solving


class DDPM(DiffusionModel, HasProbabilityFlow, Exports):
    """Diffusion model on images or vectors, of integers (scaled to [-1, 1]) or reals (taken as they are).

    Args:
        spec: the data.
        network: factory ``(in_shape, out_shape) -> net(x_t [B, *in_shape], t [B]) -> [B, *out_shape]``.
        schedule: ``betas [T]``, see :mod:`genmodels.diffusion.schedules`.
        prediction: what the network predicts, see :mod:`genmodels.diffusion.predictions`.
        objective: what training minimizes, see :mod:`genmodels.diffusion.objectives`.
        variance: variance of the reverse process, see :mod:`genmodels.diffusion.variances`.
        sampler: see :mod:`genmodels.diffusion.samplers`.
        optimizer: see :class:`GenerativeModel`.
        scheduler: see :class:`GenerativeModel`.
        clip_norm: see :class:`GenerativeModel`.
        clip_x0: clip estimates of x_0 to [-1, 1] when sampling and scoring integer data. Training never clips, because
            the gradient would vanish where it does.
        label_dropout: of data with labels, the probability of leaving out the label of a training example, by which the
            network learns p(x) too (p_uncond of Ho & Salimans 2022, algorithm 1, arXiv:2207.12598).
        guidance: w of their eq. 6, by which samples become more typical of their labels and less diverse; 0 for samples
            of p(x|y). Likelihoods are always those of p(x|y).

    Raises:
        ValueError: if the sampler takes more steps than the schedule has, label_dropout or guidance is out of range, or
            there is guidance without dropped labels, or these without labels.
    """

    takes_labels = True

    def __init__(
        self,
        spec: DataSpec,
        network: NetworkFactory,
        schedule: Tensor,
        prediction: Prediction,
        objective: Objective,
        variance: ReverseVariance,
        sampler: Sampler,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None = None,
        clip_norm: float | None = None,
        clip_x0: bool = True,
        label_dropout: float = 0.0,
        guidance: float = 0.0,
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm)
        steps = len(schedule)
        fits = sampler.steps is None or sampler.steps <= steps
        ensure(fits, f"sampler.steps={sampler.steps} exceeds the {steps} steps of the schedule.")
        ensure_numbers(at_least=0, below=1, label_dropout=label_dropout)
        ensure_numbers(at_least=0, guidance=guidance)
        ensure(spec.classes is not None or label_dropout == 0, "label_dropout is for labels; set data.labels=true.")
        learned = "guidance needs a network that was trained with dropped labels too; train with label_dropout=0.1."
        ensure(label_dropout > 0 or guidance == 0, learned)
        out_shape = (variance.outputs * spec.shape[0], *spec.shape[1:])
        self.network = self.labels.beside_time(network)(spec.shape, out_shape)
        self.process = DiffusionProcess(schedule)
        self.prediction = prediction
        self.objective = objective
        self.variance = variance
        self.sampler = sampler
        self.clip_x0 = clip_x0 and spec.is_discrete
        self.label_dropout = label_dropout
        self.guidance = guidance

    # Training: algorithm 1 --------------------------------------------------------------------------------------------

    def loss(self, x: Tensor) -> Loss:
        """The objective at one random time t per example, of the network's output at ``x_t ~ q(x_t | x_0)``."""
        probability = self.objective.time_probability(self.process)
        noised = self.noised(x, random_times(len(x), probability))
        with self.labels.dropped(self.label_dropout):
            output, v = self.predict(noised.x_t, noised.t)
        target = self.prediction.target(noised.x0, noised.eps, self.process.at(noised.t, noised.x0))

        def vlb(output: Tensor, v: Tensor | None) -> Tensor:
            return self.vlb_sample(noised, output, v, probability)

        return self.objective(output, v, target, vlb)

    def vlb_sample(self, noised: Noised, output: Tensor, v: Tensor | None, probability: Tensor) -> Tensor:
        """Unbiased estimate ``[]`` of the bound less L_T in nats/dim: the mean of a term over its ``probability``."""
        x0_hat = self.prediction.x0(noised.x_t, output, self.process.at(noised.t, noised.x_t))
        return (self.vlb_term(noised, x0_hat, v) / probability[noised.t]).mean() / self.spec.dims

    # The bound: eq. 5 -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def stepwise_likelihood(self, x: Tensor, inclusion: Tensor | None = None) -> Likelihood:
        """``-(L_T + sum_{t=2}^T L_{t-1} + L_0) [B]`` in nats, for raw data ``x [B, *shape]`` (eq. 5).

        Of the last T terms only some are computed if there are probabilities ``inclusion [T]`` to draw them by, see
        :mod:`genmodels.core.stepwise`; the bound is then unbiased, and the curves of the other terms are NaN.

        It comes with the terms ``rate``, the cost of sending x_1, and ``distortion`` (nats) and, against t, the curves
        ``nats`` (L_{t-1}) and ``squared_error`` (|x_0 - x̂_0(x_t)|² on the scale of the process): progressive coding
        (§4.3, fig. 5).
        """
        # 1. L_T = KL(q(x_T | x_0) || p(x_T)), in closed form.
        prior = self.process.prior_divergence(to_symmetric(x, self.spec))  # [B]

        # Every other term is taken at its own x_t ~ q(x_t | x_0), from which the network estimates x_0.
        # 2. L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) for t = 2 .. T.
        # 3. L_0 = -log p(x_0 | x_1).
        curves = terms_by_step(self.terms_at, x, self.process.steps, inclusion)  # column t - 1 is L_{t-1}

        def total(steps: slice) -> Tensor:
            return weighted_sum(curves["nats"][:, steps], None if inclusion is None else inclusion[steps])

        rate, distortion = prior + total(slice(1, None)), total(slice(1))
        return Likelihood(-(rate + distortion), Kind.LOWER_BOUND, {"rate": rate, "distortion": distortion}, curves)

    def terms_at(self, x: Tensor, t: Tensor) -> dict[str, Tensor]:
        """``nats``, L_{t-1}, and ``squared_error``, |x_0 - x̂_0|², both ``[B]``, at one x_t for each ``t [B]``."""
        noised = self.noised(x, t)
        x0_hat, v = self.estimate_x0(noised.x_t, t)
        squared_error = per_example((noised.x0 - x0_hat).square())
        return {"nats": self.vlb_term(noised, x0_hat, v), "squared_error": squared_error}

    def vlb_term(self, noised: Noised, x0_hat: Tensor, v: Tensor | None) -> Tensor:
        """``L_{t-1} [B]`` in nats at ``noised.t``, given the estimate ``x0_hat [B, *shape]`` of x_0 (eq. 5)."""
        q_mean, q_log_variance = self.process.posterior(noised.x0, noised.x_t, noised.t)  # q(x_{t-1} | x_t, x_0)
        p_mean, p_log_variance = self.reverse(noised.x_t, noised.t, x0_hat, v)  # p(x_{t-1} | x_t)
        kl = per_example(kl_divergence(q_mean, q_log_variance, p_mean, p_log_variance))  # 2. L_{t-1}, t >= 2

        # 3. L_0. At t >= 2 it is evaluated at N(x_0, 1) and not used, so that no shape depends on t.
        first = (noised.t == 1).view(-1, *[1] * (noised.x0.dim() - 1))
        mean, log_variance = torch.where(first, p_mean, noised.x0), torch.where(first, p_log_variance, 0.0)
        return torch.where(noised.t == 1, self.decoder_nll(noised.x, mean, log_variance), kl)

    def decoder_nll(self, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """``L_0 = -log p(x_0 | x_1) [B]`` in nats: of integers by a discretized Gaussian (eq. 13), or a density."""
        if self.spec.levels is None:
            return -per_example(log_prob(x.float(), mean, log_variance))
        return -per_example(discretized_gaussian(x, mean, 0.5 * log_variance, self.spec.levels))

    @torch.no_grad()
    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """Unbiased estimate of the bound from one pass per example: L_T, and one random term over its probability.

        Single values are noisy; their mean over a batch is less so, because the times are stratified over it.
        """
        t = random_times(len(x), self.process.reciprocal)
        prior = self.process.prior_divergence(to_symmetric(x, self.spec))
        term = self.terms_at(x, t)["nats"]
        return Likelihood(-(prior + term / self.process.reciprocal[t]), Kind.LOWER_BOUND)

    @property
    def passes_per_example(self) -> int:
        """T: the bound has a term for every step."""
        return self.process.steps

    # The two processes at time t --------------------------------------------------------------------------------------

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 ``[B, *shape]`` of raw data ``x [B, *shape]``, whose probability is that of x, and zeros ``[B]``."""
        return to_symmetric(x, self.spec), x.new_zeros(len(x), dtype=torch.float32)

    def unembed(self, x0: Tensor) -> Tensor:
        """Raw data ``[B, *shape]`` of x_0; an integer is the level nearest to it."""
        return from_symmetric(x0, self.spec)

    def noised(self, x: Tensor, t: Tensor) -> Noised:
        """``x_t ~ q(x_t | x_0) [B, *shape]`` for raw data ``x [B, *shape]`` at times ``t [B]`` (eq. 4)."""
        x0 = to_symmetric(x, self.spec)
        eps = torch.randn_like(x0)
        return Noised(x, x0, t, eps, self.process.diffuse(x0, t, eps))

    def predict(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's output at ``x_t [B, *shape]`` and ``t [B]``, and v of a learned variance, ``[B, *shape]``.

        Both are float32, under autocast too.
        """
        return self.variance.split(self.network(x_t, t).float())

    def estimate_x0(self, x_t: Tensor, t: Tensor, guidance: float = 0.0) -> tuple[Tensor, Tensor | None]:
        """The network's (clipped) estimate x̂_0 of x_0, and v of a learned variance, both ``[B, *shape]``.

        With guidance w it is that of ``ε̃ = (1 + w) ε(x_t, y) - w ε(x_t)`` (Ho & Salimans 2022, eq. 6). The weights sum
        to one, so that the same holds for whatever else the network predicts, which is affine in ε at given x_t.
        """
        output, v = self.predict(x_t, t)
        if guidance > 0:
            with self.labels.left_out():
                output = (1 + guidance) * output - guidance * self.predict(x_t, t)[0]
        x0_hat = self.prediction.x0(x_t, output, self.process.at(t, x_t))
        return x0_hat.clamp(-1, 1) if self.clip_x0 else x0_hat, v

    def reverse(self, x_t: Tensor, t: Tensor, x0_hat: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean ``[B, *shape]`` and log σ_t² of ``p(x_{t-1} | x_t)``: the posterior's mean at x̂_0 (eq. 7 and §3.2)."""
        return self.process.posterior_mean(x0_hat, x_t, t), self.variance.log(self.process, x_t, t, v)

    # Samples: algorithm 2 ---------------------------------------------------------------------------------------------

    def path(self, n: int) -> Iterator[Tensor]:
        """The sampler's states ``[n, *shape]``, from x_T to x_0, on the scale of the process."""
        x_T = torch.randn(n, *self.spec.shape, device=self.process.beta.device)
        yield x_T
        estimate_x0 = partial(self.estimate_x0, guidance=self.guidance)
        yield from self.sampler.path(self.process, estimate_x0, self.variance, x_T)

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """The sampler's settings, in plain types, and the guidance if there is any."""
        guidance = {"guidance": self.guidance} if self.guidance > 0 else {}
        return self.sampler.protocol(self.process.steps) | guidance

    @property
    def passes_per_sample(self) -> int:
        """The steps that the sampler takes, each of two passes under guidance."""
        return len(self.sampler.times(self.process.steps)) * (2 if self.guidance > 0 else 1)

    # Trajectories: eq. 3 ----------------------------------------------------------------------------------------------

    def chain(self) -> DiffusionChain:
        """The laws of q and p, step by step; of integers, x_0 is the level nearest to a draw of the last Gaussian."""

        def reverse(x_t: Tensor, step: int) -> Normal:
            t = torch.full((len(x_t),), step, device=x_t.device)
            mean, log_variance = self.reverse(x_t, t, *self.estimate_x0(x_t, t))
            rounds = step == 1 and self.spec.is_discrete
            return DiscretizedNormal(mean, log_variance, self.spec) if rounds else Normal(mean, log_variance)

        return gaussian_chain(self.process, reverse)

    @torch.no_grad()
    def log_weight_at(self, x: Tensor, z: Tensor) -> Tensor:
        """``log p(x_{0:T}) - log q(x_{1:T} | x_0) [B]`` in nats, on the trajectories ``z = x_{1:T} [B, T, *shape]``."""
        return self.chain().log_weight(to_symmetric(x, self.spec), z.unbind(1))

    @torch.no_grad()
    def simulate(self, n: int) -> tuple[Tensor, Tensor]:
        """``x_0 [n, *shape]``, raw data, and ``x_{1:T} [n, T, *shape]``, drawn from the model by all its T steps.

        An integer is the level nearest to a draw of the last Gaussian, which has the law of :meth:`decoder_nll`.
        """
        x_T = torch.randn(n, *self.spec.shape, device=self.process.beta.device)
        chain = Ancestral(draw_last=True).path(self.process, self.estimate_x0, self.variance, x_T)
        *trajectory, x0 = (x_T, *chain)
        return from_symmetric(x0, self.spec), torch.stack(trajectory[::-1], dim=1)

    # Beyond the paper: the probability flow, and a part for other programs --------------------------------------------

    @property
    def no_flow_reason(self) -> str | None:
        """That of the prediction, which has to determine ε at every real time."""
        return self.prediction.no_flow_reason

    def flow_log_density(self, y: Tensor, tolerance: float, probes: Tensor | None = None) -> tuple[Tensor, int]:
        """Density of the probability-flow ODE stopped at t = 1, see :func:`flow_log_prob`.

        The estimate of x_0 is not clipped, since clipping would put kinks into the flow, and the network runs in
        float32 even under autocast, whose rounding would exceed a solver's tolerance.
        """

        def eps(x_t: Tensor, t: Tensor, sqrt_alpha_bar: Tensor, sigma: Tensor) -> Tensor:
            output, _ = self.predict(x_t.float(), t)
            return self.prediction.eps(x_t, output, Coefficients(sqrt_alpha_bar, sigma))

        with torch.autocast(y.device.type, enabled=False), solving():
            return flow_log_prob(eps, self.process, y, tolerance, probes)

    @override
    def programs(self) -> Mapping[str, Program]:
        def denoise(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.reverse(x_t, t, *self.estimate_x0(x_t, t))
            return mean, log_variance.expand_as(mean)

        about = "x_t [B, *shape] and t [B] of 1 .. T to the mean and the log-variance of p(x_{t-1} | x_t)"
        inputs = torch.zeros(2, *self.spec.shape), torch.ones(2, dtype=torch.long)
        return {"denoise": Program(denoise, inputs, (self.network, self.process), about)}
