"""Denoising diffusion probabilistic models (Ho, Jain & Abbeel 2020, arXiv:2006.11239).

The forward process q adds noise to data x_0 in T small steps until x_T is close to N(0, I). A network learns to reverse
the steps. Training minimizes a reweighted variational bound; the bound itself is the likelihood:

    -log p(x_0) <= E_q[ L_T + sum_{t=2}^{T} L_{t-1} + L_0 ]                                                  (eq. 5)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import DataSpec, Kind, Likelihood, log_mean_exp
from genmodels.core.abilities import (
    Completes,
    Denoises,
    Exports,
    HasImportanceWeights,
    HasProbabilityFlow,
    HasStepwiseBound,
    Program,
    Samples,
)
from genmodels.core.candidates import chosen
from genmodels.core.observation import discretized_gaussian
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.core.stepwise import repeated, terms_by_step, weighted_sum
from genmodels.diffusion import (
    Ancestral,
    Coefficients,
    DiffusionProcess,
    Prediction,
    ReverseVariance,
    Sampler,
    extract,
    random_times,
)
from genmodels.diffusion.chain import DiffusionChain, evenly_spaced
from genmodels.diffusion.gaussian import kl_divergence, log_prob
from genmodels.diffusion.guidance import guided
from genmodels.diffusion.laws import DiscretizedNormal, Normal, per_example
from genmodels.diffusion.probability_flow import flow_log_prob
from genmodels.errors import ensure, ensure_counts, ensure_numbers
from genmodels.models.base import GenerativeModel, Loss, NetworkFactory, OptimizerFactory, SchedulerFactory, solving

VLB = Callable[[Tensor, Tensor | None], Tensor]
"""From the network's output and v ``[B, *shape]`` to an estimate ``[]`` of the bound less L_T, in nats/dim."""


class Objective(ABC):
    """What training minimizes, for a batch in which every example is at one random time t."""

    @abstractmethod
    def time_probability(self, process: DiffusionProcess) -> Tensor:
        """The probabilities ``[T + 1]`` by which t is drawn."""

    @abstractmethod
    def __call__(self, output: Tensor, v: Tensor | None, target: Tensor, vlb: VLB) -> Loss:
        """The loss of the network's ``output`` and ``v``, given the ``target`` of the output: all ``[B, *shape]``."""


class Simple(Objective):
    """``L_simple = E |ε - ε_θ(x_t, t)|²`` per dimension, with t uniform (eq. 14, algorithm 1).

    For another prediction than ε it is the squared error of that prediction. A learned variance gets no gradient from
    it. Then the loss is ``L_hybrid = L_simple + λ L_vlb`` of Nichol & Dhariwal 2021 (eq. 16, arXiv:2102.09672), where
    L_vlb, in nats/dim, trains the variance only: the mean is held fixed in it.

    Another law of t weighs the noise levels differently in the same loss. For ``cosine_share`` of the examples the log
    SNR is drawn by the density that the cosine schedule would give it, ``sech(log SNR / 2)`` (Kingma & Gao 2023,
    arXiv:2303.00848), which for the prediction of the velocity is the weight of flow matching: the coarse levels that
    make a sample are learned sooner, at the cost of the bound, most of which lies in the fine ones.

    Args:
        variational_weight: λ.
        cosine_share: the share, in [0, 1].

    Raises:
        ValueError: if the weight is negative or the share out of range.
    """

    def __init__(self, variational_weight: float = 0.001, cosine_share: float = 0.0) -> None:
        ensure_numbers(at_least=0, variational_weight=variational_weight)
        ensure_numbers(at_least=0, at_most=1, cosine_share=cosine_share)
        self.variational_weight = variational_weight
        self.cosine_share = cosine_share

    @override
    def time_probability(self, process: DiffusionProcess) -> Tensor:
        return torch.lerp(process.uniform, process.cosine, self.cosine_share)

    def __call__(self, output: Tensor, v: Tensor | None, target: Tensor, vlb: VLB) -> Loss:
        """Loss with the term ``mse``, and ``bound`` (nats/dim) if the variance is learned."""
        mse = (output - target).square().mean()
        if v is None:
            return Loss(mse, {"mse": mse})
        bound = vlb(output.detach(), v)
        return Loss(mse + self.variational_weight * bound, {"mse": mse, "bound": bound})


class Variational(Objective):
    """``L_vlb``: the bound in nats/dim, from one random term per example (eq. 5), the large ones drawn more often.

    With t uniform the gradient would be too noisy (Nichol & Dhariwal 2021, §3.3).
    """

    @override
    def time_probability(self, process: DiffusionProcess) -> Tensor:
        return process.reciprocal

    def __call__(self, output: Tensor, v: Tensor | None, target: Tensor, vlb: VLB) -> Loss:
        """Loss with the term ``bound`` (nats/dim)."""
        bound = vlb(output, v)
        return Loss(bound, {"bound": bound})


@dataclass(frozen=True)
class Noised:
    """Data at time ``t [B]``, everything else ``[B, *shape]``.

    Attributes:
        x: raw data.
        x0: the same on the scale of the process, see :func:`genmodels.core.quantization.to_symmetric`.
        t: one time for each example.
        eps: standard normal noise.
        x_t: ``√ᾱ_t x_0 + √(1 - ᾱ_t) ε``.
    """

    x: Tensor
    x0: Tensor
    t: Tensor
    eps: Tensor
    x_t: Tensor


@dataclass(frozen=True)
class Bound:
    """The bound of eq. 5 for a batch, in nats, and its terms.

    Attributes:
        prior: L_T ``[B]``.
        terms: ``[B, T]``; column ``i`` is L_{t-1} at t = i + 1, NaN if it was not drawn.
        squared_error: |x_0 - x̂_0(x_t)|² ``[B, T]`` on the scale of the process, likewise.
        inclusion: probabilities ``[T]`` by which the terms were drawn; ``None`` if all of them were computed.
    """

    prior: Tensor
    terms: Tensor
    squared_error: Tensor
    inclusion: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """``L_T + sum_{t=2}^T L_{t-1} + L_0 [B]``, or an unbiased estimate: an upper bound on ``-log p(x)``."""
        return self.rate + self.reconstruction

    @property
    def rate(self) -> Tensor:
        """The cost ``[B]`` of sending x_1, ``L_T + sum_{t=2}^T L_{t-1}`` (§4.3)."""
        return self.prior + self.sum_over(slice(1, None))

    @property
    def reconstruction(self) -> Tensor:
        """L_0 ``[B]``, the distortion of §4.3."""
        return self.sum_over(slice(0, 1))

    def sum_over(self, steps: slice) -> Tensor:
        """The sum ``[B]`` of the terms in columns ``steps``, or an unbiased estimate of it."""
        return weighted_sum(self.terms[:, steps], None if self.inclusion is None else self.inclusion[steps])


class DDPM(
    GenerativeModel, Samples, HasStepwiseBound, HasImportanceWeights, HasProbabilityFlow, Denoises, Completes, Exports
):
    """Diffusion model on images or vectors, of integers (scaled to [-1, 1]) or reals (taken as they are).

    Args:
        spec: the data.
        network: factory ``(in_shape, out_shape) -> net(x_t [B, *in_shape], t [B]) -> [B, *out_shape]``.
        schedule: ``betas [T]``, see :mod:`genmodels.diffusion.schedules`.
        prediction: what the network predicts, see :mod:`genmodels.diffusion.predictions`.
        objective: :class:`Simple` or :class:`Variational`.
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

    family = "diffusion"
    takes_labels = True
    draws = "trajectories"

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

    def compiled_networks(self) -> Iterable[nn.Module]:
        """The network; the process is a table of coefficients."""
        return (self.network,)

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
    def bound(self, x: Tensor, inclusion: Tensor | None = None) -> Bound:
        """``L_T + sum_{t=2}^T L_{t-1} + L_0`` and its terms, in nats, for raw data ``x [B, *shape]`` (eq. 5).

        Of the last T terms only some are computed if there are probabilities ``inclusion [T]`` to draw them by, see
        :mod:`genmodels.core.stepwise`.
        """
        # 1. L_T = KL(q(x_T | x_0) || p(x_T)), in closed form.
        prior = self.process.prior_divergence(to_symmetric(x, self.spec))  # [B]

        # Every other term is taken at its own x_t ~ q(x_t | x_0), from which the network estimates x_0.
        # 2. L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) for t = 2 .. T.
        # 3. L_0 = -log p(x_0 | x_1).
        at = terms_by_step(self.terms_at, x, self.process.steps, inclusion)
        return Bound(prior, at["nats"], at["squared_error"], inclusion)

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

    # The two processes at time t --------------------------------------------------------------------------------------

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

    @override
    def programs(self) -> Mapping[str, Program]:
        def denoise(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.reverse(x_t, t, *self.estimate_x0(x_t, t))
            return mean, log_variance.expand_as(mean)

        about = "x_t [B, *shape] and t [B] of 1 .. T to the mean and the log-variance of p(x_{t-1} | x_t)"
        inputs = torch.zeros(2, *self.spec.shape), torch.ones(2, dtype=torch.long)
        return {"denoise": Program(denoise, inputs, (self.network, self.process), about)}

    # Likelihoods ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """A lower bound on ``log p(x) [B]``: that of eq. 5, or with K > 1 ``samples`` the importance-weighted bound.

        The latter is ``log (1/K) sum_k w_k`` over K whole trajectories (Burda et al. 2016, eq. 8). It tightens with K
        but starts from a noisier estimate, since eq. 5 has its Gaussians integrated out.

        Eq. 5 comes with its terms ``rate`` and ``distortion`` (nats) and, against t, the curves ``nats`` (L_{t-1}) and
        ``squared_error`` (|x_0 - x̂_0(x_t)|² on the scale of the process): progressive coding (§4.3, fig. 5).

        Raises:
            ValueError: if samples is less than 1.
        """
        ensure_counts(samples=samples)
        if samples == 1:
            return self.stepwise_likelihood(x)
        return Likelihood(log_mean_exp(self.log_weights(x, samples)), Kind.LOWER_BOUND)

    def stepwise_likelihood(self, x: Tensor, inclusion: Tensor | None = None) -> Likelihood:
        """Eq. 5 with its terms and curves; unbiased with drawn terms, where the curves of the others are NaN."""
        bound = self.bound(x, inclusion)
        terms = {"rate": bound.rate, "distortion": bound.reconstruction}
        curves = {"nats": bound.terms, "squared_error": bound.squared_error}
        return Likelihood(-bound.total, Kind.LOWER_BOUND, terms, curves)

    @torch.no_grad()
    def log_weights(self, x: Tensor, samples: int) -> Tensor:
        """``log p(x_{0:T}) - log q(x_{1:T} | x_0) [K, B]`` in nats, on K trajectories of the forward chain (eq. 3)."""
        chain, parts = self.chain(), repeated(to_symmetric(x, self.spec), samples)
        return torch.cat([chain.log_weight(x0, chain.forward_path(x0)) for x0 in parts]).view(samples, -1)

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

    # Samples: algorithm 2 ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """``n`` examples ``[n, *shape]`` in data space, by the configured sampler."""
        *_, x0 = self.path(n)
        return from_symmetric(x0, self.spec)

    @torch.no_grad()
    def denoising_strip(self, n: int, frames: int) -> Tensor:
        """``[frames, n, *shape]`` in data space: states from pure noise to data, evenly spaced on the sampler's way."""
        return torch.stack([from_symmetric(x, self.spec) for x in evenly_spaced(self.path(n), frames)])

    def path(self, n: int) -> Iterator[Tensor]:
        """The sampler's states ``[n, *shape]``, from x_T to x_0, on the scale of the process."""
        x_T = torch.randn(n, *self.spec.shape, device=self.process.beta.device)
        yield x_T
        estimate_x0 = partial(self.estimate_x0, guidance=self.guidance)
        yield from self.sampler.path(self.process, estimate_x0, self.variance, x_T)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, candidates: int = 8) -> Tensor:
        """Raw data ``[N, *shape]``: known values as they are, the others drawn by all T steps, see :func:`guided`."""
        ensure_counts(candidates=candidates)
        rows, mask = (part.repeat_interleave(candidates, 0) for part in (x, known))
        with self.labels.in_a_row(candidates):
            x0, log_w = guided(self.chain(), to_symmetric(rows, self.spec), mask)
        return torch.where(known, x, from_symmetric(x0[chosen(log_w, candidates)], self.spec))

    def chain(self) -> DiffusionChain:
        """The laws of q and p, step by step."""

        def at(x: Tensor, t: int) -> Tensor:
            return torch.full((len(x),), t, device=x.device)

        def step(x: Tensor, t: int) -> Normal:
            return Normal(self.process.forward_mean(x, at(x, t)), extract(self.process.log_beta, at(x, t), x))

        def forward(x0: Tensor) -> Normal:
            last = self.process.at(at(x0, self.process.steps), x0)
            return Normal(last.sqrt_alpha_bar * x0, 2 * last.sigma.log())

        def posterior(x0: Tensor, x_t: Tensor, t: int) -> Normal:
            return Normal(*self.process.posterior(x0, x_t, at(x_t, t)))

        def reverse(x_t: Tensor, t: int) -> Normal:
            mean, log_variance = self.reverse(x_t, at(x_t, t), *self.estimate_x0(x_t, at(x_t, t)))
            rounds = t == 1 and self.spec.is_discrete
            return DiscretizedNormal(mean, log_variance, self.spec) if rounds else Normal(mean, log_variance)

        def equilibrium(x: Tensor) -> Normal:
            return Normal(torch.zeros_like(x), x.new_zeros(()))

        return DiffusionChain(self.process.steps, equilibrium, step, forward, posterior, reverse)

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """The sampler's settings, in plain types, and the guidance if there is any."""
        guidance = {"guidance": self.guidance} if self.guidance > 0 else {}
        return self.sampler.protocol(self.process.steps) | guidance

    @property
    def passes_per_sample(self) -> int:
        """The steps that the sampler takes, each of two passes under guidance."""
        return len(self.sampler.times(self.process.steps)) * (2 if self.guidance > 0 else 1)
