"""VAE: the bound's parts against closed forms."""

from __future__ import annotations

import math
from functools import partial
from statistics import fmean

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import HasObservation
from genmodels.core.observation import Gaussian, observation_for
from genmodels.core.quantization import from_symmetric
from genmodels.metrics.decoder_annealing import AnnealingSettings, DecoderAnnealing
from genmodels.metrics.decoders import own_decoder
from genmodels.metrics.gap import sandwich
from genmodels.models.vae import VAE
from genmodels.networks.mlp import coupling_mlp
from genmodels.transforms import FlowPrior, MixturePrior

TINY = [
    "model.latent_dim=3", "model.encoder.width=8", "model.decoder.width=8", "model.encoder.slope=null",
    "model.decoder.slope=null",  # steep units lose the latent variables in a brief training without warm-up
]  # fmt: skip


def nats_in_pixels(model, x):
    """The bound with p(x|z) taken on the scale of the integers themselves: a difference of two logistic CDFs."""
    half = (model.spec.levels - 1) / 2

    def log_prob(x, params):
        mean, log_scale = (t.double() for t in params.chunk(2, dim=1))
        mean, scale = (mean + 1) * half, log_scale.exp() * half
        upper, lower = (x + 0.5 - mean) / scale, (x - 0.5 - mean) / scale
        below = torch.where(x == 0, 0, torch.sigmoid(lower))
        above = torch.where(x == model.spec.levels - 1, 1, torch.sigmoid(upper))
        return (above - below).log().flatten(1).sum(1)

    model.observation.log_prob = log_prob
    return model.log_likelihood(x).nats


class Affine(nn.Module):
    """``x -> (W x + b, constant log-scale)``."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, log_scale: float) -> None:
        super().__init__()
        self.weight, self.bias, self.log_scale = weight, bias, log_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        location = x @ self.weight.T + self.bias
        return torch.cat([location, torch.full_like(location, self.log_scale)], dim=1)


def linear_gaussian(posterior_scale: float = 1.0) -> tuple[VAE, torch.Tensor, torch.Tensor]:
    """z ~ N(0, 1), x|z ~ N(w z, s² I) in two dimensions, with the exact posterior if ``posterior_scale`` is 1."""
    w, s = torch.tensor([[1.5], [-0.7]]), 0.6
    precision = 1 + (w.square().sum() / s**2).item()
    encoder = Affine(w.T / (s**2 * precision), torch.zeros(1), math.log(posterior_scale / math.sqrt(precision)))
    decoder = Affine(w, torch.zeros(2), math.log(s))
    model = VAE(DataSpec((2,)), 1, lambda *_: encoder, lambda *_: decoder, Gaussian, torch.optim.Adam)
    covariance = w @ w.T + s**2 * torch.eye(2)
    x = torch.randn(64, 1) @ w.T + s * torch.randn(64, 2)
    log_p = torch.distributions.MultivariateNormal(torch.zeros(2), covariance).log_prob(x)
    return model, x, log_p


def test_with_the_exact_posterior_every_importance_weight_is_the_likelihood():
    model, x, log_p = linear_gaussian()
    torch.testing.assert_close(model.log_likelihood(x, samples=3).nats, log_p, atol=1e-4, rtol=1e-4)


def test_bounds_tighten_towards_the_closed_form():
    torch.manual_seed(0)
    model, x, log_p = linear_gaussian(posterior_scale=1.6)
    x, log_p = x.repeat(64, 1), log_p.repeat(64)
    gaps = [(log_p - model.log_likelihood(x, samples=k).nats).mean().item() for k in (1, 5, 50)]
    assert gaps[0] > gaps[1] > gaps[2] > -1e-3
    assert gaps[0] > 0.1
    assert gaps[2] < 0.01
    assert model.log_likelihood(x[:2]).kind is Kind.LOWER_BOUND


def test_elbo_with_beta_is_reported_with_beta_one():
    model, x, _ = linear_gaussian(posterior_scale=1.6)
    torch.manual_seed(0)
    one = model.log_likelihood(x).nats
    model.beta = 4.0
    torch.manual_seed(0)
    assert torch.equal(model.log_likelihood(x).nats, one)


@torch.no_grad()
def test_more_draws_leave_the_mean_of_the_loss_and_divide_its_variance():
    """The variance that draws of z cause falls as 1/L, for a loss of the same examples."""
    torch.manual_seed(0)
    model, x, _ = linear_gaussian(posterior_scale=1.6)
    found = {}
    for draws in (1, 4, 16):
        model.loss_draws = draws
        found[draws] = torch.stack([model.loss(x).total for _ in range(3000)]).double()
    error = (found[1].var() / 3000).sqrt().item()
    for draws in (4, 16):
        assert found[draws].mean().item() == pytest.approx(found[1].mean().item(), abs=5 * error)
        assert found[1].var() / found[draws].var() == pytest.approx(draws, rel=0.12)


def test_a_draw_is_paired_with_its_own_example():
    model, x, log_p = linear_gaussian()
    rate, distortion = model.rate_and_distortion(x, 400)
    assert rate.shape == distortion.shape == (400 * 64,)
    torch.testing.assert_close(-(rate + distortion).view(400, 64).mean(0), log_p, atol=0.25, rtol=0)


@pytest.mark.parametrize("levels", [2, 17, None])
def test_location_is_what_decode_rounds_and_the_law_around_it_is_the_models_own(levels):
    torch.manual_seed(0)
    spec = DataSpec((5,), levels)
    model = VAE(
        spec,
        3,
        lambda *_: nn.Identity(),
        lambda i, o: nn.Linear(i[0], o[0]),
        observation_for,
        optimizer=torch.optim.Adam,
    )
    assert isinstance(model, HasObservation)
    z = torch.randn(64, 3, requires_grad=True)
    location = model.location(z)
    assert location.shape == (64, 5)
    torch.testing.assert_close(from_symmetric(location, spec), model.decode(z))
    x = model.conditional_sample(z).detach()
    spec.check(x)
    log_p = model.conditional_log_prob(x, z)
    torch.testing.assert_close(log_p, model.observation.log_prob(x, model.decoder(z)))
    for output in (location.sum(), log_p.sum()):
        (gradient,) = torch.autograd.grad(output, z)
        assert (gradient != 0).any(1).all()


def test_elbo_comes_with_its_rate_and_distortion():
    model, x, log_p = linear_gaussian()
    bound = model.log_likelihood(x)
    mean, log_std = model.posterior(x)
    rate = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(bound.terms["rate"], rate)
    torch.testing.assert_close(bound.nats, -(bound.terms["rate"] + bound.terms["distortion"]))
    assert abs((bound.nats - log_p).mean()) < 0.3


def test_importance_samples_of_all_images_go_through_the_decoder_together(monkeypatch):
    model, x, log_p = linear_gaussian(posterior_scale=1.6)
    sizes = []
    decoder = model.decoder
    monkeypatch.setattr("genmodels.models.vae.DECODED_AT_A_TIME", 150)
    object.__setattr__(model, "decoder", lambda z: sizes.append(len(z)) or decoder(z))
    torch.manual_seed(0)
    bound = model.log_likelihood(x, samples=500).nats
    assert sizes == [128] * 250  # two samples of 64 images at a time
    torch.testing.assert_close(bound, log_p, atol=0.2, rtol=0)


MIXTURE = partial(MixturePrior, components=5, gain=1.0)
PRIORS = [MIXTURE, partial(FlowPrior, network=partial(coupling_mlp, width=8), depth=4, base=MIXTURE)]


def with_learned_prior(prior) -> VAE:
    """A latent plane with a prior away from its start, x|z ~ N(W z + b, I) in three dimensions."""
    torch.manual_seed(3)
    weight, bias = torch.randn(3, 2), torch.ones(3)
    inverse = torch.linalg.pinv(weight)
    encoder, decoder = Affine(inverse, -inverse @ bias, 0.3), Affine(weight, bias, 0.0)
    factories = (lambda *_: encoder, lambda *_: decoder, Gaussian, torch.optim.Adam)
    model = VAE(DataSpec((3,)), 2, *factories, prior=prior)
    with torch.no_grad():
        for parameter in model.prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def integrated(model, x):
    """``log ∫ p(x|z) p(z) dz [B]`` on the plane by the midpoint rule."""
    line = (torch.arange(300) + 0.5) * 0.06 - 9.0
    z = torch.cartesian_prod(line, line)
    params, log_prior = model.decoder(z), model.prior.log_prob(z)
    log_p = [model.observation.log_prob(one.expand(len(z), -1), params) + log_prior for one in x]
    return torch.stack(log_p).double().logsumexp(1) + 2 * math.log(0.06)


@torch.no_grad()
@pytest.mark.parametrize("prior", PRIORS)
def test_with_a_learned_prior_bounds_from_both_sides_agree_with_the_integral(prior):
    model = with_learned_prior(prior)
    x, z = model.simulate(16)
    exact = integrated(model, x)
    log_weights = model.log_weights(x, 4000)
    bounds = sandwich(log_weights, model.log_weight_at(x, z))
    torch.testing.assert_close(bounds.lower, exact, atol=0.1, rtol=0)
    torch.testing.assert_close(bounds.upper, exact, atol=0.1, rtol=0)
    one = torch.stack([model.log_likelihood(x).nats for _ in range(2000)]).mean(0)
    torch.testing.assert_close(one, log_weights.mean(0), atol=0.4, rtol=0)
    assert (one < exact).all()


@torch.no_grad()
@pytest.mark.parametrize("prior", PRIORS)
def test_with_a_learned_prior_samples_are_decoded_from_its_draws(prior):
    model = with_learned_prior(prior)
    x, z = model.simulate(20_000)
    assert not torch.allclose(z.var(0), torch.ones(2), atol=0.05)
    model.sample_mean = True
    means = model.sample(20_000)
    torch.testing.assert_close(means.mean(0), x.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(means.T) + torch.eye(3), torch.cov(x.T), atol=0.15, rtol=0.1)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("prior", PRIORS)
def test_annealing_starts_from_a_learned_prior(prior):
    model = with_learned_prior(prior)
    x, z = model.simulate(32)
    run = DecoderAnnealing(own_decoder(model), x, AnnealingSettings(60, 40, 4), (0,), torch.device("cpu"), "toy")
    exact = integrated(model, x).mean().item()
    for bound in (run.forward()["lower"], run.reverse(z)["upper"]):
        assert fmean(bound) == pytest.approx(exact, abs=0.05)
