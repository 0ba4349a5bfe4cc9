"""The forward process q of Ho et al. 2020 (arXiv:2006.11239): x_0 is data, x_T is noise, and all of it is Gaussian.

Times are indexed ``1 .. T`` as in the paper; time 0 is the data, with ᾱ_0 = 1. A time argument ``t [B]`` is an integer
tensor, one time for each example of ``x [B, *shape]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genmodels.errors import require


def along(coefficients: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """``coefficients[t]``, shaped ``[B, 1, ...]`` to multiply ``x [B, *shape]``."""
    return coefficients[t].view(-1, *(1,) * (x.dim() - 1))


def random_times(batch: int, probability: Tensor) -> Tensor:
    """Times ``[batch]``, each drawn by ``probability [T + 1]`` over ``0 .. T``, stratified over the batch.

    One random shift of an even grid, common to the batch: still unbiased for every example, with far less variance in
    the batch mean than independent draws (Kingma et al. 2021, appendix I.1, arXiv:2107.00630).
    """
    grid = torch.arange(batch, device=probability.device) / batch
    u = (grid + torch.rand(1, device=probability.device)) % 1.0
    times = torch.searchsorted(probability.cumsum(0), u, right=True)
    return times.clamp(max=len(probability) - 1)  # the sum may round to less than one


class DiffusionProcess(nn.Module):
    r"""``q(x_t | x_{t-1}) = N(√(1 - β_t) x_{t-1}, β_t I)`` and what follows from it in closed form.

    Coefficients are computed in float64 and kept as float32 buffers ``[T + 1]`` indexed by t; they derive from the
    configuration and are not saved with the weights.

    ``beta_tilde`` is the posterior variance β̃_t of eq. 7, with β̃_1 = 0 replaced by β̃_2: the usual clipping, which
    makes ``fixed small`` a proper density at t = 1 (Nichol & Dhariwal 2021's code).

    ``uniform`` and ``reciprocal`` are laws by which to draw t: every t alike, or in proportion to 1 / t, which is about
    how the terms of the variational bound fall.

    Args:
        betas: ``[T]``, each in (0, 1); see :mod:`genmodels.diffusion.schedules`.
        times: the original times of a process that leaves some out, see :meth:`respaced`; default ``1 .. T``.

    Raises:
        UserError: if a beta is outside (0, 1).
    """

    beta: Tensor
    log_beta: Tensor
    log_beta_tilde: Tensor
    signal: Tensor
    noise: Tensor
    alpha_bar: Tensor
    x0_weight: Tensor
    xt_weight: Tensor
    times: Tensor
    uniform: Tensor
    reciprocal: Tensor

    def __init__(self, betas: Tensor, times: Sequence[int] | None = None) -> None:
        super().__init__()
        require(bool(((betas > 0) & (betas < 1)).all()), "every beta of a diffusion schedule must lie in (0, 1).")
        self.steps = len(betas)
        beta = torch.cat([torch.zeros(1, dtype=torch.float64), betas.double().cpu()])
        self.alpha_bar64 = torch.cumprod(1 - beta, 0)
        self._keep("times", torch.tensor([0, *(times or range(1, self.steps + 1))]))
        self._keep_coefficients(beta, self.alpha_bar64)
        weights = torch.cat([beta[:1], 1 / torch.arange(1, self.steps + 1)])
        self._keep("uniform", (weights > 0) / self.steps)
        self._keep("reciprocal", weights / weights.sum())

    def _keep_coefficients(self, beta: Tensor, alpha_bar: Tensor) -> None:
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])  # ᾱ_{t-1}; its entry at t = 0 is never read
        missing = (1 - alpha_bar).clamp(min=1e-20)
        beta_tilde = beta * (1 - before) / missing
        beta_tilde[1] = beta_tilde[2] if self.steps > 1 else beta[1]
        self._keep("beta", beta)
        self._keep("log_beta", beta.log())
        self._keep("log_beta_tilde", beta_tilde.log())
        self._keep("alpha_bar", alpha_bar)
        self._keep("signal", alpha_bar.sqrt())
        self._keep("noise", (1 - alpha_bar).sqrt())
        self._keep("x0_weight", before.sqrt() * beta / missing)
        self._keep("xt_weight", (1 - beta).sqrt() * (1 - before) / missing)

    def _keep(self, name: str, values: Tensor) -> None:
        values = values.float() if values.is_floating_point() else values
        self.register_buffer(name, values, persistent=False)

    def diffuse(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """``x_t`` drawn from ``q(x_t | x_0) = N(√ᾱ_t x_0, (1 - ᾱ_t) I)`` by way of ``noise`` (eq. 4)."""
        return along(self.signal, t, x0) * x0 + along(self.noise, t, x0) * noise

    def noise_in(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The ε for which ``diffuse(x0, t, ε)`` is ``x_t``."""
        return (x_t - along(self.signal, t, x_t) * x0) / along(self.noise, t, x_t)

    def forward_mean(self, x: Tensor, t: Tensor) -> Tensor:
        """Mean of ``q(x_t | x_{t-1} = x)`` (eq. 2); its log-variance is ``log_beta[t]``."""
        return (1 - along(self.beta, t, x)).sqrt() * x

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """μ̃_t, the mean of ``q(x_{t-1} | x_t, x_0)`` (eq. 7); its log-variance is ``log_beta_tilde[t]``."""
        return along(self.x0_weight, t, x_t) * x0 + along(self.xt_weight, t, x_t) * x_t

    def prior_divergence(self, x0: Tensor) -> Tensor:
        """L_T = KL(q(x_T | x_0) || N(0, I)) ``[B]`` in nats."""
        alpha_bar = self.alpha_bar64[-1]
        spread = float(-alpha_bar - torch.log1p(-alpha_bar))  # variance - 1 - log variance, a tiny difference
        return 0.5 * (self.alpha_bar[-1] * x0.square() + spread).flatten(1).sum(1)

    def respaced(self, times: Sequence[int]) -> DiffusionProcess:
        """The process that visits ``times`` (increasing, in 1 .. T) only (Nichol & Dhariwal 2021, §4).

        Its ``q(x_i | x_0)`` is this one's at ``times[i - 1]``; its betas follow.
        """
        alpha_bar = self.alpha_bar64[[0, *times]]
        return DiffusionProcess(1 - alpha_bar[1:] / alpha_bar[:-1], times).to(self.beta.device)
