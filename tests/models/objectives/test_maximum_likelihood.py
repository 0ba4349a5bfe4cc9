"""Maximum likelihood of CNF through its solver, and penalties on its paths."""

import math

import pytest
import torch
from models.cnfs import GAUSSIAN, PLANE, awake, of_field, tiny
from models.flows import batch, train

from genmodels.core import DataSpec, Kind
from genmodels.data.sources import Mixture
from genmodels.models.cnf import MaximumLikelihood


def test_the_gradient_of_the_likelihood_is_that_of_finite_differences():
    model = awake(tiny(PLANE, objective=MaximumLikelihood(4)).double())
    x = torch.randn(5, 2).double()
    parameter = model.network.into.weight

    def loss():
        torch.manual_seed(4)  # the same shift of the steps
        return model.objective(model, x, torch.zeros(5)).total

    (gradient,) = torch.autograd.grad(loss(), parameter)
    for i, j in ((0, 0), (3, 1), (31, 0)):
        values = []
        for step in (-1e-5, 1e-5):
            with torch.no_grad():
                parameter[i, j] += step
                values.append(loss().item())
                parameter[i, j] -= step
        assert gradient[i, j].item() == pytest.approx((values[1] - values[0]) / 2e-5, abs=1e-8)


@pytest.mark.slow
def test_maximum_likelihood_learns_a_gaussian():
    model = tiny(PLANE, objective=MaximumLikelihood(2))
    train(model, lambda: GAUSSIAN.sample((128,)), 80, lr=2e-2)
    x = GAUSSIAN.sample((2000,))
    with torch.no_grad():
        assert -0.01 < (GAUSSIAN.log_prob(x) - model.log_likelihood(x).nats).mean() < 0.05
        assert model.monitor(x).kind is Kind.ESTIMATE


@pytest.mark.slow
def test_few_steps_do_not_teach_a_velocity_that_is_right_for_them_only():
    """Of a grid that stays, two steps would be exploited: the loss falls, and the accurate likelihood with it."""
    torch.manual_seed(0)
    circle = Mixture(train_size=2048, test_size=500)
    data = circle.load(None)
    model = tiny(PLANE, objective=MaximumLikelihood(2))
    train(model, lambda: data.train[torch.randint(2048, (128,))], 100, lr=5e-3)
    with torch.no_grad():
        accurate = -model.log_likelihood(data.test).nats.mean()
        by_few_steps = torch.stack([model.loss(data.test).terms["nats"] for _ in range(8)]).mean()
    assert accurate.item() == pytest.approx(by_few_steps.item(), abs=0.15)
    assert accurate < -circle.log_prob(data.test).mean() + 0.6


def test_networks_with_attention_are_trained_by_maximum_likelihood():
    """Not every kernel of attention has second derivatives."""
    spec = DataSpec((1, 4, 4), 5)
    model, x = awake(tiny(spec, objective=MaximumLikelihood(1))), batch(spec)
    loss = model.loss(x)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert loss.terms["bits_per_dim"].item() == pytest.approx(loss.total.item() / math.log(2), rel=1e-5)


def test_the_loss_is_the_likelihood_per_dimension():
    model = awake(tiny(PLANE, objective=MaximumLikelihood(40)))
    x = 3 * torch.randn(50, 2) + 1
    model.initialize(x)
    loss = model.loss(x)
    torch.testing.assert_close(-model.log_likelihood(x).nats.mean() / 2, loss.total, atol=1e-4, rtol=0)
    torch.testing.assert_close(loss.terms["nats"], 2 * loss.total)


def test_penalties_of_a_linear_flow_are_its_energies():
    """Of ``v = diag(a) x``: ``∫ |v|² dt = Σ a (1 - e^{-2a}) / 2 u²`` of the path that ends in u, and ``Σ a²``."""
    a = torch.tensor([0.6, -0.8])
    x = 3 * torch.randn(50, 2) + 1
    losses = []
    for weights in ((0.0, 0.0), (2.0, 0.0), (0.0, 3.0)):
        model = of_field(lambda t, x: a.to(x) * x, objective=MaximumLikelihood(20, *weights))
        model.initialize(x)
        torch.manual_seed(1)  # of the shift of the steps
        losses.append(model.loss(x))
    u = (x - x.mean(0)) / x.std(0, correction=0)
    kinetic = (a * (1 - torch.exp(-2 * a)) / 2 * u.square()).sum(1).mean() / 2
    jacobian = a.square().sum() / 2
    for loss in losses:
        torch.testing.assert_close(loss.terms["kinetic"], kinetic, atol=1e-5, rtol=0)
        torch.testing.assert_close(loss.terms["jacobian"], jacobian, atol=1e-5, rtol=0)
    torch.testing.assert_close(losses[1].total - losses[0].total, 2 * kinetic, atol=1e-5, rtol=0)
    torch.testing.assert_close(losses[2].total - losses[0].total, 3 * jacobian, atol=1e-5, rtol=0)


@pytest.mark.parametrize("penalty", ["kinetic", "jacobian"])
def test_a_penalty_makes_less_of_what_it_weighs(penalty):
    """Descent in the penalty alone, as of data with the law of the noise, ends at the flow that does nothing."""
    model = awake(tiny(PLANE, objective=MaximumLikelihood(1, **{penalty: 1.0})))
    x = torch.randn(64, 2)
    before = model.loss(x).terms[penalty]
    train(model, lambda: torch.randn(64, 2), 10, lr=2e-3)
    assert 0 < model.loss(x).terms[penalty] < 0.8 * before


def test_negative_penalties_are_refused():
    with pytest.raises(ValueError, match=r"^jacobian"):
        MaximumLikelihood(jacobian=-1.0)
