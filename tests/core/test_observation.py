"""Observation models against torch.distributions, enumeration and sampling."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import AffineTransform, Normal, SigmoidTransform, TransformedDistribution, Uniform

from genmodels.core import DataSpec, UserError
from genmodels.core.observation import (
    Bernoulli,
    DiscretisedLogistic,
    Gaussian,
    discretised_gaussian,
    discretised_logistic,
    standard_normal_log_prob,
)

LEVELS = 17
MEANS = torch.tensor([-3.0, -1.0, -0.2, 0.0, 0.7, 1.0, 2.5])
LOG_SCALES = torch.tensor([-7.0, -4.0, -1.0, 0.0, 2.0])


@pytest.mark.parametrize("law", [discretised_logistic, discretised_gaussian])
def test_masses_of_all_levels_sum_to_one(law):
    x = torch.arange(LEVELS)[:, None, None]
    log_mass = law(x, MEANS[:, None].double(), LOG_SCALES.double(), LEVELS)
    torch.testing.assert_close(log_mass.exp().sum(0), torch.ones(7, 5).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("law", [discretised_logistic, discretised_gaussian])
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
    [(discretised_logistic, lambda m, s: logistic(m, s)), (discretised_gaussian, lambda m, s: Normal(m, s))],
)
def test_inner_masses_are_differences_of_the_distribution_function(law, density):
    x = torch.arange(1, LEVELS - 1)
    mean, log_scale = torch.full((LEVELS - 2,), 0.13).double(), torch.full((LEVELS - 2,), -0.9).double()
    centre, half = 2 * x.double() / (LEVELS - 1) - 1, 1 / (LEVELS - 1)
    cdf = density(mean, log_scale.exp()).cdf
    expected = (cdf(centre + half) - cdf(centre - half)).log()
    torch.testing.assert_close(law(x, mean, log_scale, LEVELS).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "levels"), [(Bernoulli, 2), (DiscretisedLogistic, 5)])
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


@pytest.mark.parametrize(("kind", "levels"), [(Bernoulli, 256), (DiscretisedLogistic, None), (Gaussian, 256)])
def test_laws_refuse_data_they_are_not_for(kind, levels):
    with pytest.raises(UserError):
        kind(DataSpec((2,), levels))
