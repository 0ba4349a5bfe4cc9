"""The probability flow of DDPM, by its predictions and its networks."""

from functools import partial

import pytest
import torch
from models.ddpms import POINTS, shaken, tiny
from torch import nn

from genmodels.callbacks.plane import Window, density
from genmodels.core import DataSpec
from genmodels.core.abilities import HasProbabilityFlow
from genmodels.diffusion import Coefficients, Data, Learned, Mean, Noise, Velocity, linear
from genmodels.metrics import ProbabilityFlowEvaluation


class BestForNormal(nn.Module):
    """What is best for x_0 ~ N(0, 0.5²) at real times: each estimate is a multiple of x_t that depends on t alone."""

    def __init__(self, in_shape, out_shape, steps, prediction):
        super().__init__()
        alpha_bar = torch.cumprod(1 - linear(steps), 0)
        self.log_ratio = 0.5 * (torch.log1p(-alpha_bar) - alpha_bar.log())
        self.prediction = prediction

    def forward(self, x_t, t):
        before = (t.long() - 1).clamp(max=len(self.log_ratio) - 2)
        log_ratio = torch.lerp(self.log_ratio[before], self.log_ratio[before + 1], t.double() - 1 - before)[:, None]
        signal, sigma = torch.sigmoid(-2 * log_ratio).sqrt(), torch.sigmoid(2 * log_ratio).sqrt()
        variance = 0.25 * signal.square() + sigma.square()
        x0, eps = 0.25 * signal / variance * x_t, sigma / variance * x_t
        return self.prediction.target(x0, eps, Coefficients(signal, sigma))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("prediction", [Noise(), Data(), Velocity()], ids=lambda p: type(p).__name__)
def test_flow_of_every_prediction_has_the_density_of_its_samples(prediction, dtype):
    network = partial(BestForNormal, steps=100, prediction=prediction)
    model, y = tiny(DataSpec((1,)), 100, network=network, prediction=prediction), POINTS.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):  # which the flow does without
        nats, evaluations = model.flow_log_density(y, tolerance=1e-5)
    assert isinstance(model, HasProbabilityFlow) and nats.dtype is dtype and 20 < evaluations < 1000
    signal, sigma = model.process.sqrt_alpha_bar[1].double(), model.process.sigma[1].double()
    true = torch.distributions.Normal(0.0, (0.25 * signal**2 + sigma**2).sqrt()).log_prob(y.double()).squeeze(1)
    torch.testing.assert_close(nats.double(), true, atol=1e-3, rtol=0)


def test_flow_through_a_network_by_probes_is_unbiased():
    torch.manual_seed(0)
    model, y = shaken(tiny(DataSpec((2,)), variance=Learned())), torch.randn(3, 2)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]])[:, None].expand(2, 3, 2)  # all of them, but for a common sign
    exact, _ = model.flow_log_density(y, tolerance=1e-5)
    estimate, _ = model.flow_log_density(y, tolerance=1e-5, probes=signs)
    assert exact.shape == (3,) and not exact.requires_grad
    torch.testing.assert_close(estimate, exact, atol=1e-3, rtol=0)


def test_flow_of_images_is_repeatable():
    torch.manual_seed(0)
    spec = DataSpec((1, 4, 4), 17)
    model, y = shaken(tiny(spec)), torch.rand(2, 1, 4, 4) * 2 - 1
    probes = torch.randn(1, *y.shape).sign()
    first, second = (model.flow_log_density(y, tolerance=1e-2, probes=probes)[0] for _ in range(2))
    assert first.isfinite().all() and torch.equal(first, second)


def test_a_model_of_means_has_no_flow_and_is_drawn_by_its_bound():
    torch.manual_seed(0)
    model = tiny(DataSpec((2,)), prediction=Mean())
    reason = ProbabilityFlowEvaluation().unsupported_reason(model, None)
    assert reason.count(".") == 1 and "between" in reason
    assert ProbabilityFlowEvaluation().unsupported_reason(tiny(DataSpec((2,))), None) is None
    _, words = density(model, Window(0.0, 0.0, 1.0), pixels=4)
    assert "importance samples" in words
