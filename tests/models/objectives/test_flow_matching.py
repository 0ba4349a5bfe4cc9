"""Flow matching of CNF: velocities in closed form, and pairs of noise and data."""

import itertools

import pytest
import torch
from models.cnfs import COVARIANCE, GAUSSIAN, MEAN, PLANE, gaussian_velocity, of_field, tiny
from models.flows import train

from genmodels.models.cnf import FlowMatching, nearest
from genmodels.ode import RK4


def two_points_velocity(t, x):
    """``(E[u | x_t] - x) / (1 - t)`` for u = ±1 with equal probability: ``E[u | x] = tanh(t x / (1 - t)²)``."""
    return (torch.tanh(t * x / (1 - t) ** 2) - x) / (1 - t)


def two_points(n):
    return torch.randint(2, (n, 1)).float() * 2 - 1


LAWS = {
    "gaussian": (gaussian_velocity, lambda n: GAUSSIAN.sample((n,)), 2),
    "two points": (two_points_velocity, two_points, 1),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_velocity_in_closed_form_is_where_the_loss_is_least(law):
    """The loss of ``v + a g`` has its minimum at a = 0 for any g, and its curvature there is 2 E[g²]."""
    v, draw, dims = LAWS[law]
    u = draw(200_000)
    for g in (lambda t, x: x, lambda t, x: t * torch.ones_like(x), lambda t, x: torch.sin(3 * x + 4 * t)):
        losses = []
        for a in (-0.1, 0.0, 0.1):
            torch.manual_seed(2)
            model = of_field(lambda t, x, a=a, g=g: v(t, x) + a * g(t, x), dims)
            losses.append(model.objective(model, u, torch.zeros(len(u))).total.item())
        assert abs(losses[2] - losses[0]) / 0.2 < 0.02  # the slope
        assert min(losses[0], losses[2]) > losses[1]


def test_the_least_loss_of_a_gaussian_is_the_variance_given_the_state():
    """``Cov(u - z | x_t) = S + I - G Σ G`` with the gain G; its trace over D, the mean over t."""
    t = (torch.arange(1000).double()[:, None, None] + 0.5) / 1000
    identity, s = torch.eye(2).double(), COVARIANCE.double()
    sigma, cross = (1 - t) ** 2 * identity + t**2 * s, t * s - (1 - t) * identity
    left = s + identity - cross @ torch.linalg.solve(sigma, cross)
    expected = left.diagonal(dim1=1, dim2=2).sum(1).mean() / 2
    model, u = of_field(gaussian_velocity), GAUSSIAN.sample((400_000,))
    found = model.objective(model, u, torch.zeros(len(u)))
    assert found.total.item() == pytest.approx(expected.item(), rel=0.01)
    assert found.terms["mse"].item() == found.total.item()


def test_the_velocity_in_closed_form_has_the_density_of_the_gaussian():
    model, x = of_field(gaussian_velocity, sampler=RK4(25)), GAUSSIAN.sample((100,))
    torch.testing.assert_close(model.log_likelihood(x).nats, GAUSSIAN.log_prob(x), atol=1e-3, rtol=0)
    torch.testing.assert_close(model.sample(50_000).T.cov(), COVARIANCE, atol=0.05, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("transport", [False, True])
def test_flow_matching_learns_a_gaussian(transport):
    model = tiny(PLANE, objective=FlowMatching(transport), sampler=RK4(10))
    train(model, lambda: GAUSSIAN.sample((256,)), 300, lr=1e-2)
    x = GAUSSIAN.sample((2000,))
    with torch.no_grad():
        divergence = (GAUSSIAN.log_prob(x) - model.log_likelihood(x).nats).mean()
        assert -0.01 < divergence < 0.05
        sample = model.sample(20_000)
    torch.testing.assert_close(sample.mean(0), MEAN, atol=0.15, rtol=0)
    torch.testing.assert_close(sample.T.cov(), COVARIANCE, atol=0.25, rtol=0)


def test_pairs_have_the_least_cost_of_all():
    u, z = torch.randn(2, 6, 1, 2, 2)
    order = nearest(u, z)

    def cost(order):
        return (u - z[torch.tensor(order)]).square().sum().item()

    assert cost(order.tolist()) == pytest.approx(min(cost(each) for each in itertools.permutations(range(6))), rel=1e-6)
    assert sorted(order.tolist()) == list(range(6))


def test_optimal_pairs_lower_the_loss_of_the_best_velocity():
    """On pairs at the least cost the data is nearly a function of the noise, and a constant velocity suffices."""
    u = 5.0 + torch.randn(500, 2)  # a translation carries the noise to it
    losses = []
    for transport in (False, True):
        model = of_field(lambda t, x: 5.0 * torch.ones_like(x), objective=FlowMatching(transport))
        losses.append(model.objective(model, u, torch.zeros(len(u))).total.item())
    assert losses[0] == pytest.approx(2, abs=0.3) and losses[1] < 0.1
