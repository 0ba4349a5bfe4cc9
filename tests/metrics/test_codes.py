"""Rate, mutual information and the gap of the aggregated posterior against closed forms and definitions."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import HasGaussianPosterior
from genmodels.core.observation import standard_normal_log_prob
from genmodels.metrics import CodesEvaluation, Subject


class Coded(HasGaussianPosterior):
    """``q(z|x) = N(scale x, std²)`` with the prior N(0, I)."""

    spec, device = DataSpec((2,)), torch.device("cpu")

    def __init__(self, scale, std):
        self.scale, self.std, self.latent_dim = torch.tensor(scale), torch.tensor(std), 2

    def posterior(self, x):
        return x * self.scale, self.std.log().expand(len(x), 2)

    def draw_latent(self, n):
        return torch.randn(n, 2)

    def latent_log_prob(self, z):
        return standard_normal_log_prob(z)

    def location(self, z):
        return z


def scores(model, x, **options):
    data = SimpleNamespace(split={"test": x}.__getitem__, name="toy", eval_batch_size=700)
    found = CodesEvaluation(**options).measure(Subject(model, data, None, 0, None))
    return {score.name: score for score in found}


def normal(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def test_of_gaussians_the_parts_are_those_of_the_closed_form():
    """With ``x ~ N(0, I)`` the aggregated posterior is ``N(0, scale² + std²)``, known by ½ log(1 + scale²/std²)."""
    scale, std = (1.2, 0.4), (0.5, 0.8)
    found = scores(Coded(scale, std), normal(4000))
    total = [math.sqrt(a**2 + b**2) for a, b in zip(scale, std, strict=True)]
    information = sum(math.log(t / b) for t, b in zip(total, std, strict=True))
    gap = sum(kl_divergence(Normal(0.0, t), Normal(0.0, 1.0)).item() for t in total)
    assert information > 1 and gap > 0.06
    assert found["mutual_information"].value == pytest.approx(information, abs=0.05)
    assert found["aggregated_kl"].value == pytest.approx(gap, abs=0.03)
    assert all(found[name].kind is Kind.ESTIMATE and found[name].unit == "nats" for name in list(found)[:3])


def test_the_parts_add_up_to_the_mean_divergence_from_the_prior():
    model, x = Coded((2.0, 0.1), (0.3, 0.9)), normal(1500)
    found = scores(model, x)
    assert found["rate"].value == pytest.approx(found["mutual_information"].value + found["aggregated_kl"].value)
    mean, log_std = model.posterior(x)
    closed = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1).mean().item()
    assert found["rate"].value == pytest.approx(closed, abs=4 * found["rate"].se)


def test_codes_far_apart_say_which_example_they_are_of():
    x = 100.0 * torch.arange(50)[:, None].expand(50, 2)
    found = scores(Coded((1.0, 1.0), (1.0, 1.0)), x)
    assert found["mutual_information"].value == pytest.approx(math.log(50)) and found["rate"].n == 50


def test_a_posterior_that_is_the_prior_says_nothing_and_has_no_active_unit():
    found = scores(Coded((0.0, 0.0), (1.0, 1.0)), normal(500))
    for name in ("rate", "mutual_information", "aggregated_kl"):
        assert found[name].value == pytest.approx(0, abs=1e-6)
    assert found["active_units"].value == 0 and found["active_units"].beside == {"of all": 2}


def test_units_are_active_whose_mean_varies():
    found = scores(Coded((0.05, 0.2), (1.0, 1.0)), normal(500), max_examples=400)
    assert found["active_units"].value == 1 and found["active_units"].n == 400
    assert found["active_units"].protocol["of"] == 500


def test_models_without_a_posterior_are_refused():
    class AE:
        pass

    assert CodesEvaluation().unsupported_reason(AE(), None) == (
        "AE has no approximate posterior q(z given x) whose codes could be measured."
    )
    assert CodesEvaluation().unsupported_reason(Coded((1.0, 1.0), (1.0, 1.0)), None) is None
    with pytest.raises(ValueError, match=r"^max_examples must"):
        CodesEvaluation(max_examples=1)
