"""Hamiltonian Monte Carlo along a path of densities (Neal 2011, arXiv:1206.1901)."""

from __future__ import annotations

import torch
from torch import Tensor

from genmodels.mcmc.paths import DifferentiablePath, State, select


def hamiltonian(state: State, momentum: Tensor, beta: float) -> Tensor:
    """``-log f_b(x) + |p|²/2 [N]`` in nats, for momentum p ``[N, d]``."""
    return (0.5 * momentum.square() - state.log_f0).sum(1) - beta * state.log_g


def leapfrog(
    path: DifferentiablePath, state: State, momentum: Tensor, beta: float, step: Tensor, leapfrogs: int
) -> tuple[State, Tensor]:
    """State and momentum ``[N, d]`` after ``leapfrogs`` steps of sizes ``step [N, 1]``."""
    momentum = momentum + 0.5 * step * path.gradient(state, beta)
    for remaining in range(leapfrogs - 1, -1, -1):
        state = path.state(state.x + step * momentum)
        momentum = momentum + (step if remaining else 0.5 * step) * path.gradient(state, beta)
    return state, momentum


def hmc(path: DifferentiablePath, state: State, beta: float, step_size: Tensor, leapfrogs: int) -> tuple[State, Tensor]:
    """One transition with unit mass and fresh momentum, which leaves ``f_b`` invariant and is reversible.

    It costs ``leapfrogs`` evaluations, whatever the inverse temperature of the transition before. A proposal whose
    energy is not finite is rejected.

    Args:
        path: densities ``f_b`` on ``R^d``.
        state: state of N chains.
        beta: inverse temperature b in [0, 1].
        step_size: ``[N]``, one per chain.
        leapfrogs: steps per trajectory, at least 1.

    Returns:
        The new state, and the probability ``[N]`` with which the proposal of each chain was accepted.
    """
    momentum = torch.randn_like(state.x)
    proposal, final = leapfrog(path, state, momentum, beta, step_size[:, None], leapfrogs)
    before, after = hamiltonian(state, momentum, beta), hamiltonian(proposal, final, beta)
    probability = torch.where(after.isfinite(), torch.exp((before - after).clamp(max=0)), 0).nan_to_num(0)
    return select(torch.rand_like(probability) < probability, proposal, state), probability
