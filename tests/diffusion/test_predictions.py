"""Each prediction is another name for the same pair (x_0, ε)."""

import pytest
import torch

from genmodels.diffusion import (
    Coefficients,
    Data,
    DiffusionProcess,
    FixedLarge,
    FixedSmall,
    Learned,
    Mean,
    Noise,
    Velocity,
    extract,
    linear,
)
from genmodels.diffusion.gaussian import kl_divergence, log_prob


@pytest.mark.parametrize("prediction", [Noise(), Data(), Velocity(), Mean()], ids=lambda p: type(p).__name__)
def test_conversions_invert_the_target(prediction):
    torch.manual_seed(0)
    process = DiffusionProcess(linear(50))
    t = torch.arange(1, 51)
    x0, eps = torch.randn(50, 2, 3, 3), torch.randn(50, 2, 3, 3)
    x_t = process.diffuse(x0, t, eps)
    at = process.at(t, x_t)
    target = prediction.target(x0, eps, at)
    torch.testing.assert_close(prediction.x0(x_t, target, at), x0, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(prediction.eps(x_t, target, at), eps, atol=1e-3, rtol=1e-3)


def test_the_mean_is_that_of_the_posterior_and_belongs_to_a_step():
    torch.manual_seed(0)
    process, t = DiffusionProcess(linear(50)), torch.arange(1, 51)
    x0, eps = torch.randn(50, 3), torch.randn(50, 3)
    x_t = process.diffuse(x0, t, eps)
    torch.testing.assert_close(Mean().target(x0, eps, process.at(t, x_t)), process.posterior_mean(x0, x_t, t))
    with pytest.raises(ValueError, match="between"):
        Mean().x0(x_t, x0, Coefficients(torch.tensor(0.8), torch.tensor(0.6)))


def test_learned_variance_lies_between_the_fixed_ones():
    torch.manual_seed(0)
    process, t, x_t = DiffusionProcess(linear(20)), torch.arange(1, 21), torch.randn(20, 3)
    small, large = FixedSmall().log(process, x_t, t, None), extract(process.log_beta, t, x_t)
    for scale in (1.0, 100.0):
        prediction, v = Learned().split(scale * torch.randn(20, 6))
        learned = Learned().log(process, x_t, t, v)
        assert prediction.shape == learned.shape == x_t.shape
        assert (learned >= small - 1e-6).all() and (learned <= large + 1e-6).all()
    ends = Learned().log(process, x_t, t, torch.tensor([[-100.0, 0.0, 100.0]]).expand(20, 3))
    torch.testing.assert_close(ends, torch.cat([small, (small + large) / 2, large], 1))


def test_large_variance_is_beta_but_at_the_first_time():
    """There both fixed variances are β̃_2, as in the published code's likelihood."""
    process, t, x_t = DiffusionProcess(linear(20)), torch.arange(1, 21), torch.zeros(20, 3)
    small, large = (fixed.log(process, x_t, t, None) for fixed in (FixedSmall(), FixedLarge()))
    torch.testing.assert_close(large[1:].exp().squeeze(1), process.beta[2:])
    assert small[0] == small[1] == large[0] < large[1]
    assert (large[1:] > small[1:]).all()


def test_gaussian_formulas():
    torch.manual_seed(0)
    mean, log_variance, other_mean, other_log_variance, x = torch.randn(5, 100)
    p = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    q = torch.distributions.Normal(other_mean, (0.5 * other_log_variance).exp())
    divergence = kl_divergence(mean, log_variance, other_mean, other_log_variance)
    torch.testing.assert_close(divergence, torch.distributions.kl_divergence(p, q))
    torch.testing.assert_close(log_prob(x, mean, log_variance), p.log_prob(x))
