"""Step sizes of transition kernels along a path, tuned on a pilot run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.mcmc.annealing import Kernel

S = TypeVar("S")
Transition = Callable[[S, float, Tensor], tuple[S, Tensor]]
"""``(state, beta, step_size [N]) -> (state, acceptance [N])``: a kernel that leaves ``f_beta`` invariant for every step
size, such as ``functools.partial(hmc, path, leapfrogs=5)``."""


def tune(
    transition: Transition[S],
    state: S,
    betas: Tensor,
    first: Tensor,
    target: float = 0.65,
    pilot: int = 100,
    rate: float = 0.2,
) -> Tensor:
    """Step sizes for every transition of every chain, from a pilot run along the same path with fewer temperatures.

    After each transition of the pilot, ``log step += rate (acceptance probability - target)``. The step sizes reached
    are interpolated in the logarithm to all temperatures and then fixed: adapting them during the run itself would
    leave no distribution invariant. For the same reason the pilot must share no random number with the run.

    Args:
        transition: the transition whose step size is tuned.
        state: exact draws of ``f_0`` for N chains in the order of the run's, drawn for the pilot alone.
        betas: inverse temperatures ``[T + 1]`` of the run.
        first: step sizes ``[N]`` to begin with.
        target: acceptance probability wanted (0.65 suits HMC: Beskos et al. 2013, arXiv:1001.4460; 0.57 MALA).
        pilot: temperatures of the pilot, if the run has as many.
        rate: rate of the adaptation.

    Returns:
        Step sizes ``[T, N]``, for :func:`with_step_sizes`.
    """
    last = len(betas) - 1
    visited = torch.linspace(1, last, min(pilot, last), dtype=torch.float64).round().long()
    log_step = first.log()
    found = []
    for beta in betas.cpu()[visited].tolist():
        state, probability = transition(state, beta, log_step.exp())
        log_step = log_step + rate * (probability - target)
        found.append(log_step)
    chains_by_time = torch.stack(found, dim=1)[None]  # [1, N, pilot]
    return F.interpolate(chains_by_time, size=last, mode="linear", align_corners=True)[0].T.exp()


def with_step_sizes(transition: Transition[S], step_sizes: Tensor) -> Kernel[S]:
    """The kernel whose transition t of T takes the step sizes ``step_sizes[t - 1]`` of ``step_sizes [T, N]``."""

    def kernel(state: S, beta: float, t: int) -> tuple[S, Tensor]:
        return transition(state, beta, step_sizes[t - 1])

    return kernel
