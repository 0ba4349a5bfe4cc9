"""Denoising diffusion probabilistic models (Ho, Jain & Abbeel 2020, arXiv:2006.11239).

Noise is added to data x_0 in T small steps until nothing is left of it, x_T ~ N(0, I); a network learns to take the
steps back. Training minimizes a reweighted variational bound; the bound itself, term by term, is the likelihood:

    -log p(x_0) <= E_q[ L_T + sum_{t=2}^{T} L_{t-1} + L_0 ]                                             (eq. 5)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genmodels.core import DataSpec, Kind, Likelihood, log_mean_exp
from genmodels.core.abilities import Denoises, HasLikelihood, HasProbabilityFlow, Samples
from genmodels.core.observation import discretized_gaussian, standard_normal_log_prob
from genmodels.core.quantization import from_symmetric, to_symmetric
from genmodels.diffusion import (
    DiffusionProcess,
    Prediction,
    ReverseVariance,
    Sampler,
    along,
    random_times,
)
from genmodels.diffusion.flow import flow_log_prob
from genmodels.diffusion.gaussian import kl_divergence, log_prob
from genmodels.errors import require
from genmodels.models.base import GenerativeModel, Loss, NetworkFactory, OptimizerFactory, SchedulerFactory

BOUND_BATCH = 512  # images in one network pass of the bound: several times of one batch go through together


def per_example(values: Tensor) -> Tensor:
    """Sum ``[B, *shape]`` over all but the first dimension."""
    return values.flatten(1).sum(1)


@dataclass(frozen=True)
class BoundTerms:
    """The terms of eq. 5 for a batch, in nats.

    Attributes:
        prior: L_T ``[B]``.
        diffusion: ``[B, T - 1]``, column ``i`` being L_{t-1} at t = i + 2.
        reconstruction: L_0 ``[B]``.
        squared_error: |x_0 - x̂_0(x_t)|² ``[B, T]`` on the scale of the process, column ``i`` at t = i + 1.
    """

    prior: Tensor
    diffusion: Tensor
    reconstruction: Tensor
    squared_error: Tensor

    @property
    def rate(self) -> Tensor:
        """What it costs to send x_1, L_T + sum L_{t-1} ``[B]`` (§4.3); the rest is the distortion L_0."""
        return self.prior + self.diffusion.sum(1)

    @property
    def total(self) -> Tensor:
        """The bound on ``-log p(x) [B]``."""
        return self.rate + self.reconstruction

    @property
    def curve(self) -> Tensor:
        """``[B, T]``, column ``i`` being L_{t-1} at t = i + 1."""
        return torch.cat([self.reconstruction[:, None], self.diffusion], 1)


@dataclass(frozen=True)
class Noised:
    """Raw data ``x``, the same as ``x0`` on the scale of the process, and ``x_t = diffuse(x0, t, noise)``."""

    x: Tensor
    x0: Tensor
    t: Tensor
    noise: Tensor
    x_t: Tensor


class Objective(ABC):
    """What training minimizes."""

    @abstractmethod
    def __call__(self, model: DDPM, x: Tensor) -> Loss:
        """Loss of raw data ``x [B, *shape]``, each example at one random time."""


class Simple(Objective):
    """L_simple: mean squared error of what the network predicts, at times drawn alike (eq. 14, algorithm 1).

    A learned variance gets no gradient from it. Then it is L_hybrid = L_simple + λ L_vlb of Nichol & Dhariwal 2021
    (eq. 16, arXiv:2102.09672), where L_vlb, in nats/dim, trains the variance alone: the mean is held fixed in it.

    Args:
        variational_weight: λ.
    """

    def __init__(self, variational_weight: float = 0.001) -> None:
        self.variational_weight = variational_weight

    def __call__(self, model: DDPM, x: Tensor) -> Loss:
        """Loss with the term ``mse``, and ``bound`` (nats/dim) if the variance is learned."""
        draw = model.draw(x, random_times(len(x), model.process.uniform))
        output, spread = model.denoise(draw.x_t, draw.t)
        target = model.prediction.target(draw.x0, draw.noise, *model.scales(draw.t, draw.x0))
        mse = (output - target).square().mean()
        if spread is None:
            return Loss(mse, {"mse": mse})
        bound = model.random_term(draw, output.detach(), spread, model.process.uniform)
        return Loss(mse + self.variational_weight * bound, {"mse": mse, "bound": bound})


class Variational(Objective):
    """The bound itself, in nats/dim, from one random term an example (eq. 5), the large ones drawn more often.

    Drawn alike, the terms make too noisy a gradient (Nichol & Dhariwal 2021, §3.3).
    """

    def __call__(self, model: DDPM, x: Tensor) -> Loss:
        """Loss with the term ``bound`` (nats/dim)."""
        draw = model.draw(x, random_times(len(x), model.process.reciprocal))
        bound = model.random_term(draw, *model.denoise(draw.x_t, draw.t), model.process.reciprocal)
        return Loss(bound, {"bound": bound})


class DDPM(GenerativeModel, Samples, HasLikelihood, HasProbabilityFlow, Denoises):
    """Diffusion model on images or vectors, of integers (scaled to [-1, 1]) or reals (taken as they are).

    Args:
        spec: the data.
        network: factory ``(in_shape, out_shape) -> net(x_t [B, *in_shape], t [B]) -> [B, *out_shape]``.
        schedule: ``betas [T]``, see :mod:`genmodels.diffusion.schedules`.
        prediction: what the network predicts, see :mod:`genmodels.diffusion.predictions`.
        objective: :class:`Simple` or :class:`Variational`.
        variance: of the reverse process, see :mod:`genmodels.diffusion.variances`.
        sampler: see :mod:`genmodels.diffusion.samplers`.
        optimizer: see :class:`GenerativeModel`.
        scheduler: see :class:`GenerativeModel`.
        clip_norm: see :class:`GenerativeModel`.
        clip_x0: keep estimates of x_0 within [-1, 1] when sampling and when scoring integer data. Training is not
            clipped, for it would lose the gradient.

    Raises:
        UserError: if the sampler takes more steps than the schedule has.
    """

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
    ) -> None:
        super().__init__(spec, optimizer, scheduler, clip_norm)
        out_shape = (variance.outputs * spec.shape[0], *spec.shape[1:])
        self.network = network(spec.shape, out_shape)
        self.process = DiffusionProcess(schedule)
        self.prediction = prediction
        self.objective = objective
        self.variance = variance
        self.sampler = sampler
        self.clip_x0 = clip_x0 and spec.is_discrete
        sampler.times(self.process.steps)  # refuses too many steps now rather than after training

    def compiled_networks(self) -> Iterable[nn.Module]:
        """The denoiser; the process is a table of coefficients."""
        return (self.network,)

    def loss(self, x: Tensor) -> Loss:
        """Noise every example to a random time, and judge what the network makes of it."""
        return self.objective(self, x)

    def draw(self, x: Tensor, t: Tensor) -> Noised:
        """``x_t ~ q(x_t | x_0)`` at times ``t [B]`` (eq. 4)."""
        x0 = to_symmetric(x, self.spec)
        noise = torch.randn_like(x0)
        return Noised(x, x0, t, noise, self.process.diffuse(x0, t, noise))

    def scales(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1 - ᾱ_t) at integer times ``t [B]``, shaped to multiply ``x [B, *shape]``."""
        return along(self.process.signal, t, x), along(self.process.noise, t, x)

    def denoise(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """The network's prediction, and its outputs for the variance if that is learned; float32 under autocast too."""
        return self.variance.split(self.network(x_t, t).float())

    def estimate(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        """The (clipped) x_0 that the network sees in x_t, and its outputs for the variance."""
        output, spread = self.denoise(x_t, t)
        x0 = self.prediction.x0(x_t, output, *self.scales(t, x_t))
        return x0.clamp(-1, 1) if self.clip_x0 else x0, spread

    def reverse(self, x_t: Tensor, t: Tensor, x0: Tensor, spread: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of ``p(x_{t-1} | x_t)``: the posterior at the estimated ``x0`` (§3.2)."""
        return self.process.posterior_mean(x0, x_t, t), self.variance.log(self.process, x_t, t, spread)

    # The bound: eq. 5, term by term -----------------------------------------------------------------------------------

    def reconstruction(self, x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        """L_0 = -log p(x_0 | x_1) ``[B]`` in nats: a mass by the discretized Gaussian (eq. 13), or a density."""
        if self.spec.levels is None:
            return -per_example(log_prob(x.float(), mean, log_variance))
        return -per_example(discretized_gaussian(x, mean, 0.5 * log_variance, self.spec.levels))

    def term(self, draw: Noised, x0: Tensor, spread: Tensor | None) -> Tensor:
        """``[B]`` in nats: L_0 where t = 1, else L_{t-1} = KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))."""
        mean, log_variance = self.reverse(draw.x_t, draw.t, x0, spread)
        posterior_mean = self.process.posterior_mean(draw.x0, draw.x_t, draw.t)
        posterior_log_variance = along(self.process.log_beta_tilde, draw.t, draw.x_t)
        divergence = per_example(kl_divergence(posterior_mean, posterior_log_variance, mean, log_variance))
        first = draw.t == 1
        reconstruction = self.reconstruction(draw.x[first], mean[first], log_variance[first])
        return divergence.masked_scatter(first, reconstruction)

    def term_at(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """At ``t [B]``, with a fresh draw of x_t and the network's own x̂_0: :meth:`term` and |x_0 - x̂_0|² ``[B]``."""
        draw = self.draw(x, t)
        x0, spread = self.estimate(draw.x_t, t)
        return self.term(draw, x0, spread), per_example((draw.x0 - x0).square())

    def random_term(self, draw: Noised, output: Tensor, spread: Tensor | None, probability: Tensor) -> Tensor:
        """Unbiased for the bound less L_T, in nats/dim: the term at ``draw.t`` over its probability, averaged."""
        x0 = self.prediction.x0(draw.x_t, output, *self.scales(draw.t, draw.x_t))
        return (self.term(draw, x0, spread) / probability[draw.t]).mean() / self.spec.dims

    @torch.no_grad()
    def bound_terms(self, x: Tensor) -> BoundTerms:
        """Every term of the bound for raw data ``x [B, *shape]``, with an independent draw of x_t for every t."""
        times = torch.arange(1, self.process.steps + 1, device=x.device)
        chunks = torch.split(times, max(1, BOUND_BATCH // len(x)))
        repeated = [(x.repeat(len(c), *[1] * len(self.spec.shape)), c.repeat_interleave(len(x))) for c in chunks]
        found = [self.term_at(*pair) for pair in repeated]
        nats, squared_error = (torch.cat(parts).view(-1, len(x)).T for parts in zip(*found, strict=True))
        prior = self.process.prior_divergence(to_symmetric(x, self.spec))
        return BoundTerms(prior, diffusion=nats[:, 1:], reconstruction=nats[:, 0], squared_error=squared_error)

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, samples: int = 1) -> Likelihood:
        """A lower bound on log p(x): the whole of eq. 5, or with K > 1 ``samples`` the importance-weighted bound.

        The latter is ``log (1/K) sum_k w_k`` over K whole trajectories (Burda et al. 2016, eq. 8), which tightens with
        K, but starts from a noisier estimate: eq. 5 has its Gaussians integrated out.

        Eq. 5 comes with its terms ``rate`` and ``distortion`` (nats) and, against t, the curves ``nats`` (L_{t-1}) and
        ``squared_error`` (|x_0 - x̂_0(x_t)|² on the scale of the process): progressive coding (§4.3, fig. 5).

        Raises:
            UserError: for fewer than one sample.
        """
        require(samples >= 1, f"a likelihood needs at least one sample, got {samples}.")
        if samples == 1:
            bound = self.bound_terms(x)
            terms = {"rate": bound.rate, "distortion": bound.reconstruction}
            curves = {"nats": bound.curve, "squared_error": bound.squared_error}
            return Likelihood(-bound.total, Kind.LOWER_BOUND, terms, curves)
        log_weights = torch.stack([self.log_weight(x) for _ in range(samples)])
        return Likelihood(log_mean_exp(log_weights), Kind.LOWER_BOUND)

    def log_weight(self, x: Tensor) -> Tensor:
        """``log p(x_{0:T}) - log q(x_{1:T} | x_0)`` ``[B]`` in nats, on one trajectory of the forward chain (eq. 3)."""
        before = to_symmetric(x, self.spec)
        log_w = before.new_zeros(len(x))
        for step in range(1, self.process.steps + 1):
            t = torch.full((len(x),), step, device=x.device)
            q_mean, q_log_variance = self.process.forward_mean(before, t), along(self.process.log_beta, t, before)
            x_t = q_mean + torch.exp(0.5 * q_log_variance) * torch.randn_like(before)
            mean, log_variance = self.reverse(x_t, t, *self.estimate(x_t, t))
            if step == 1:
                log_p = -self.reconstruction(x, mean, log_variance)
            else:
                log_p = per_example(log_prob(before, mean, log_variance))
            log_w = log_w + log_p - per_example(log_prob(x_t, q_mean, q_log_variance))
            before = x_t
        return log_w + standard_normal_log_prob(before)

    @torch.no_grad()
    def validation_likelihood(self, x: Tensor) -> Likelihood:
        """Unbiased for the bound from one pass an example: L_T, and one random term over its probability.

        Single values are noisy; their mean over a batch is less so, the times being stratified over it.
        """
        t = random_times(len(x), self.process.reciprocal)
        prior = self.process.prior_divergence(to_symmetric(x, self.spec))
        term, _ = self.term_at(x, t)
        return Likelihood(-(prior + term / self.process.reciprocal[t]), Kind.LOWER_BOUND)

    @property
    def passes_per_example(self) -> int:
        """T: the bound has a term for every step."""
        return self.process.steps

    def flow_log_density(self, y: Tensor, tolerance: float, probes: Tensor | None = None) -> tuple[Tensor, int]:
        """Of the probability-flow ODE stopped at t = 1, see :func:`genmodels.diffusion.flow.flow_log_prob`.

        The network is not clipped, which would put kinks into the flow, and runs in float32 even under autocast, whose
        rounding no solver could see through.
        """

        def noise(x_t: Tensor, t: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
            output, _ = self.denoise(x_t.float(), t)
            return self.prediction.noise(x_t, output, signal, sigma)

        with torch.autocast(y.device.type, enabled=False):
            return flow_log_prob(noise, self.process, y, tolerance, probes)

    # Samples ----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """``n`` examples ``[n, *shape]`` in data space, by the configured sampler (algorithm 2)."""
        *_, x0 = self.path(n)
        return from_symmetric(x0, self.spec)

    @torch.no_grad()
    def denoising_strip(self, n: int, frames: int) -> Tensor:
        """``[frames, n, *shape]`` in data space: from pure noise to data, evenly spaced on the sampler's way."""
        states = list(self.path(n))
        chosen = torch.linspace(0, len(states) - 1, frames).round().long()
        return torch.stack([from_symmetric(states[i], self.spec) for i in chosen.tolist()])

    def path(self, n: int) -> Iterator[Tensor]:
        """The sampler's states ``[n, *shape]``, from x_T to x_0, on the scale of the process."""
        noise = torch.randn(n, *self.spec.shape, device=self.process.beta.device)
        yield noise
        yield from self.sampler.path(self.process, self.estimate, self.variance, noise)

    @property
    def sampling_protocol(self) -> dict[str, Any]:
        """How :meth:`sample` draws, in plain types."""
        return self.sampler.protocol(self.process.steps)

    @property
    def passes_per_sample(self) -> int:
        """The steps that the sampler takes."""
        return len(self.sampler.times(self.process.steps))
