"""The forward process q of Ho et al. 2020 (arXiv:2006.11239): x_0 is data, x_T is noise, all of it Gaussian.

Times are indexed ``1 .. T`` as in the paper; time 0 is the data, with ᾱ_0 = 1. A time argument ``t [B]`` is an integer
tensor, one time for each example of ``x [B, *shape]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmodels.core.randomness import stratified_uniform
from genmodels.errors import ensure


def extract(coefficients: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """``coefficients[t]`` of a table ``[T + 1]``, shaped ``[B, 1, ...]`` to multiply ``x [B, *shape]``."""
    return coefficients[t].view(-1, *(1,) * (x.dim() - 1))


@dataclass(frozen=True)
class Coefficients:
    """What relates x_0, ε, x_t and the mean of x_{t-1} at times t, to broadcast against ``[B, *shape]``.

    Attributes:
        sqrt_alpha_bar: √ᾱ_t.
        sigma: √(1 - ᾱ_t).
        posterior: the coefficients of x_0 and of x_t in the mean of ``q(x_{t-1} | x_t, x_0)`` (eq. 7); ``None``
            between the steps, where there is no x_{t-1}.
    """

    sqrt_alpha_bar: Tensor
    sigma: Tensor
    posterior: tuple[Tensor, Tensor] | None = None


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


def random_times(batch: int, probability: Tensor) -> Tensor:
    """Times ``[batch]``, each drawn by ``probability [T + 1]`` over ``0 .. T``, stratified over the batch.

    Every example alone is still distributed by ``probability``, see :func:`stratified_uniform`.
    """
    u = stratified_uniform(batch, probability.device)
    times = torch.searchsorted(probability.cumsum(0), u, right=True)
    return times.clamp(max=len(probability) - 1)  # the sum may round to less than one


class DiffusionProcess(nn.Module):
    r"""``q(x_t | x_{t-1}) = N(√(1 - β_t) x_{t-1}, β_t I)`` and what follows from it in closed form.

    Coefficients are computed in float64 and kept as float32 buffers ``[T + 1]`` indexed by t; they derive from the
    configuration and are not saved with the weights.

    Attributes:
        steps: T.
        times: the original time of each step, see :meth:`respaced`; ``[T + 1]``.
        beta: β_t.
        alpha_bar: ᾱ_t, the product of ``1 - β_s`` over s up to t.
        sqrt_alpha_bar: √ᾱ_t.
        sigma: √(1 - ᾱ_t), the standard deviation of ``q(x_t | x_0)``.
        log_beta: log β_t.
        log_beta_tilde: log β̃_t, where β̃_t is the posterior variance of eq. 7 and β̃_1 = 0 is replaced by β̃_2. With this
            usual clipping (Nichol & Dhariwal 2021's code) the fixed variances give a proper density at t = 1.
        log_beta_clipped: log β_t, with β̃_2 in place of β_1; see :class:`FixedLarge`.
        x0_weight: the coefficient of x_0 in the posterior mean (eq. 7).
        xt_weight: the coefficient of x_t in the posterior mean (eq. 7).
        uniform: probabilities of drawing t uniformly from 1 .. T.
        cosine: probabilities proportional to the growth of the angle ``arccos √ᾱ_t`` in step t, by which noise levels
            are drawn as under the cosine schedule, whose angle grows evenly.
        reciprocal: probabilities proportional to 1 / t, which is about how the terms of the bound fall with t.

    Args:
        betas: ``[T]``, each in (0, 1); see :mod:`genmodels.diffusion.schedules`.
        times: the original times of a process that leaves some out; default ``1 .. T``.

    Raises:
        ValueError: if a beta is outside (0, 1).
    """

    beta: Tensor
    log_beta: Tensor
    log_beta_tilde: Tensor
    log_beta_clipped: Tensor
    sqrt_alpha_bar: Tensor
    sigma: Tensor
    alpha_bar: Tensor
    x0_weight: Tensor
    xt_weight: Tensor
    times: Tensor
    uniform: Tensor
    cosine: Tensor
    reciprocal: Tensor

    def __init__(self, betas: Tensor, times: Sequence[int] | None = None) -> None:
        super().__init__()
        ensure(bool(((betas > 0) & (betas < 1)).all()), "betas must all lie in (0, 1).")
        self.steps = len(betas)
        beta = torch.cat([torch.zeros(1, dtype=torch.float64), betas.double().cpu()])
        self.alpha_bar64 = torch.cumprod(1 - beta, 0)
        self._keep("times", torch.tensor([0, *(times or range(1, self.steps + 1))]))
        self._keep_coefficients(beta, self.alpha_bar64)
        weights = torch.cat([beta[:1], 1 / torch.arange(1, self.steps + 1)])
        self._keep("uniform", (weights > 0) / self.steps)
        self._keep("reciprocal", weights / weights.sum())
        angles = self.alpha_bar64.sqrt().acos()
        self._keep("cosine", torch.cat([beta[:1], torch.diff(angles) / angles[-1]]))

    def _keep_coefficients(self, beta: Tensor, alpha_bar: Tensor) -> None:
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])  # ᾱ_{t-1}; its entry at t = 0 is never read
        missing = (1 - alpha_bar).clamp(min=1e-20)
        beta_tilde = beta * (1 - before) / missing
        beta_tilde[1] = beta_tilde[2] if self.steps > 1 else beta[1]
        self._keep("beta", beta)
        self._keep("log_beta", beta.log())
        self._keep("log_beta_tilde", beta_tilde.log())
        self._keep("log_beta_clipped", torch.cat([beta[:1], beta_tilde[1:2], beta[2:]]).log())
        self._keep("alpha_bar", alpha_bar)
        self._keep("sqrt_alpha_bar", alpha_bar.sqrt())
        self._keep("sigma", (1 - alpha_bar).sqrt())
        self._keep("x0_weight", before.sqrt() * beta / missing)
        self._keep("xt_weight", (1 - beta).sqrt() * (1 - before) / missing)

    def _keep(self, name: str, values: Tensor) -> None:
        values = values.float() if values.is_floating_point() else values
        self.register_buffer(name, values, persistent=False)

    def at(self, t: Tensor, x: Tensor) -> Coefficients:
        """The coefficients of steps ``t [B]``, each ``[B, 1, ...]`` to multiply ``x [B, *shape]``."""
        posterior = extract(self.x0_weight, t, x), extract(self.xt_weight, t, x)
        return Coefficients(extract(self.sqrt_alpha_bar, t, x), extract(self.sigma, t, x), posterior)

    def diffuse(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """``x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε [B, *shape]``, a draw from ``q(x_t | x_0)`` for normal ``eps`` (eq. 4)."""
        return extract(self.sqrt_alpha_bar, t, x0) * x0 + extract(self.sigma, t, x0) * eps

    def implied_eps(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The ε ``[B, *shape]`` for which ``diffuse(x0, t, ε)`` is ``x_t``."""
        return (x_t - extract(self.sqrt_alpha_bar, t, x_t) * x0) / extract(self.sigma, t, x_t)

    def forward_mean(self, x: Tensor, t: Tensor) -> Tensor:
        """Mean ``[B, *shape]`` of ``q(x_t | x_{t-1} = x)`` (eq. 2); its log-variance is ``log_beta[t]``."""
        return (1 - extract(self.beta, t, x)).sqrt() * x

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """μ̃_t ``[B, *shape]``, the mean of ``q(x_{t-1} | x_t, x_0)`` (eq. 7)."""
        return extract(self.x0_weight, t, x_t) * x0 + extract(self.xt_weight, t, x_t) * x_t

    def posterior(self, x0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``[B, *shape]`` and log-variance ``[B, 1, ...]`` of ``q(x_{t-1} | x_t, x_0)`` (eq. 6-7), t > 1."""
        return self.posterior_mean(x0, x_t, t), extract(self.log_beta_tilde, t, x_t)

    def prior_divergence(self, x0: Tensor) -> Tensor:
        """``L_T = KL(q(x_T | x_0) || N(0, I)) [B]`` in nats, for ``x0 [B, *shape]`` (eq. 5)."""
        alpha_bar = self.alpha_bar64[-1]
        excess = float(-alpha_bar - torch.log1p(-alpha_bar))  # variance - 1 - log variance, a tiny difference
        return 0.5 * (self.alpha_bar[-1] * x0.square() + excess).flatten(1).sum(1)

    def respaced(self, times: Sequence[int]) -> DiffusionProcess:
        """The process that visits ``times`` (increasing, in 1 .. T) only (Nichol & Dhariwal 2021, §4).

        Its ``q(x_i | x_0)`` is this one's at ``times[i - 1]``; its betas follow.
        """
        alpha_bar = self.alpha_bar64[[0, *times]]
        return DiffusionProcess(1 - alpha_bar[1:] / alpha_bar[:-1], times).to(self.beta.device)
