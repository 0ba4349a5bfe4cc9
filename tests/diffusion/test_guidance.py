"""Completions and posteriors of diffusion models against conditional laws in closed form."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from genmodels.core import DataSpec
from genmodels.core.candidates import chosen
from genmodels.data.sources import Gaussian, Mixture
from genmodels.diffusion import Ancestral, Data, FixedSmall, Simple, log_snr, reciprocal
from genmodels.diffusion.guidance import guided
from genmodels.models.ddpm import DDPM
from genmodels.models.nonequilibrium import Nonequilibrium

STEPS = 60
ADAM = partial(torch.optim.Adam, lr=1e-3)
SOURCE = Gaussian(mean=[0.0, 0.0], covariance=[[1.0, 0.6], [0.6, 0.5]])
COVARIANCE = torch.tensor(SOURCE.covariance, dtype=torch.float64)


class BestLinear(nn.Module):
    """The perturbation by which reverse steps are the best independent Gaussians with linear means, for Gaussian data.

    Attributes:
        covariance: that of the x_0 of the reverse chain, in closed form.
    """

    def __init__(self, in_shape, out_shape, betas):
        super().__init__()
        before, eye, steps = COVARIANCE, torch.eye(2, dtype=torch.float64), []
        for beta in betas:
            after = (1 - beta) * before + beta * eye
            slope = (1 - beta).sqrt() * torch.linalg.solve(after, before).T
            rest = before - (1 - beta).sqrt() * slope @ before
            steps.append((beta, slope, rest.diagonal()))
            before = after
        self.steps = steps
        self.covariance = eye
        for t in range(len(steps), 0, -1):
            beta, slope, variance = steps[t - 1]
            if t == 1:  # the kernel itself
                slope, variance = (1 - beta).sqrt() * eye, beta.expand(2)
            self.covariance = slope @ self.covariance @ slope.T + torch.diag(variance)

    def forward(self, x_t, t):
        (step,) = t.unique().tolist()
        beta, slope, variance = self.steps[step - 1]
        mean = x_t.double() @ slope.T
        z = (mean - (1 - beta).sqrt() * x_t) / beta.sqrt()
        scale = (torch.logit(variance) - torch.logit(beta)).expand_as(z)
        return torch.cat([z, scale], 1).float()


@pytest.fixture(scope="module")
def gaussian():
    betas = reciprocal(STEPS)
    betas[0] = 0.002
    return Nonequilibrium(DataSpec((2,)), partial(BestLinear, betas=betas), betas, ADAM).eval()


def check(sample, mean, variance):
    """Check mean and variance of draws ``[N]`` against those of a normal law."""
    n = len(sample)
    assert abs(float(sample.mean()) - mean) < 4.5 * math.sqrt(variance / n) + 0.02
    assert float(sample.var()) == pytest.approx(variance, rel=4.5 * math.sqrt(2 / n) + 0.03)


def test_the_chain_has_nearly_the_law_of_the_data(gaussian):
    torch.testing.assert_close(gaussian.network.covariance, COVARIANCE, atol=0.03, rtol=0)
    torch.manual_seed(0)
    torch.testing.assert_close(gaussian.sample(20_000).T.cov().double(), gaussian.network.covariance, atol=0.03, rtol=0)


def test_weights_average_to_the_probability_of_what_is_known_and_to_that_of_an_observation(gaussian):
    torch.manual_seed(0)
    s, x = gaussian.network.covariance, torch.full((40_000, 2), 1.5)
    _, log_w = guided(gaussian.chain(), x, torch.tensor([True, False]).expand_as(x))
    truth = torch.distributions.Normal(0.0, float(s[0, 0].sqrt())).log_prob(torch.tensor(1.5))
    found = torch.logsumexp(log_w, 0) - math.log(len(x))
    assert float(found - truth) == pytest.approx(0, abs=4.5 * float((log_w - truth).exp().std()) / 200)
    y, noise = torch.tensor([1.0, -1.0]), 0.7
    _, log_w = guided(gaussian.chain(), x, torch.zeros_like(x).bool(), lambda x: -0.5 * ((x - y) / noise) ** 2)
    total = s + noise**2 * torch.eye(2, dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(torch.zeros(2).double(), total).log_prob(y.double())
    truth = truth + 2 * math.log(noise * math.sqrt(2 * math.pi))  # r has the height one
    found = torch.logsumexp(log_w.double(), 0) - math.log(len(x))
    assert float(found - truth) == pytest.approx(0, abs=4.5 * float((log_w - truth).exp().std()) / 200)


@pytest.mark.parametrize("value", [-1.0, 2.0])
def test_completions_have_the_conditional_law_of_a_gaussian(gaussian, value):
    torch.manual_seed(0)
    s = gaussian.network.covariance
    mean, variance = float(s[0, 1] / s[0, 0]) * value, float(s[1, 1] - s[0, 1] ** 2 / s[0, 0])
    x = torch.full((1500, 2), value)
    known = torch.tensor([True, False]).expand(1500, 2)
    check(gaussian.complete(x, known, 64)[:, 1], mean, variance)
    alone = gaussian.complete(x, known, 1)[:, 1]
    assert abs(float(alone.mean()) - mean) > 0.1 * abs(mean)  # the replacement method


def test_a_posterior_is_the_product_of_two_gaussians(gaussian):
    """Of an observation y = x + σ_d ξ with as much noise as signal."""
    torch.manual_seed(0)
    y, noise = torch.tensor([1.0, -1.0]), 0.7
    s = gaussian.network.covariance
    gain = s @ torch.linalg.inv(s + noise**2 * torch.eye(2, dtype=torch.float64))
    mean, covariance = gain @ y.double(), s - gain @ s
    sample = gaussian.posterior_sample(1500, lambda x: -0.5 * ((x - y) / noise) ** 2, 64)
    for i in range(2):
        check(sample[:, i], float(mean[i]), float(covariance[i, i]))


def test_a_posterior_of_bits_multiplies_their_odds():
    """``p̃ = c d / (c d + (1 - c)(1 - d))`` for a chain of independent bits in equilibrium."""
    torch.manual_seed(0)

    class Zero(nn.Module):
        def __init__(self, in_shape, out_shape):
            super().__init__()

        def forward(self, x, t):
            return torch.zeros_like(x)

    model = Nonequilibrium(DataSpec((3,), 2), Zero, reciprocal(10), ADAM, rate=0.2).eval()
    odds = torch.tensor([0.0, 1.5, -1.0])
    found = model.posterior_sample(4000, lambda x: odds * x, 16).double().mean(0)
    expected = torch.sigmoid(torch.logit(torch.tensor(0.2)) + odds).double()
    assert ((found - expected).abs() < 4.5 * (expected * (1 - expected) / 4000).sqrt() + 0.005).all()


class OfMixture(nn.Module):
    """``E[x_0 | x_t]`` for data of eight Gaussians on a circle."""

    def __init__(self, in_shape, out_shape, alpha_bar, source):
        super().__init__()
        angles = 2 * math.pi * torch.arange(source.components) / source.components
        self.centers = source.radius * torch.stack([angles.cos(), angles.sin()], 1)
        self.alpha_bar, self.scale = alpha_bar, source.scale

    def forward(self, x_t, t):
        a = self.alpha_bar[t - 1].float()[:, None]
        variance = a * self.scale**2 + 1 - a
        away = x_t[:, None] - a.sqrt()[..., None] * self.centers  # [B, 8, 2]
        weight = torch.softmax(-0.5 * away.square().sum(2) / variance, 1)
        each = self.centers + (a.sqrt() * self.scale**2 / variance)[..., None] * away
        return (weight[..., None] * each).sum(1)


def distance(found, source):
    """Largest difference of the cumulative frequencies of x_2 ``[N]`` from those of ``source`` given x_1 = 0.3."""
    line = torch.linspace(-4, 4, 4001)
    density = source.log_prob(torch.stack([torch.full_like(line, 0.3), line], 1)).exp()
    cdf = density.cumsum(0) / density.sum()
    empirical = torch.arange(1, len(found) + 1) / len(found)
    return float((cdf[torch.searchsorted(line, found.sort().values).clamp(max=4000)] - empirical).abs().max())


def test_completions_of_a_mixture_are_in_the_right_modes():
    """Given x_1 = 0.3 two of eight Gaussians on a circle matter, above and below; DDPM with the best x̂_0."""
    torch.manual_seed(0)
    source, betas = Mixture(components=8, radius=2.0, scale=0.2), log_snr(100)
    network = partial(OfMixture, alpha_bar=torch.cumprod(1 - betas, 0), source=source)
    model = DDPM(DataSpec((2,)), network, betas, Data(), Simple(), FixedSmall(), Ancestral(), ADAM).eval()
    x, known = torch.full((500, 2), 0.3), torch.tensor([True, False]).expand(500, 2)
    found, alone = (model.complete(x, known, candidates)[:, 1] for candidates in (32, 1))
    assert distance(found, source) < 1.95 / math.sqrt(500)  # Kolmogorov and Smirnov at 0.1 %
    assert distance(alone, source) > 1.95 / math.sqrt(500)  # the replacement method


def test_a_candidate_is_chosen_in_proportion_to_its_weight():
    torch.manual_seed(0)
    log_w = torch.tensor([0.0, 1.0, -50.0, 3.0])
    counts = torch.bincount(chosen(log_w.repeat(20_000), 4) % 4, minlength=4) / 20_000
    torch.testing.assert_close(counts, log_w.softmax(0), atol=0.02, rtol=0)
