"""The gap between bounds against log-likelihoods in closed form, by quadrature and by enumeration."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from models.ddpms import Beta, Linear, tiny
from models.test_vae import linear_gaussian

from genmodels.core import DataSpec, Kind
from genmodels.diffusion import FixedSmall, linear
from genmodels.errors import UserError
from genmodels.metrics import GapEvaluation, Subject
from genmodels.metrics.gap import sandwich
from genmodels.models.base import NormalizingFlow
from genmodels.transforms import Chain, Flatten, Logit


@torch.no_grad()
def bounds(model, samples, n, truth):
    """Mean distances, and their standard errors, of both bounds from the true log p(x) of simulated examples."""
    torch.manual_seed(0)
    x, latent = model.eval().simulate(n)
    found = sandwich(model.log_weights(x, samples), model.log_weight_at(x, latent))
    true = truth(x).double()
    return {
        name: ((bound - true).mean().item(), ((bound - true).std() / math.sqrt(n)).item())
        for name, bound in found._asdict().items()
    }


def assert_closes(model, truth, loose, n=4000, many=300, close=0.03):
    """Check that both bounds hold, are loose by more than ``loose`` with one sample, and close with many."""
    single, tight = bounds(model, 1, n, truth), bounds(model, many, n, truth)
    for found in (single, tight):
        assert found["lower"][0] < 4 * found["lower"][1] and found["upper"][0] > -4 * found["upper"][1]
    assert single["lower"][0] < -loose and single["upper"][0] > loose
    assert abs(tight["lower"][0]) < close and abs(tight["upper"][0]) < close


def vae_truth(x):
    """x ~ N(0, w wᵀ + s² I) for the linear model with w = (1.5, -0.7) and s = 0.6."""
    w = torch.tensor([1.5, -0.7])
    return torch.distributions.MultivariateNormal(torch.zeros(2), torch.outer(w, w) + 0.36 * torch.eye(2)).log_prob(x)


def test_both_bounds_of_a_linear_vae_close_on_the_truth():
    model, *_ = linear_gaussian(posterior_scale=2.0)
    assert_closes(model, vae_truth, loose=0.2)


def test_with_the_exact_posterior_there_is_no_gap():
    model, *_ = linear_gaussian()
    for name, (distance, _) in bounds(model, 3, 500, vae_truth).items():
        assert abs(distance) < 1e-4, name


def small_flow():
    """Integers 0 .. 2 in two dimensions: the code is the logit, so that the density varies within bins."""
    spec = DataSpec((2,), 3)
    return NormalizingFlow(spec, Chain([Logit(0.05), Flatten((2,))]), partial(torch.optim.Adam, lr=1e-3))


def flow_masses(model, nodes=400):
    """``P(x) [3, 3]`` by quadrature of the density over the bins, divided by the mass on the unit cube."""
    u = (torch.arange(3 * nodes, dtype=torch.float64) + 0.5) / (3 * nodes)
    with torch.no_grad():
        density = model.log_density(torch.cartesian_prod(u, u)).exp().view(3, nodes, 3, nodes)
    return density.sum((1, 3)) / (3 * nodes) ** 2


def test_both_bounds_of_a_dequantized_flow_close_on_the_truth():
    model = small_flow()
    masses = flow_masses(model)
    assert 0.9 < masses.sum() < 1 - 1e-3  # a little mass is outside of the cube
    assert_closes(model, lambda x: masses.log()[x[:, 0].long(), x[:, 1].long()], loose=0.02, many=500, close=0.01)


def test_a_flow_is_simulated_from_its_density_on_the_cube():
    model, n = small_flow(), 50_000
    torch.manual_seed(0)
    with torch.no_grad():
        x, u = model.simulate(n)
    assert torch.equal((u * 3).floor().to(torch.uint8), x) and (u >= 0).all() and (u < 1).all()
    frequency = torch.bincount(3 * x[:, 0].long() + x[:, 1].long(), minlength=9).double() / n
    expected = (flow_masses(model) / flow_masses(model).sum()).flatten()
    assert ((frequency - expected).abs() < 4 * (expected / n).sqrt()).all()


def test_a_flow_beside_its_data_is_refused():
    model = small_flow()
    model.base = SimpleNamespace(sample=lambda n, device: torch.full((n, 2), 100.0))
    with pytest.raises(UserError, match="only 0 lie in the unit cube"):
        model.simulate(1)


def linear_chain(steps, variance):
    network = partial(Linear, steps=steps)
    return tiny(DataSpec((1,)), network=network, schedule=linear(steps), variance=variance, clip_x0=False)


def chain_truth(model):
    """The density of x_0 of a linear reverse chain: its mean is 0, and its variance follows step by step."""
    process, variance = model.process, torch.ones((), dtype=torch.float64)
    one = torch.ones(1, 1)
    for step in range(process.steps, 0, -1):
        t = torch.tensor([step])
        mean, log_variance = model.reverse(one, t, *model.estimate_x0(one, t))
        variance = mean.double().squeeze() ** 2 * variance + log_variance.double().exp().squeeze()
    return lambda x: torch.distributions.Normal(0.0, variance.sqrt()).log_prob(x.double()).squeeze(1)


def test_both_bounds_of_trajectories_close_on_the_truth():
    model = linear_chain(3, FixedSmall())
    with torch.no_grad():
        assert_closes(model, chain_truth(model), loose=0.05, many=1000, close=0.03)


def test_trajectories_of_an_exact_chain_have_no_gap():
    model = linear_chain(50, Beta())
    with torch.no_grad():
        found = bounds(model, 3, 100, chain_truth(model))
    assert all(abs(distance) < 2e-3 for distance, _ in found.values())


def test_integers_are_simulated_from_the_masses_that_the_likelihood_scores():
    """Of x_0 given x_1: the frequency of each level is the mean of its mass, and clipping is that of the likelihood."""
    torch.manual_seed(0)
    model, n = tiny(DataSpec((1,), 5), 2, schedule=torch.tensor([0.3, 0.6])).eval(), 40_000
    with torch.no_grad():
        x, trajectory = model.simulate(n)
        assert trajectory.shape == (n, 2, 1) and model.clip_x0
        x_1, t = trajectory[:, 0], torch.ones(n, dtype=torch.long)
        mean, log_variance = model.reverse(x_1, t, *model.estimate_x0(x_1, t))
        for level in range(5):
            mass = torch.exp(-model.decoder_nll(torch.full((n, 1), level, dtype=torch.uint8), mean, log_variance))
            hits = (x[:, 0] == level).double() - mass
            assert hits.mean().abs() < 4 * hits.std() / math.sqrt(n)


def subject(model):
    return Subject(model.eval(), SimpleNamespace(name="toy"), None, 0, None)


@torch.no_grad()
def test_the_score_is_the_gap_in_nats_with_both_bounds_and_the_number_of_examples():
    model, *_ = linear_gaussian(posterior_scale=2.0)
    (score,) = GapEvaluation(samples=5, simulated=60).measure(subject(model))
    assert (score.name, score.quantity, score.unit, score.n) == ("gap_k5", "gap", "nats", 60)
    assert score.kind is Kind.UPPER_BOUND and score.better is None and score.text.startswith("<= ")
    upper, lower = score.protocol["upper_bound"], score.protocol["lower_bound"]
    assert score.value == pytest.approx(upper["value"] - lower["value"]) and 0 < score.se < upper["se"] + lower["se"]
    assert score.protocol["slack_of_one_draw"]["value"] > 0 and score.protocol["draws"] == 5
    assert GapEvaluation(samples=5, simulated=60).measure(subject(model)) == [score]


@torch.no_grad()
def test_of_integers_the_gap_is_given_in_bits_per_dim_too_and_passes_limit_the_examples():
    model = tiny(DataSpec((1, 4, 4), 5))
    (score,) = GapEvaluation(samples=3, simulated=20, max_passes=5 * 10 * 7 + 1).measure(subject(model))
    assert score.n == 7 and score.beside == {"bits/dim": pytest.approx(score.value / 16 / math.log(2))}
    with pytest.raises(UserError, match="costs 50 network passes"):
        GapEvaluation(samples=3, max_passes=99).measure(subject(model))


def test_models_without_a_slack_are_refused_by_name():
    class GAN:
        pass

    exact = NormalizingFlow(DataSpec((2,)), Chain([Flatten((2,))]), partial(torch.optim.Adam, lr=1e-3))
    assert "its log-likelihood is exact" in GapEvaluation().unsupported_reason(exact, None)
    assert GapEvaluation().unsupported_reason(small_flow(), None) is None
    assert GapEvaluation().unsupported_reason(GAN(), None).startswith("GAN has no bound")
    with pytest.raises(ValueError, match=r"^simulated must"):
        GapEvaluation(simulated=1)
