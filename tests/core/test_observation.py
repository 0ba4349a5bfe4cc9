"""Observation models against torch.distributions, enumeration and sampling."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import AffineTransform, Normal, SigmoidTransform, TransformedDistribution, Uniform

from genmodels.core import DataSpec
from genmodels.core.observation import (
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    SphericalGaussian,
    SphericalNoise,
    discretized_gaussian,
    discretized_logistic,
    standard_normal_log_prob,
)
from genmodels.core.quantization import from_symmetric

LEVELS = 17
MEANS = torch.tensor([-3.0, -1.0, -0.2, 0.0, 0.7, 1.0, 2.5])
LOG_SCALES = torch.tensor([-7.0, -4.0, -1.0, 0.0, 2.0])


@pytest.mark.parametrize("law", [discretized_logistic, discretized_gaussian])
def test_masses_of_all_levels_sum_to_one(law):
    x = torch.arange(LEVELS)[:, None, None]
    log_mass = law(x, MEANS[:, None].double(), LOG_SCALES.double(), LEVELS)
    torch.testing.assert_close(log_mass.exp().sum(0), torch.ones(7, 5).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("law", [discretized_logistic, discretized_gaussian])
def test_logarithm_and_gradient_stay_finite_far_in_the_tail(law):
    mean = torch.full((LEVELS,), 5.0, requires_grad=True)
    log_scale = torch.full((LEVELS,), -5.0, requires_grad=True)
    log_mass = law(torch.arange(LEVELS), mean, log_scale, LEVELS)
    log_mass.sum().backward()
    assert torch.isfinite(log_mass).all()
    assert torch.isfinite(mean.grad).all()
    assert torch.isfinite(log_scale.grad).all()


def logistic(mean, scale):
    base = Uniform(torch.zeros_like(mean), torch.ones_like(mean))
    return TransformedDistribution(base, [SigmoidTransform().inv, AffineTransform(mean, scale)])


@pytest.mark.parametrize(
    ("law", "density"),
    [(discretized_logistic, lambda m, s: logistic(m, s)), (discretized_gaussian, lambda m, s: Normal(m, s))],
)
def test_inner_masses_are_differences_of_the_distribution_function(law, density):
    x = torch.arange(1, LEVELS - 1)
    mean, log_scale = torch.full((LEVELS - 2,), 0.13).double(), torch.full((LEVELS - 2,), -0.9).double()
    center, half = 2 * x.double() / (LEVELS - 1) - 1, 1 / (LEVELS - 1)
    cdf = density(mean, log_scale.exp()).cdf
    expected = (cdf(center + half) - cdf(center - half)).log()
    torch.testing.assert_close(law(x, mean, log_scale, LEVELS).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "levels"), [(Bernoulli, 2), (DiscretizedLogistic, 5)])
def test_draws_come_as_often_as_their_probability(kind, levels):
    torch.manual_seed(0)
    spec = DataSpec((1,), levels)
    observation = kind(spec)
    params = torch.randn(1, *observation.param_shape) * 0.5
    draws = observation.sample(params.expand(20_000, -1))
    spec.check(draws)
    frequency = torch.bincount(draws[:, 0].long(), minlength=levels) / 20_000
    points = torch.arange(levels, dtype=torch.uint8)[:, None]
    mass = observation.log_prob(points, params.expand(levels, -1)).exp()
    torch.testing.assert_close(frequency, mass, atol=0.015, rtol=0)


def test_gaussian_is_that_of_torch():
    spec = DataSpec((3,))
    x, params = torch.randn(4, 3), torch.randn(4, 6)
    expected = Normal(params[:, :3], params[:, 3:].exp()).log_prob(x).sum(1)
    torch.testing.assert_close(Gaussian(spec).log_prob(x, params), expected)
    torch.testing.assert_close(standard_normal_log_prob(x), Normal(0.0, 1.0).log_prob(x).sum(1))


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("sigma", [0.005, 0.1, 2.0])
def test_gradient_of_the_discretized_gaussian_is_finite_wherever_a_location_may_lie(levels, sigma):
    def gradient(dtype):
        mean = torch.linspace(-1, 1, 401, dtype=dtype).expand(levels, -1).clone().requires_grad_()
        log_mass = discretized_gaussian(
            torch.arange(levels)[:, None], mean, torch.tensor(sigma).to(dtype).log(), levels
        )
        return torch.autograd.grad(log_mass.sum(), mean)[0]

    torch.testing.assert_close(gradient(torch.float32).double(), gradient(torch.float64), atol=1e-2, rtol=0.1)


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_spherical_gaussian_is_a_law_of_the_levels_with_a_sigma_for_each_example(levels):
    spec = DataSpec((1,), levels)
    location = torch.tensor([-1.2, -0.3, 0.4, 1.0]).repeat_interleave(levels)[:, None]
    sigma = torch.tensor([0.02, 0.3, 0.9, 5.0]).repeat_interleave(levels)
    points = torch.arange(levels, dtype=torch.uint8).repeat(4)[:, None]
    log_mass = SphericalGaussian(spec, sigma).log_prob(points, location)
    torch.testing.assert_close(log_mass.exp().reshape(4, levels).sum(1), torch.ones(4), atol=1e-4, rtol=0)
    alone = SphericalGaussian(spec, 0.3).log_prob(points[:levels], location[levels : 2 * levels])
    torch.testing.assert_close(alone, log_mass[levels : 2 * levels])


@pytest.mark.parametrize("sigma", [0.4, torch.full((20_000,), 0.4)])
def test_spherical_gaussian_draws_levels_as_often_as_their_probability(sigma):
    torch.manual_seed(0)
    spec = DataSpec((2,), 5)
    observation, location = SphericalGaussian(spec, sigma), torch.tensor([[-0.9, 0.2]])
    draws = observation.sample(location.expand(20_000, -1))
    spec.check(draws)
    frequency = torch.bincount(draws[:, 0].long() * 5 + draws[:, 1], minlength=25) / 20_000
    points = torch.cartesian_prod(torch.arange(5), torch.arange(5)).to(torch.uint8)
    mass = SphericalGaussian(spec, 0.4).log_prob(points, location.expand(25, -1)).exp()
    torch.testing.assert_close(frequency, mass, atol=0.015, rtol=0)


def test_spherical_gaussian_of_reals_is_that_of_torch():
    torch.manual_seed(0)
    x, location, sigma = torch.randn(4, 2, 1, 3), torch.randn(4, 2, 1, 3), torch.tensor([0.1, 0.5, 1.0, 3.0])
    expected = Normal(location, sigma[:, None, None, None]).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(SphericalGaussian(DataSpec((2, 1, 3)), sigma).log_prob(x, location), expected)
    torch.testing.assert_close(SphericalGaussian(DataSpec((2, 1, 3)), 0.5).log_prob(x, location)[1], expected[1])
    wide = location[:1].expand(10_000, -1, -1, -1)
    drawn = SphericalGaussian(DataSpec((2, 1, 3)), 0.5).sample(wide)
    torch.testing.assert_close(drawn.std(0), torch.full((2, 1, 3), 0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.mean(0), location[0], atol=0.03, rtol=0)


@pytest.mark.parametrize("levels", [5, None])
def test_spherical_noise_is_that_law_with_one_sigma_that_may_learn(levels):
    spec = DataSpec((2,), levels)
    x = torch.randint(5, (6, 2)).to(torch.uint8) if levels else torch.randn(6, 2)
    location = 0.3 * torch.randn(6, 2)
    learned, fixed = SphericalNoise(spec, 0.4), SphericalNoise(spec, 0.4, learned=False)
    assert learned.param_shape == (2,) and not list(fixed.parameters()) and "log_sigma" in fixed.state_dict()
    expected = SphericalGaussian(spec, 0.4).log_prob(x, location)
    for law in (learned, fixed):
        torch.testing.assert_close(law.log_prob(x, location), expected)
        assert torch.equal(law.mean(location), from_symmetric(law.location(location), spec))
    (gradient,) = torch.autograd.grad(learned.log_prob(x, location).sum(), learned.log_sigma)
    up, down = (SphericalGaussian(spec, 0.4 * factor).log_prob(x, location).sum() for factor in (1.01, 1 / 1.01))
    assert gradient.item() == pytest.approx((up - down).item() / 0.0199, rel=0.01)
    spread = (learned.sample(location.repeat(4000, 1)).float() - learned.sample(location.repeat(4000, 1)).float()).var()
    width = 0.4 * ((levels or 3) - 1) / 2  # in levels
    assert spread.item() == pytest.approx(2 * width**2, rel=0.25)


def test_spherical_gaussian_refuses_a_sigma_that_is_not_positive():
    with pytest.raises(ValueError, match=r"^sigma must be a number above 0"):
        SphericalGaussian(DataSpec((2,)), 0.0)
    with pytest.raises(ValueError, match=r"^sigma must"):
        SphericalNoise(DataSpec((2,)), 0.0)


@pytest.mark.parametrize(("kind", "levels"), [(Bernoulli, 2), (DiscretizedLogistic, 17), (Gaussian, None)])
def test_mean_is_the_location_in_data_space(kind, levels):
    spec = DataSpec((3,), levels)
    observation = kind(spec)
    params = torch.randn(50, *observation.param_shape)
    assert torch.equal(observation.mean(params), from_symmetric(observation.location(params), spec))


@pytest.mark.parametrize(("kind", "levels"), [(Bernoulli, 256), (DiscretizedLogistic, None), (Gaussian, 256)])
def test_laws_refuse_data_they_are_not_for(kind, levels):
    with pytest.raises(ValueError, match=r"^spec must"):
        kind(DataSpec((2,), levels))
