"""Priors: densities against autograd and quadrature, draws against densities, divergences against their integrals."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from genmodels.networks.mlp import coupling_mlp
from genmodels.transforms import FlowPrior, MixturePrior, StandardNormalPrior

MIXTURE = partial(MixturePrior, components=5, gain=1.0)
FLOW = partial(FlowPrior, network=partial(coupling_mlp, width=8), depth=4, base=StandardNormalPrior)
KINDS = [StandardNormalPrior, MIXTURE, FLOW, partial(FLOW, base=MIXTURE)]
SIDE, CELLS = 9.0, 450


def awake(kind, dims):
    """A prior whose parameters are away from their initial values."""
    torch.manual_seed(0)
    prior = kind(dims)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return prior


def grid():
    """Centers ``[CELLS², 2]`` of the cells of a square, and their area."""
    line = (torch.arange(CELLS) + 0.5) * (2 * SIDE / CELLS) - SIDE
    return torch.cartesian_prod(line, line), (2 * SIDE / CELLS) ** 2


@pytest.mark.parametrize("base", [StandardNormalPrior, MIXTURE])
@pytest.mark.parametrize("dims", [1, 2, 5])
def test_the_density_of_a_flow_is_that_of_its_base_and_jacobian(base, dims):
    prior = awake(partial(FLOW, base=base), dims).double()
    z = torch.randn(3, dims, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda z: prior.flow(z)[0].sum(0), z).transpose(0, 1)
    expected = prior.base.log_prob(prior.flow(z)[0]) + torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(prior.log_prob(z), expected)


@pytest.mark.parametrize("dims", [1, 2, 5])
def test_the_density_of_a_mixture_is_that_of_torch_distributions(dims):
    prior = awake(MIXTURE, dims).double()
    z = torch.randn(3, dims, dtype=torch.double)
    scales, _ = prior.scales()
    parts = MultivariateNormal(prior.means(), precision_matrix=scales.mT @ scales)
    expected = MixtureSameFamily(Categorical(logits=prior.log_weights()), parts).log_prob(z)
    torch.testing.assert_close(prior.log_prob(z), expected)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one_and_draws_have_its_moments(kind):
    prior = awake(kind, 2)
    points, cell = grid()
    mass = prior.log_prob(points).double().exp() * cell
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    drawn = prior.sample(40_000, torch.device("cpu")).double()
    mean = mass @ points.double()
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.square().mean(0), mass @ points.double().square(), atol=0.1, rtol=0.03)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_divergence_is_its_integral_on_average(kind):
    prior = awake(kind, 2)
    mean, log_std = torch.tensor([[0.7, -0.4]]), torch.tensor([[-0.5, 0.2]])
    points, cell = grid()
    log_q = Normal(mean, log_std.exp()).log_prob(points).sum(1).double()
    expected = (log_q.exp() * (log_q - prior.log_prob(points))).sum() * cell
    mean, log_std = mean.expand(20_000, 2), log_std.expand(20_000, 2)
    found = prior.divergence(mean, log_std, mean + log_std.exp() * torch.randn_like(mean)).double()
    torch.testing.assert_close(found.mean(), expected, atol=0.02, rtol=0)


def test_for_the_standard_normal_it_is_the_closed_form():
    mean, log_std = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
    found = StandardNormalPrior(3).divergence(mean, log_std, torch.full((5, 3), torch.nan))
    torch.testing.assert_close(found, expected)


def test_a_flow_starts_as_its_base():
    z, prior = torch.randn(6, 4), FlowPrior(4)
    torch.testing.assert_close(prior.log_prob(z), prior.base.log_prob(z))
    with pytest.raises(ValueError, match="depth"):
        FlowPrior(4, depth=0)


def test_a_mixture_starts_with_the_moments_of_the_standard_normal():
    torch.manual_seed(0)
    drawn = MixturePrior(4, components=1000, spread=0.6).sample(20_000, torch.device("cpu")).detach()
    torch.testing.assert_close(torch.cov(drawn.T), torch.eye(4), atol=0.1, rtol=0)
    for wrong in ({"components": 0}, {"spread": 1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MixturePrior(4, **wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_only_the_networks_of_couplings_are_of_low_precision(kind):
    prior = awake(kind, 5)
    for name, parameter in prior.named_parameters():
        if "network" in name:
            parameter.data.zero_()
    z = 5 * torch.randn(6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        found = prior.log_prob(z)
    torch.testing.assert_close(found, prior.log_prob(z))
