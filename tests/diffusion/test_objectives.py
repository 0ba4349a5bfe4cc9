"""What training minimizes, against the bound and against the errors at single times."""

import pytest
import torch
from models.ddpms import tiny

from genmodels.core import DataSpec
from genmodels.diffusion import Learned, Simple, Variational


def test_hybrid_loss_trains_the_variance_alone_by_the_bound():
    torch.manual_seed(0)
    spec = DataSpec((3,), 17)
    x = torch.randint(0, 17, (64, 3), dtype=torch.uint8)
    gradients = []
    for weight in (0.0, 10.0):
        torch.manual_seed(1)
        model = tiny(spec, variance=Learned(), objective=Simple(weight))
        torch.manual_seed(2)
        model.loss(x).total.backward()
        gradients.append(model.network.out[-1].bias.grad.chunk(2))
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert (gradients[0][1] == 0).all() and (gradients[1][1] != 0).all()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_law_of_times_weighs_the_errors_and_leaves_the_bound_unbiased(share):
    torch.manual_seed(0)
    spec = DataSpec((3,), 17)
    model = tiny(spec, variance=Learned(), objective=Simple(cosine_share=share))
    x = torch.randint(0, 17, (20_000, 3), dtype=torch.uint8)
    loss = model.loss(x)
    errors = torch.stack([squared_error(model, x, t) for t in range(1, 11)])
    probability = (1 - share) * model.process.uniform + share * model.process.cosine
    torch.testing.assert_close(loss.terms["mse"], (errors * probability[1:]).sum(), rtol=0.03, atol=0)
    model.clip_x0 = False  # as in training
    expected = model.log_likelihood(x[:2000]).curves["nats"].sum(1).mean() / 3
    torch.testing.assert_close(loss.terms["bound"].detach(), expected, rtol=0.05, atol=0)


def squared_error(model, x, t):
    """The mean squared error ``[]`` of the prediction at time t."""
    times = torch.full((len(x),), t)
    noised = model.noised(x, times)
    output, _ = model.predict(noised.x_t, times)
    target = model.prediction.target(noised.x0, noised.eps, model.process.at(times, noised.x0))
    return (output - target).square().mean().detach()


def test_variational_loss_is_the_bound_per_dimension():
    torch.manual_seed(0)
    spec = DataSpec((3,), 17)
    model, x = tiny(spec, objective=Variational()), torch.randint(0, 17, (20_000, 3), dtype=torch.uint8)
    model.clip_x0 = False  # as in training
    expected = model.log_likelihood(x[:2000]).curves["nats"].sum(1).mean() / 3
    torch.testing.assert_close(model.loss(x).total.detach(), expected, rtol=0.03, atol=0)
