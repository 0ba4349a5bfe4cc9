"""The bound of diffusion models in its three forms, their importance weights, and their quasi-static limit."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch

from genmodels.core import DataSpec
from genmodels.diffusion import reciprocal
from genmodels.mcmc import DifferentiablePath
from genmodels.mcmc.langevin import langevin
from genmodels.models.nonequilibrium import Nonequilibrium
from genmodels.networks.readout import readout
from tests.theory.diffusions import (
    BITS,
    PAIRED,
    LinearChain,
    gap_of_bits,
    gap_of_gaussian,
    hermite,
    independent,
    joints,
)

CHAIN = LinearChain()
X0 = torch.tensor([-2.0, -0.3, 0.0, 1.0], dtype=torch.float64)


def joint_form(x0):
    """``E_q[log p(x_{0:T}) / q(x_{1:T} | x_0)]``, by the rule over all four noises of a trajectory at once."""
    points, weights = hermite(4)  # exact for the squares of which log-weights consist
    noise = torch.cartesian_prod(*[points] * 4)  # [N, T]
    weight = torch.stack([weights[i] for i in torch.cartesian_prod(*[torch.arange(4)] * 4).T]).prod(0)
    trajectory = [x0.expand(len(noise))]
    for t, beta in enumerate(CHAIN.betas):
        trajectory.append((1 - beta).sqrt() * trajectory[-1] + beta.sqrt() * noise[:, t])
    return (weight * CHAIN.log_weight(torch.stack(trajectory))).sum()


def divergences(x0, t):
    """``E KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t))`` by the rule over x_t."""
    points, weights = hermite(4)
    law = CHAIN.kernel.transition(x0, CHAIN.lost[t])
    x_t = law.mean + (0.5 * law.log_variance).exp() * points
    posterior = CHAIN.kernel.posterior(x0.expand(4), x_t, CHAIN.lost[t - 1], CHAIN.betas[t - 1])
    return (weights * posterior.divergence(CHAIN.reverse(x_t, t))).sum()


def divergence_form(x0):
    """``-(L_T + sum_{t=2}^T L_{t-1} + L_0)`` (Ho et al. 2020, eq. 5)."""
    points, weights = hermite(4)
    first, last = (CHAIN.kernel.transition(x0, CHAIN.lost[t]) for t in (1, 4))
    x_1 = first.mean + (0.5 * first.log_variance).exp() * points
    reconstruction = (weights * CHAIN.reverse(x_1, 1).log_prob(x0)).sum()
    return reconstruction - last.divergence(CHAIN.kernel.equilibrium(x0)) - sum(divergences(x0, t) for t in (2, 3, 4))


def entropy_form(x0, exact=True):
    """``-sum_{t=2}^T KL + H_q(X_T | x_0) - H_q(X_1 | x_0) - H_p(X_T)`` (Sohl-Dickstein et al. 2015, eq. 14).

    The exact form for one x_0 has ``E log π(x_T) + log π(x_0) - E log π(x_1)`` in the place of ``-H_p(X_T)``.
    """
    first, last = (CHAIN.kernel.transition(x0, CHAIN.lost[t]) for t in (1, 4))
    pi = CHAIN.kernel.equilibrium(x0)
    potential = last.expected_log_prob(pi) + pi.log_prob(x0) - first.expected_log_prob(pi)
    rest = potential if exact else -pi.entropy()
    return last.entropy() - first.entropy() + rest - sum(divergences(x0, t) for t in (2, 3, 4))


@pytest.mark.parametrize("x0", X0)
def test_three_forms_of_the_bound_are_one(x0):
    joint = joint_form(x0)
    torch.testing.assert_close(divergence_form(x0), joint, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(entropy_form(x0), joint, rtol=1e-12, atol=1e-12)


def test_the_papers_entropy_form_holds_on_average_for_data_of_the_moments_of_the_equilibrium():
    for data, holds in ((torch.tensor([-1.0, 1.0]), True), (torch.tensor([-0.5, 0.5]), False)):
        short, whole = (sum(entropy_form(x0, exact) for x0 in data.double()) / 2 for exact in (False, True))
        assert (abs(float(short - whole)) < 1e-12) is holds
    assert abs(float(entropy_form(X0[0], exact=False) - entropy_form(X0[0]))) > 0.01  # nor for one x_0 alone


def log_p(x0):
    """``log p(x_0)`` of the reverse chain alone."""
    return torch.distributions.Normal(0.0, math.sqrt(CHAIN.variance_of_samples())).log_prob(x0)


@pytest.mark.parametrize("x0", X0)
def test_weights_average_to_the_probability_of_an_inexact_chain(x0):
    """``E_q[p / q] = p(x_0)`` by quadrature over the four noises, and the bound lies below by a divergence."""
    points, weights = hermite(40)
    index = torch.cartesian_prod(*[torch.arange(40)] * 4)
    noise, weight = points[index], weights[index].prod(1)
    trajectory = [x0.expand(len(noise))]
    for t, beta in enumerate(CHAIN.betas):
        trajectory.append((1 - beta).sqrt() * trajectory[-1] + beta.sqrt() * noise[:, t])
    mean = (weight * CHAIN.log_weight(torch.stack(trajectory)).exp()).sum()
    torch.testing.assert_close(mean.log(), log_p(x0), rtol=0, atol=1e-4)
    assert joint_form(x0) < log_p(x0) - 0.05


@pytest.mark.parametrize("gap_of", [gap_of_bits, gap_of_gaussian])
def test_the_gap_closes_as_one_over_the_number_of_steps(gap_of):
    """The quasi-static limit: entropy is produced at a rate that falls with the speed of the process."""
    steps = [64, 128, 256, 512]
    gaps = [gap_of(t) for t in steps]
    slopes = [math.log(b / a) / math.log(2) for a, b in itertools.pairwise(gaps)]
    assert slopes[-1] == pytest.approx(-1, abs=0.05) and gaps[-1] < 0.05


def test_bits_that_are_independent_have_no_gap():
    data = torch.tensor([0.2, 0.9, 0.5, 0.4]).double()
    p = (BITS * data + (1 - BITS) * (1 - data)).prod(1)
    assert gap_of_bits(7, p) < 1e-5  # that of β_T < 1
    pair = joints(p, reciprocal(7))[2]
    torch.testing.assert_close(independent(pair), pair / pair.sum(0), atol=1e-12, rtol=0)


def test_a_step_of_diffusion_is_a_langevin_step_to_second_order():
    """That of size η = β / 2 on N(0, 1): the same noise, and means that differ by β²/8 x."""
    path, x = DifferentiablePath(lambda x: 0 * x.sum(1)), torch.tensor([[-1.5], [0.7]], dtype=torch.float64)
    for beta in (1e-2, 1e-3, 1e-4):
        step = CHAIN.kernel.transition(x, torch.tensor(beta, dtype=torch.float64))
        eta = torch.full((2,), beta / 2, dtype=torch.float64)
        mean = langevin(path, path.state(x), 1.0, eta, temperature=0.0)[0].x
        torch.testing.assert_close((step.mean - mean) / beta**2, -x / 8, rtol=beta, atol=0)
        torch.manual_seed(0)
        noise = langevin(path, path.state(x), 1.0, eta)[0].x - mean
        torch.manual_seed(0)
        torch.testing.assert_close(step.sample() - step.mean, noise, rtol=1e-9, atol=0)


def test_diffusion_is_exactly_reversible_where_langevin_is_not():
    x, y = torch.randn(2, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pi, beta = CHAIN.kernel.equilibrium(x), torch.tensor(0.3, dtype=torch.float64)
    flow = [(pi.log_prob(a) + CHAIN.kernel.transition(a, beta).log_prob(b)).exp() for a, b in ((x, y), (y, x))]
    torch.testing.assert_close(flow[0], flow[1], rtol=0, atol=1e-14)
    euler = torch.distributions.Normal
    there, back = (
        (pi.log_prob(a) + euler((1 - beta / 2) * a, beta.sqrt()).log_prob(b)).exp() for a, b in ((x, y), (y, x))
    )
    assert (there - back).abs().max() > 1e-3


def entropy(p):
    """``-sum p log p`` in nats."""
    return float(-(p * p.clamp(min=1e-300).log()).sum())


@pytest.mark.parametrize("t", [2, 5, 9, 10])
def test_entropy_bounds_hold_the_entropy_of_a_reverse_step(t):
    """Of four bits, whose conditional entropies are sums over pairs of states (eq. 24)."""
    model = Nonequilibrium(
        DataSpec((4,), 2), partial(readout, width=4, steps=10), reciprocal(10), torch.optim.Adam, rate=0.5
    )
    lower, upper = ((PAIRED * bound.double()).sum() for bound in model.entropy_bounds(BITS.to(torch.uint8), t))
    pair = joints(PAIRED, model.betas())[t - 1]
    exact = entropy(pair) - entropy(pair.sum(0))
    assert float(lower) - 1e-5 <= exact <= float(upper) + 1e-5
    assert float(upper - lower) > 1e-3 or t == 10


def test_the_upper_entropy_bound_needs_data_less_spread_out_than_the_equilibrium():
    model = Nonequilibrium(
        DataSpec((4,), 2), partial(readout, width=4, steps=10), reciprocal(10), torch.optim.Adam, rate=0.1
    )
    uniform = torch.full((16,), 1 / 16, dtype=torch.float64)
    _, upper = ((uniform * bound.double()).sum() for bound in model.entropy_bounds(BITS.to(torch.uint8), 5))
    pair = joints(uniform, model.betas(), rate=0.1)[4]
    assert entropy(pair) - entropy(pair.sum(0)) > float(upper) + 0.01
