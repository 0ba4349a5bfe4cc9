r"""Annealed importance sampling (Neal 2001), in both directions (Grosse et al. 2015, arXiv:1511.02543).

For a decoder p(x|z) with prior N(0, I), along the geometric path ``f_b(z) = N(z; 0, I) p(x|z)^b`` from the prior,
b = 0, to the posterior, b = 1, whose normalizer is p(x) (Wu et al. 2017, arXiv:1611.04273). With inverse temperatures
:math:`0 = b_0 < \dots < b_T = 1` and :math:`T_t` an :func:`hmc` transition that leaves :math:`f_{b_t}` invariant,

.. math:: z_0 \to^{T_1} z_1 \to \dots \to^{T_T} z_T, \qquad
          \log w = \sum_{t=1}^T \log \frac{f_{b_t}(z_{t-1})}{f_{b_{t-1}}(z_{t-1})}
                 = \sum_{t=1}^T (b_t - b_{t-1}) \log p(x | z_{t-1}).

Run forward from the prior, :math:`E[w] = p(x)`: its logarithm bounds ``log p(x)`` from below. Run in reverse from an
exact draw of the posterior, :math:`E[1/w] = 1/p(x)`: a bound from above. Such a draw is at hand for simulated data
only, ``z ~ N(0, I)`` and ``x ~ p(x|z)``; the gap of the two tells there how good the bound is.

N chains run side by side: K for each of B examples, x repeated as the likelihood wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.core import log_mean_exp
from genmodels.errors import require
from genmodels.mcmc.hmc import LogLikelihood, evaluate, hmc

Watch = Callable[[Sequence[int]], Iterable[int]]
"""Hands on the temperatures' indices as they come; a progress bar is one."""


class Annealed(NamedTuple):
    """What a run leaves.

    Attributes:
        log_weight: ``log w [N]`` in nats, float64.
        z: the last latents ``[N, d]``: after :func:`forward` near the posterior, after :func:`reverse` near the prior.
        acceptance: mean acceptance probability over chains and temperatures.
    """

    log_weight: Tensor
    z: Tensor
    acceptance: float


def sigmoid_schedule(temperatures: int, delta: float = 4.0) -> Tensor:
    r"""Inverse temperatures ``[temperatures + 1]``, float64, from exactly 0 to exactly 1 (Wu et al. 2017).

    :math:`b_t = (\tilde b_t - \tilde b_0) / (\tilde b_T - \tilde b_0)` with
    :math:`\tilde b_t = \sigma(\delta (2t/T - 1))`: dense at both ends.

    Raises:
        UserError: for fewer than one temperature, or a delta that is not positive.

    >>> sigmoid_schedule(4).tolist()
    [0.0, 0.1049..., 0.5, 0.8950..., 1.0]
    """
    require(temperatures >= 1, f"annealing needs at least one temperature, got {temperatures}.")
    require(delta > 0, f"the schedule's delta must be positive, got {delta}.")
    b = torch.sigmoid(delta * torch.linspace(-1, 1, temperatures + 1, dtype=torch.float64))
    return (b - b[0]) / (b[-1] - b[0])


def tune(
    log_likelihood: LogLikelihood,
    z0: Tensor,
    betas: Tensor,
    leapfrogs: int,
    target: float = 0.65,
    pilot: int = 100,
    first: float = 0.5,
    rate: float = 0.2,
) -> Tensor:
    """Step sizes for every transition of every chain, from a pilot run down the same path with fewer temperatures.

    After each transition of the pilot, ``log step += rate (acceptance probability - target)``. What it arrives at is
    interpolated in the logarithm to all temperatures, and then fixed: adapting during the run itself would leave no
    distribution invariant. For the same reason the pilot must share no random number with the run.

    Args:
        log_likelihood: ``z [N, d] -> log p(x|z) [N]``.
        z0: ``[N, d] ~ N(0, I)``, drawn for the pilot alone; its chains have the order of the run's.
        betas: inverse temperatures ``[T + 1]`` of the run.
        leapfrogs: steps of a trajectory.
        target: acceptance probability wanted (0.65: Beskos et al. 2013, arXiv:1001.4460).
        pilot: temperatures of the pilot, if the run has as many.
        first: step size to begin with.
        rate: of the adaptation.

    Returns:
        Step sizes ``[T, N]``.
    """
    last = len(betas) - 1
    visited = torch.linspace(1, last, min(pilot, last), dtype=torch.float64).round().long()
    state = evaluate(log_likelihood, z0)
    log_step = torch.full_like(state.log_likelihood, first).log()
    found = []
    for beta in betas.cpu()[visited].tolist():
        state, probability = hmc(log_likelihood, state, beta, log_step.exp(), leapfrogs)
        log_step = log_step + rate * (probability - target)
        found.append(log_step)
    chains_by_time = torch.stack(found, dim=1)[None]  # [1, N, pilot]
    return F.interpolate(chains_by_time, size=last, mode="linear", align_corners=True)[0].T.exp()


def forward(
    log_likelihood: LogLikelihood, z0: Tensor, betas: Tensor, step_sizes: Tensor, leapfrogs: int, watch: Watch = iter
) -> Annealed:
    """From the prior to the posterior: ``E[exp(log_weight)] = p(x)``.

    Costs ``1 + T leapfrogs`` evaluations of the likelihood and its gradient.

    Args:
        log_likelihood: ``z [N, d] -> log p(x|z) [N]``.
        z0: ``[N, d] ~ N(0, I)``.
        betas: inverse temperatures ``[T + 1]`` from 0 to 1, see :func:`sigmoid_schedule`.
        step_sizes: ``[T, N]``, see :func:`tune`.
        leapfrogs: steps of a trajectory.
        watch: wraps the iteration over temperatures.
    """
    b = betas.tolist()
    state = evaluate(log_likelihood, z0)
    log_weight = torch.zeros_like(state.log_likelihood, dtype=torch.float64)
    accepted = torch.zeros_like(log_weight)
    for t in watch(range(1, len(b))):
        log_weight = log_weight + (b[t] - b[t - 1]) * state.log_likelihood.double()
        state, probability = hmc(log_likelihood, state, b[t], step_sizes[t - 1], leapfrogs)
        accepted = accepted + probability
    return Annealed(log_weight, state.z, float(accepted.mean()) / (len(b) - 1))


def reverse(
    log_likelihood: LogLikelihood, z: Tensor, betas: Tensor, step_sizes: Tensor, leapfrogs: int, watch: Watch = iter
) -> Annealed:
    """From the posterior to the prior, :func:`forward` run backwards: ``E[exp(-log_weight)] = 1 / p(x)``.

    Args:
        log_likelihood: as for :func:`forward`; so are the others.
        z: ``[N, d]``, exact draws from p(z|x). Those of one x may be copies of the single z that x was drawn from.
        betas: from 0 to 1, in the order of :func:`forward`.
        step_sizes: in the order of :func:`forward`.
        leapfrogs: steps of a trajectory.
        watch: wraps the iteration over temperatures, which come last first.
    """
    b = betas.tolist()
    state = evaluate(log_likelihood, z)
    log_weight = torch.zeros_like(state.log_likelihood, dtype=torch.float64)
    accepted = torch.zeros_like(log_weight)
    for t in watch(range(len(b) - 1, 0, -1)):
        state, probability = hmc(log_likelihood, state, b[t], step_sizes[t - 1], leapfrogs)
        log_weight = log_weight + (b[t] - b[t - 1]) * state.log_likelihood.double()
        accepted = accepted + probability
    return Annealed(log_weight, state.z, float(accepted.mean()) / (len(b) - 1))


def lower_bound(log_weight: Tensor) -> Tensor:
    """``log mean w [B]`` over the K chains of :func:`forward`, ``[K, B]``: in expectation at most ``log p(x)``."""
    return log_mean_exp(log_weight)


def upper_bound(log_weight: Tensor) -> Tensor:
    """``-log mean 1/w [B]`` over the K chains of :func:`reverse`, ``[K, B]``: in expectation at least ``log p(x)``."""
    return -log_mean_exp(-log_weight)
