"""The probability-flow ODE: a diffusion model as a continuous flow, and the density of the samples it ends in.

The deterministic flow with the marginals of a variance-preserving process is ``dx/dt = -½ β(t) (x + ∇ log p_t(x))``
(Song et al. 2021, eq. 13, arXiv:2011.13456), with ``∇ log p_t(x) = -ε(x, t) / sigma``. In the variable
``l = log(sigma / sqrt_alpha_bar)``, which is -½ log SNR, ``dl = ½ β dt / sigma²``, so that

    dx/dl = sigma ε(x, t(l)) - sigma² x

holds without a derivative of the schedule; t remains as an input of the network alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genmodels.core.observation import standard_normal_log_prob
from genmodels.diffusion.process import DiffusionProcess
from genmodels.ode import Dopri5, integrate_with_log_det

EpsEstimate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``(x_t [B, *shape], real t [B], sqrt_alpha_bar [], sigma []) -> ε [B, *shape]``, differentiable in x_t."""


def log_ratios(process: DiffusionProcess) -> Tensor:
    """``l = log(sigma / sqrt_alpha_bar)`` at t = 1 .. T: ``[T]``, increasing, float64."""
    alpha_bar = process.alpha_bar64[1:].to(process.beta.device)
    return 0.5 * (torch.log1p(-alpha_bar) - torch.log(alpha_bar))


def time_at(log_ratio: Tensor, grid: Tensor, times: Tensor) -> Tensor:
    """The real time ``[]`` at which ``l = log_ratio []``: exact on the ``grid [T]`` of ``times [T]``, linear between.

    >>> time_at(torch.tensor(1.5), torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1, 2, 10]))
    tensor(6.)
    """
    after = torch.searchsorted(grid, log_ratio.to(grid)).clamp(1, len(grid) - 1)
    fraction = (log_ratio - grid[after - 1]) / (grid[after] - grid[after - 1])
    return torch.lerp(times[after - 1].to(fraction), times[after].to(fraction), fraction)


class ProbabilityFlow:
    """The velocity ``dx/dl`` of the flow, which is to be integrated over ``interval``.

    Args:
        eps: the ε of the model at real-valued times.
        process: the forward process, whose integer times fix t(l).
    """

    def __init__(self, eps: EpsEstimate, process: DiffusionProcess) -> None:
        self.eps = eps
        self.grid, self.times = log_ratios(process), process.times[1:]

    @property
    def interval(self) -> tuple[float, float]:
        """``l`` at t = 1 and at t = T."""
        return self.grid[0].item(), self.grid[-1].item()

    def __call__(self, log_ratio: Tensor, x: Tensor) -> Tensor:
        """``dx/dl [B, *shape]`` at ``l = log_ratio []`` and ``x [B, *shape]``."""
        sqrt_alpha_bar, sigma = torch.sigmoid(-2 * log_ratio).sqrt(), torch.sigmoid(2 * log_ratio).sqrt()
        t = time_at(log_ratio, self.grid, self.times).to(x).expand(len(x))
        eps = self.eps(x, t, sqrt_alpha_bar, sigma).to(x.dtype)
        return sigma * eps - sigma.square() * x


@torch.no_grad()
def flow_log_prob(
    eps: EpsEstimate, process: DiffusionProcess, x: Tensor, tolerance: float, probes: Tensor | None = None
) -> tuple[Tensor, int]:
    """Log-density ``[B]`` in nats of the flow's samples at time t = 1, at the points ``x``; an estimate.

    ``log p(x) = log N(x_T; 0, I) + log |det ∂x_T/∂x|`` (Song et al. 2021, appendix D.2), by dopri5. Its errors are the
    solver's and, with ``probes``, that of the trace; it is no bound. The samples are those that start from N(0, I) at
    t = T and stop at t = 1, where x_0 still carries the noise of the first step.

    Args:
        eps: the ε of the model at real-valued times.
        process: the forward process.
        x: ``[B, *shape]``, float32 or float64, in which the whole path is computed. The batch shares its steps.
        tolerance: relative and absolute tolerance of the solver.
        probes: random signs ``[P, B, *shape]``, see :func:`genmodels.ode.integrate_with_log_det`.

    Returns:
        The log-densities, and the number of evaluations of ``eps``.

    Raises:
        ValueError: if the tolerance is not positive, or the probes do not fit ``x``.
    """
    flow = ProbabilityFlow(eps, process)
    x_T, log_det, evaluations = integrate_with_log_det(flow, x, *flow.interval, Dopri5(tolerance), probes)
    return standard_normal_log_prob(x_T) + log_det, evaluations
