"""``log p(x) = ELBO + KL(q || p(z|x))`` for every q, and the two ways to write the ELBO (Kingma & Welling 2014).

Expectations are sums: over the three states of a latent, or over the nodes of a Gauss-Hermite rule, which is exact for
the polynomials of low degree that logarithms of Gaussians are.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genmodels.core import DataSpec
from genmodels.core.observation import Gaussian
from genmodels.models.vae import VAE

STATES, SYMBOLS = 3, 5


def laws(seed):
    """A joint law ``p(z, x) [3, 5]`` and ``q(z|x) [3, 5]`` that has nothing to do with it."""
    generator = torch.Generator().manual_seed(seed)
    joint, q = torch.randn(2, STATES, SYMBOLS, dtype=torch.float64, generator=generator).mul(2)
    return torch.softmax(joint.flatten(), 0).view_as(joint), torch.softmax(q, 0)


def joint_form(p, q):
    """``E_q log p(x, z) / q(z|x) [5]``."""
    return (q * (p / q).log()).sum(0)


def split_form(p, q):
    """``E_q log p(x|z) - KL(q(z|x) || p(z)) [5]``."""
    prior = p.sum(1, keepdim=True)
    return (q * (p / prior).log()).sum(0) - (q * (q / prior).log()).sum(0)


def assert_the_gap_is_the_divergence_from_the_posterior(bound, seed):
    p, q = laws(seed)
    posterior = p / p.sum(0)
    gap = (q * (q / posterior).log()).sum(0)
    assert (gap > 0.01).all()
    torch.testing.assert_close(bound(p, q) + gap, p.sum(0).log(), atol=1e-12, rtol=0)
    torch.testing.assert_close(bound(p, posterior), p.sum(0).log(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bound", [joint_form, split_form])
def test_likelihood_is_bound_and_divergence_for_any_q(bound, seed):
    assert_the_gap_is_the_divergence_from_the_posterior(bound, seed)


def test_it_is_not_with_the_divergence_from_another_prior():
    def uniform_prior(p, q):
        prior = p.sum(1, keepdim=True)
        return (q * (p / prior).log()).sum(0) - (q * (q * STATES).log()).sum(0)

    with pytest.raises(AssertionError):
        assert_the_gap_is_the_divergence_from_the_posterior(uniform_prior, 0)


class Affine(nn.Module):
    """``x -> (W x + b, constant)`` in float64."""

    def __init__(self, weight, bias, constant):
        super().__init__()
        self.weight, self.bias, self.constant = weight.double(), bias, constant

    def forward(self, x):
        location = x.double() @ self.weight.T + self.bias
        return torch.cat([location, torch.full_like(location, self.constant)], 1)


WEIGHT, NOISE = torch.tensor([[1.5], [-0.7]], dtype=torch.float64), 0.6
X = torch.tensor([[0.0, 0.0], [1.3, -2.0], [-0.4, 0.8]])


def linear_vae():
    """``z ~ N(0, 1)``, ``x|z ~ N(W z, 0.6²)``, and a posterior that is wrong in gain, mean and standard deviation."""
    encoder = Affine(torch.tensor([[0.2, -0.4]]), 0.3, math.log(0.7))
    decoder = Affine(WEIGHT, 0.0, math.log(NOISE))
    return VAE(DataSpec((2,)), 1, lambda *_: encoder, lambda *_: decoder, Gaussian, torch.optim.Adam)


def exact_posterior(x):
    precision = 1 + float(WEIGHT.square().sum()) / NOISE**2
    return Normal(x.double() @ WEIGHT / (NOISE**2 * precision), precision**-0.5)


def likelihood(x):
    covariance = WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(2, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(x.double())


def expectation(model, x, of):
    """``E_q of(z) [B]`` over ``z ~ q(z|x)`` of one dimension."""
    nodes, weights = (torch.from_numpy(t) for t in np.polynomial.hermite_e.hermegauss(4))
    mean, log_std = (t.double() for t in model.posterior(x))
    return sum(w * of(mean + log_std.exp() * node) for node, w in zip(nodes, weights / weights.sum(), strict=True))


def bounds_of(model, x):
    """The ELBO ``[B]`` by the model's conditional density and divergence, and by its importance weights."""
    mean, log_std = (t.double() for t in model.posterior(x))
    rate = model.prior.divergence(mean, log_std, mean)
    split = expectation(model, x, lambda z: model.conditional_log_prob(x, z)) - rate
    return split, expectation(model, x, lambda z: model.log_weight_at(x, z))


def assert_both_bounds_miss_by(model, gap):
    for bound in bounds_of(model, X):
        torch.testing.assert_close(bound + gap, likelihood(X), atol=1e-6, rtol=0)


def test_the_bounds_of_a_linear_vae_miss_by_the_divergence_in_closed_form():
    model = linear_vae()
    mean, log_std = (t.double() for t in model.posterior(X))
    gap = kl_divergence(Normal(mean, log_std.exp()), exact_posterior(X)).sum(1)
    assert (gap > 0.1).all()
    assert_both_bounds_miss_by(model, gap)
    with pytest.raises(AssertionError):
        assert_both_bounds_miss_by(model, kl_divergence(exact_posterior(X), Normal(mean, log_std.exp())).sum(1))
