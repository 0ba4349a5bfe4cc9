"""Hamiltonian Monte Carlo on tempered posteriors of a latent variable (Neal 2011, arXiv:1206.1901).

The target is ``f_b(z) = N(z; 0, I) p(x|z)^b``, unnormalized, for N chains side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LogLikelihood = Callable[[Tensor], Tensor]
"""``z [N, d] -> log p(x_n | z_n) [N]`` in nats, differentiable, row n a function of z_n alone; x is closed over."""


class State(NamedTuple):
    """Where N chains stand, with all that a transition at any inverse temperature needs to know there.

    Attributes:
        z: latents ``[N, d]``.
        log_likelihood: ``log p(x|z) [N]`` in nats.
        gradient: of ``log p(x|z)`` in z, ``[N, d]``.
    """

    z: Tensor
    log_likelihood: Tensor
    gradient: Tensor


def evaluate(log_likelihood: LogLikelihood, z: Tensor) -> State:
    """The state at ``z [N, d]``: one pass forward and one back, also under ``torch.no_grad``. Nothing keeps a graph."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        log_p = log_likelihood(z)
        (gradient,) = torch.autograd.grad(log_p.sum(), z)
    return State(z.detach(), log_p.detach(), gradient)


def slope(state: State, beta: float) -> Tensor:
    """Gradient of ``log f_b`` in z, ``[N, d]``."""
    return beta * state.gradient - state.z


def energy(state: State, momentum: Tensor, beta: float) -> Tensor:
    """Hamiltonian ``-log f_b(z) + |p|²/2 [N]`` in nats, less a constant."""
    return 0.5 * (state.z.square() + momentum.square()).sum(1) - beta * state.log_likelihood


def leapfrog(
    log_likelihood: LogLikelihood, state: State, momentum: Tensor, beta: float, step: Tensor, leapfrogs: int
) -> tuple[State, Tensor]:
    """State and momentum ``[N, d]`` after ``leapfrogs`` steps of sizes ``step [N, 1]``."""
    momentum = momentum + 0.5 * step * slope(state, beta)
    for remaining in range(leapfrogs - 1, -1, -1):
        state = evaluate(log_likelihood, state.z + step * momentum)
        momentum = momentum + (step if remaining else 0.5 * step) * slope(state, beta)
    return state, momentum


def hmc(
    log_likelihood: LogLikelihood, state: State, beta: float, step_size: Tensor, leapfrogs: int
) -> tuple[State, Tensor]:
    """One transition with unit mass and fresh momentum that leaves ``f_b`` invariant and is reversible.

    It costs ``leapfrogs`` evaluations whatever the inverse temperature of the transition before. A proposal without a
    finite energy is rejected.

    Args:
        log_likelihood: ``z [N, d] -> log p(x|z) [N]``.
        state: where the chains stand.
        beta: inverse temperature b in [0, 1].
        step_size: ``[N]``, one per chain.
        leapfrogs: steps of a trajectory, at least 1.

    Returns:
        The new state, and the probability ``[N]`` with which each chain's proposal was accepted.
    """
    momentum = torch.randn_like(state.z)
    proposal, final = leapfrog(log_likelihood, state, momentum, beta, step_size[:, None], leapfrogs)
    before, after = energy(state, momentum, beta), energy(proposal, final, beta)
    probability = torch.where(after.isfinite(), torch.exp((before - after).clamp(max=0)), 0).nan_to_num(0)
    accept = torch.rand_like(probability) < probability
    z = torch.where(accept[:, None], proposal.z, state.z)
    gradient = torch.where(accept[:, None], proposal.gradient, state.gradient)
    return State(z, torch.where(accept, proposal.log_likelihood, state.log_likelihood), gradient), probability
