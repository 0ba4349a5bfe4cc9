"""The probability-flow ODE: a diffusion model as a continuous flow, and the density of what the flow ends in.

The deterministic flow with the marginals of a variance-preserving process is ``dx/dt = -½ β(t) (x + ∇ log p_t(x))``
(Song et al. 2021, eq. 13, arXiv:2011.13456), with ``∇ log p_t(x) = -ε(x, t) / sigma_t``. In the variable
``l = log(sigma_t / signal_t)``, half the negative log of the signal-to-noise ratio, ``dl = ½ β dt / sigma²``, so that

    dx/dl = sigma ε(x, t(l)) - sigma² x        d log p/dl = -(sigma tr(∂ε/∂x) - sigma² D)

hold with no derivative of the schedule; t is left as an input of the network alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genmodels.core.observation import standard_normal_log_prob
from genmodels.diffusion.process import DiffusionProcess
from genmodels.errors import require

NoiseEstimate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``(x_t [B, *shape], real t [B], signal [], sigma []) -> ε [B, *shape]``, differentiable in x_t."""


def log_ratios(process: DiffusionProcess) -> Tensor:
    """``l = log(sigma_t / signal_t)`` at t = 1 .. T: ``[T]``, increasing, float64."""
    alpha_bar = process.alpha_bar64[1:].to(process.beta.device)
    return 0.5 * (torch.log1p(-alpha_bar) - torch.log(alpha_bar))


def time_at(log_ratio: Tensor, grid: Tensor, times: Tensor) -> Tensor:
    """The real time at which ``l = log_ratio []``: exact on the ``grid [T]``, linear in l between.

    >>> time_at(torch.tensor(1.5), torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1, 2, 10]))
    tensor(6.)
    """
    after = torch.searchsorted(grid, log_ratio.to(grid)).clamp(1, len(grid) - 1)
    share = (log_ratio - grid[after - 1]) / (grid[after] - grid[after - 1])
    return torch.lerp(times[after - 1].to(share), times[after].to(share), share)


def trace(output: Tensor, x: Tensor, directions: Tensor) -> Tensor:
    """``Σ_k v_k · (∂output/∂x) v_k`` ``[B]`` over ``directions [K, B or 1, *shape]``, by K vector-Jacobian products.

    The trace of the Jacobian itself for the D unit vectors, an unbiased estimate of it for random ones with
    ``Σ_k E[v_k v_kᵀ] = I`` (Hutchinson 1990; Song et al. 2021, appendix D.2).
    """
    total = x.new_zeros(len(x))
    for v in directions.expand(-1, *x.shape):
        (pulled,) = torch.autograd.grad(output, x, v, retain_graph=True)
        total = total + (pulled * v).flatten(1).sum(1)
    return total


class Drift:
    """Right-hand side of the flow for the state (x, what has accumulated of its divergence).

    Args:
        noise: the ε of the model.
        process: the forward process.
        directions: see :func:`trace`.
    """

    def __init__(self, noise: NoiseEstimate, process: DiffusionProcess, directions: Tensor) -> None:
        self.noise, self.directions = noise, directions
        self.grid, self.times = log_ratios(process), process.times[1:]
        self.evaluations = 0

    def __call__(self, log_ratio: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """``dx/dl [B, *shape]`` and its divergence ``[B]``."""
        self.evaluations += 1
        signal, sigma = torch.sigmoid(-2 * log_ratio).sqrt(), torch.sigmoid(2 * log_ratio).sqrt()
        with torch.enable_grad():
            x = state[0].detach().requires_grad_()
            t = time_at(log_ratio, self.grid, self.times).to(x).expand(len(x))
            noise = self.noise(x, t, signal, sigma).to(x.dtype)
            jacobian_trace = trace(noise, x, self.directions)
        dims = x[0].numel()
        return sigma * noise.detach() - sigma.square() * x.detach(), sigma * jacobian_trace - sigma.square() * dims


@torch.no_grad()
def flow_log_prob(
    noise: NoiseEstimate, process: DiffusionProcess, x: Tensor, tolerance: float, probes: Tensor | None = None
) -> tuple[Tensor, int]:
    """Log-density ``[B]`` in nats of the flow's samples at time t = 1, at the points ``x``; an estimate.

    ``log p(x) = log N(x_T; 0, I) + ∫ div(dx/dl) dl`` from t = 1 to T (Song et al. 2021, appendix D.2), by dopri5. Its
    errors are the solver's and, with ``probes``, that of the trace; it bounds nothing. The samples are those that start
    from N(0, I) at t = T and stop at t = 1, at x_0 with the noise of the first step.

    Args:
        noise: the ε of the model at real-valued times.
        process: the forward process, whose integer times fix t(l).
        x: ``[B, *shape]``, float32 or float64, in which the whole path is computed. The batch shares its steps.
        tolerance: of the solver, relative and absolute. Float32 has digits for about 1e-6.
        probes: ``[P, B, *shape]`` random signs, the same along the whole path, for Hutchinson's estimate by P
            vector-Jacobian products an evaluation; ``None`` takes the exact trace by D.

    Returns:
        The log-densities, and how many times ``noise`` was evaluated.

    Raises:
        UserError: for a tolerance that is not positive, or probes that do not fit ``x``.
    """
    from torchdiffeq import odeint  # imported here, since nothing but this needs it

    require(tolerance > 0, f"the solver of the flow needs a positive tolerance, got {tolerance}.")
    if probes is None:
        directions = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device).view(-1, 1, *x.shape[1:])
    else:
        fits = len(probes) > 0 and probes.shape[1:] == x.shape
        require(fits, f"probes must be [P, *{tuple(x.shape)}] as x is, got {tuple(probes.shape)}.")
        directions = probes.to(x) / len(probes) ** 0.5
    drift = Drift(noise, process, directions)
    ends = drift.grid[[0, -1]].to(x.dtype)
    path, divergence = odeint(
        drift,
        (x, x.new_zeros(len(x))),
        ends,
        rtol=tolerance,
        atol=tolerance,
        method="dopri5",
        options={"step_t": ends[1:]},  # the last step ends at T instead of beyond, where nothing was trained
    )
    return standard_normal_log_prob(path[-1]) + divergence[-1], drift.evaluations
