"""Hamiltonian transitions against Gaussian targets whose moments are known."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal

from genmodels.mcmc import DifferentiablePath, State, hmc

MEAN = torch.tensor([1.0, -0.5])
PRECISION = torch.tensor([[4.0, 1.5], [1.5, 2.0]])


def log_likelihood(z):
    return -0.5 * torch.einsum("ni,ij,nj->n", z - MEAN, PRECISION, z - MEAN)


PATH = DifferentiablePath(log_likelihood)


def tempered(beta: float) -> MultivariateNormal:
    precision = torch.eye(2) + beta * PRECISION
    return MultivariateNormal(torch.linalg.solve(precision, beta * PRECISION @ MEAN), precision_matrix=precision)


def run(z, beta, step_size, transitions, leapfrogs=3):
    state, accepted = PATH.state(z), torch.zeros(len(z))
    for _ in range(transitions):
        state, probability = hmc(PATH, state, beta, torch.full((len(z),), step_size), leapfrogs)
        accepted += probability / transitions
    return state, accepted.mean().item()


def assert_moments(z, target):
    torch.testing.assert_close(z.mean(0), target.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), target.covariance_matrix, atol=0.03, rtol=0)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_tempered_posterior_is_invariant_at_a_step_that_needs_rejections(beta):
    torch.manual_seed(0)
    target = tempered(beta)
    step = 1.3 / target.precision_matrix.trace().sqrt().item()
    state, acceptance = run(target.sample((20_000,)), beta, step, transitions=10)
    assert 0.5 < acceptance < 0.97
    assert_moments(state.x, target)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_chains_find_the_tempered_posterior_from_afar(beta):
    torch.manual_seed(0)
    state, _ = run(3 + torch.randn(20_000, 2), beta, 0.3, transitions=30)
    assert_moments(state.x, tempered(beta))


def test_error_of_the_energy_falls_with_the_square_of_the_step():
    torch.manual_seed(0)
    refused = [1 - run(tempered(1.0).sample((4000,)), 1.0, step, 1, round(1.2 / step))[1] for step in (0.4, 0.2, 0.1)]
    assert refused[0] > 3 * refused[1] > 9 * refused[2] > 0


def test_state_carried_along_is_the_state_at_its_position_and_costs_one_evaluation_a_leapfrog():
    calls = []

    def counted(z):
        calls.append(z)
        return log_likelihood(z)

    path = DifferentiablePath(counted)
    state = path.state(torch.randn(64, 2))
    with torch.no_grad():
        for beta in (0.2, 0.9):
            state, probability = hmc(path, state, beta, torch.full((64,), 0.7), 4)
    assert len(calls) == 1 + 2 * 4
    assert 0 < (state.x == calls[-1]).all(1).float().mean() < 1, "some chains moved, some stayed"
    assert probability.shape == (64,)
    for carried, fresh in zip(state, PATH.state(state.x), strict=True):
        torch.testing.assert_close(carried, fresh)
        assert not carried.requires_grad


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_proposals_without_finite_energy_are_rejected_chain_by_chain(value):
    torch.manual_seed(0)

    def broken(z):
        return torch.where(z[:, 0] > 0, value, 0.0) - z.square().sum(1)

    start = torch.randn(500, 2)
    start[:, 0] = -start[:, 0].abs()
    path = DifferentiablePath(broken)
    state: State = path.state(start)
    for _ in range(5):
        state, probability = hmc(path, state, 0.5, torch.full((500,), 0.5), 3)
        assert torch.isfinite(torch.cat([part.flatten() for part in (*state, probability)])).all()
    assert (state.x[:, 0] <= 0).all()
    assert (state.x != start).any(1).float().mean() > 0.5
