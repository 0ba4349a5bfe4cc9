"""Annealed importance sampling against closed forms and quadrature, from both sides."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from genmodels.core import DataSpec
from genmodels.core.observation import SphericalGaussian
from genmodels.mcmc import (
    DifferentiablePath,
    forward,
    hmc,
    lower_bound,
    reverse,
    sigmoid_schedule,
    tune,
    upper_bound,
    with_step_sizes,
)


def tuned(path, state, betas, leapfrogs):
    """Step sizes of HMC ``[T, N]``."""
    return tune(partial(hmc, path, leapfrogs=leapfrogs), state, betas, torch.full((len(state.x),), 0.5))


def kernel(path, steps, leapfrogs):
    return with_step_sizes(partial(hmc, path, leapfrogs=leapfrogs), steps)


class Problem:
    """Data simulated from a decoder ``location``, with K chains an example laid out chain by chain."""

    def __init__(self, location, latent_dim, shape, sigma, examples, chains):
        self.observation = SphericalGaussian(DataSpec(shape), sigma)
        self.location = location
        self.true_z = torch.randn(examples, latent_dim)
        self.x = self.observation.sample(location(self.true_z))
        self.chains = chains
        self.path = DifferentiablePath(self.log_likelihood)

    def log_likelihood(self, z):
        return self.observation.log_prob(self.x.repeat(len(z) // len(self.x), 1), self.location(z))

    def bracket(self, temperatures, leapfrogs=5):
        """Lower and upper bound ``[B]`` of both directions, and both runs."""
        betas = sigmoid_schedule(temperatures)
        z = self.true_z.repeat(self.chains, 1)
        steps = tuned(self.path, self.path.state(torch.randn_like(z)), betas, leapfrogs)
        transitions = kernel(self.path, steps, leapfrogs)
        up = forward(self.path, transitions, self.path.state(torch.randn_like(z)), betas)
        down = reverse(self.path, transitions, self.path.state(z), betas)
        weights = [run.log_weight.reshape(self.chains, -1) for run in (up, down)]
        return lower_bound(weights[0]), upper_bound(weights[1]), up, down


def linear(sigma=1.0, examples=8, chains=8):
    weight, bias = torch.randn(6, 3), torch.randn(6)
    problem = Problem(lambda z: z @ weight.T + bias, 3, (6,), sigma, examples, chains)
    truth = MultivariateNormal(bias, weight @ weight.T + sigma**2 * torch.eye(6)).log_prob(problem.x)
    return problem, truth.double(), weight, bias


@pytest.mark.slow
def test_both_directions_meet_at_the_closed_form_of_a_linear_decoder():
    torch.manual_seed(0)
    problem, truth, weight, bias = linear(chains=1024)
    lower, upper, up, down = problem.bracket(temperatures=400)
    assert up.log_weight.dtype == torch.float64
    torch.testing.assert_close(lower, truth, atol=0.05, rtol=0)
    torch.testing.assert_close(upper, truth, atol=0.08, rtol=0)
    assert (upper - lower).mean() < 0.1
    assert min(up.acceptance, down.acceptance) > 0.5
    covariance = torch.linalg.inv(torch.eye(3) + weight.T @ weight)
    posterior_mean = (problem.x - bias) @ weight @ covariance
    torch.testing.assert_close(up.state.x.reshape(1024, -1, 3).mean(0), posterior_mean, atol=0.1, rtol=0)


def test_few_temperatures_leave_the_truth_between_the_bounds():
    torch.manual_seed(0)
    problem, truth, *_ = linear(sigma=0.1, examples=64, chains=16)
    lower, upper, *_ = problem.bracket(temperatures=30)
    assert lower.mean() + 0.1 < truth.mean() < upper.mean() - 0.1


def test_bracket_holds_the_integral_of_a_nonlinear_decoder():
    torch.manual_seed(0)
    problem = Problem(lambda z: torch.cat([torch.sin(3 * z), z.square() - 1], 1), 1, (2,), 0.5, examples=64, chains=128)
    grid = torch.linspace(-8, 8, 8001).double()[:, None]
    location, std = problem.location(grid), torch.tensor(0.5).double()
    joint = Normal(location[:, None], std).log_prob(problem.x.double()).sum(2) + Normal(0.0, 1.0).log_prob(grid)
    truth = torch.logsumexp(joint, 0) + math.log(16 / 8000)
    lower, upper, *_ = problem.bracket(temperatures=300)
    assert (lower - truth).square().mean().sqrt() < 0.12  # the largest of 64 errors has a heavy tail
    assert truth.mean() - 0.05 < lower.mean() < truth.mean() + 0.02
    assert truth.mean() - 0.02 < upper.mean() < truth.mean() + 0.15  # one z for all chains of an x


def test_one_temperature_is_importance_sampling_from_the_prior():
    problem, *_ = linear()
    z0 = torch.randn(64, 3)
    betas = torch.tensor([0.0, 1.0], dtype=torch.float64)
    transitions = kernel(problem.path, torch.full((1, len(z0)), 0.1), 2)
    weights = forward(problem.path, transitions, problem.path.state(z0), betas).log_weight
    assert torch.equal(weights, problem.log_likelihood(z0).double())


@pytest.mark.parametrize("temperatures", [1, 2, 4])
def test_weights_are_unbiased_in_both_directions_however_few_the_temperatures(temperatures):
    """x | z ~ N(1.5 z, 2.6²) at x = 5, whose weights and their inverses have finite variances."""
    torch.manual_seed(0)
    slope, sigma, x, n = 1.5, 2.6, 5.0, 100_000
    log_p = Normal(0.0, math.hypot(slope, sigma)).log_prob(torch.tensor(x)).item()
    variance = 1 / (1 + slope**2 / sigma**2)
    posterior = variance * slope * x / sigma**2 + math.sqrt(variance) * torch.randn(n, 1)

    def log_likelihood(z):
        return Normal(slope * z[:, 0], sigma).log_prob(torch.tensor(x))

    betas, steps = sigmoid_schedule(temperatures), torch.full((temperatures, n), 0.6)
    path = DifferentiablePath(log_likelihood)
    transitions = kernel(path, steps, leapfrogs=2)
    up = forward(path, transitions, path.state(torch.randn(n, 1)), betas).log_weight
    down = reverse(path, transitions, path.state(posterior), betas).log_weight
    for ratio in ((up - log_p).exp(), (log_p - down).exp()):  # w / p(x), p(x) / w
        assert abs(ratio.mean().item() - 1) < 4 * ratio.std().item() / math.sqrt(n)
        assert ratio.std().item() < 2


def test_bounds_of_a_few_weights():
    log_weight = torch.tensor([[0.0], [2.0]])
    assert lower_bound(log_weight).item() == pytest.approx(math.log((1 + math.exp(2)) / 2))
    assert upper_bound(log_weight).item() == pytest.approx(-math.log((1 + math.exp(-2)) / 2))


@pytest.mark.parametrize("temperatures", [1, 2, 1000])
def test_schedule_runs_from_zero_to_one(temperatures):
    betas = sigmoid_schedule(temperatures)
    assert betas.shape == (temperatures + 1,)
    assert betas[0] == 0
    assert betas[-1] == 1
    assert (betas.diff() > 0).all()
    torch.testing.assert_close(betas + betas.flip(0), torch.ones_like(betas))


@pytest.mark.parametrize("arguments", [(0,), (5, 0.0)])
def test_schedule_refuses_what_is_none(arguments):
    with pytest.raises(ValueError, match=r"^(temperatures|delta) must be"):
        sigmoid_schedule(*arguments)


@pytest.mark.parametrize("direction", [forward, reverse])
def test_a_path_needs_two_inverse_temperatures(direction):
    problem, *_ = linear()
    state, transitions = problem.path.state(problem.true_z), kernel(problem.path, torch.ones(0, 8), 1)
    with pytest.raises(ValueError, match=r"^betas must hold at least two"):
        direction(problem.path, transitions, state, torch.zeros(1))


def test_step_sizes_follow_each_chains_own_likelihood_to_the_wanted_acceptance():
    torch.manual_seed(0)
    chains = 256
    sharp = torch.arange(chains) % 2 == 0
    problem = Problem(lambda z: 2 * z, 3, (3,), 1.0, chains, 1)
    problem.observation.sigma = torch.where(sharp, 0.02, 1.0)
    betas = sigmoid_schedule(300)
    steps = tuned(problem.path, problem.path.state(torch.randn(chains, 3)), betas, 5)
    assert steps.shape == (300, chains)
    assert (steps[-1, sharp].median() * 20 < steps[-1, ~sharp].median()).item()
    run = forward(problem.path, kernel(problem.path, steps, 5), problem.path.state(torch.randn(chains, 3)), betas)
    assert 0.55 < run.acceptance < 0.8


@pytest.mark.parametrize("temperatures", [1, 2, 7])
def test_a_pilot_no_longer_than_the_run_gives_every_temperature_its_own_step(temperatures):
    problem, *_ = linear()
    torch.manual_seed(0)
    whole = tuned(problem.path, problem.path.state(torch.randn(8, 3)), sigmoid_schedule(temperatures), 2)
    assert whole.shape == (temperatures, 8)
    assert (whole.log().diff(dim=0).abs() <= 0.2 * 0.65 + 1e-5).all()


def test_progress_sees_the_transitions_in_the_order_of_travel():
    problem, *_ = linear()
    seen = []

    def progress(transitions):
        for t in transitions:
            seen.append(t)
            yield t

    state, transitions = problem.path.state(torch.randn(8, 3)), kernel(problem.path, torch.full((3, 8), 0.1), 1)
    for direction in (forward, reverse):
        direction(problem.path, transitions, state, sigmoid_schedule(3), progress)
    assert seen == [1, 2, 3, 3, 2, 1]
