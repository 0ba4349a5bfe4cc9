"""Probabilities of nine points sum to one, bounds on them to at most one, and samples have these frequencies.

The same check must fail on models with deliberate errors.
"""

from __future__ import annotations

import itertools
import math
from functools import cache

import pytest
import torch
from conformance.kinds import BY_SOLVING, CONFIGURED, KINDS, VARIANTS, examples, model_on, trainer_of

from genmodels.core import Kind
from genmodels.core.abilities import HasLikelihood

SPEC = KINDS["integer pairs"]
POINTS = torch.tensor(list(itertools.product(range(3), repeat=2)), dtype=torch.uint8)
DRAWS = 400  # likelihood estimates averaged per point
SAMPLES = 20_000


@cache
def trained(name, *overrides):
    """A model trained briefly on a skewed distribution over the nine points, which no test changes for the others."""
    torch.manual_seed(0)
    model, x = model_on(name, SPEC, *overrides), examples(SPEC, 512)
    model.initialize(x)
    step = trainer_of(model, lr=3e-3)
    for _ in range(150):
        step(x[torch.randint(len(x), (128,))])
    return model.eval()


class Trained:
    """Models with a likelihood by name; a test of one that is not there is skipped."""

    def __getitem__(self, name):
        if name not in CONFIGURED or not isinstance(model_on(name, SPEC), HasLikelihood):
            pytest.skip(f"{name} is not among the models with a likelihood that are tested")
        return trained(name)


@pytest.fixture
def models():
    """Every model with a likelihood, trained once, when it is asked for."""
    return Trained()


@torch.no_grad()
def masses(model, draws=DRAWS):
    """``exp(E[nats]) [9]`` of the points, their relative standard errors ``[9]``, and the kind."""
    torch.manual_seed(1)
    likelihood = model.log_likelihood(POINTS.repeat(draws, 1))
    nats = likelihood.nats.view(draws, 9).double()
    return nats.mean(0).exp(), nats.std(0) / math.sqrt(draws), likelihood.kind


@torch.no_grad()
def frequencies(model):
    torch.manual_seed(2)
    sample = model.sample(SAMPLES).long()
    return torch.bincount(sample[:, 0] * 3 + sample[:, 1], minlength=9).double() / SAMPLES


def assert_is_a_distribution(model):
    """Check that the masses are consistent with frequencies of samples, and not negligible after brief training."""
    mass, error, kind = masses(model)
    noise = 4 * (mass * error).square().sum().sqrt().item() + 1e-6
    total = mass.sum().item()
    assert 0.3 < total <= 1 + noise, f"masses sum to {total}"
    if kind is Kind.EXACT:
        assert total >= 1 - noise, f"masses sum to {total}"
    frequency = frequencies(model)
    frequency_error = (frequency * (1 - frequency) / SAMPLES).sqrt() + 1 / SAMPLES
    slack = 4 * (frequency_error + mass * error)
    assert (mass <= frequency + slack).all(), f"masses {mass} above frequencies {frequency}"


@pytest.mark.parametrize("name", CONFIGURED)
def test_sums_to_one(name, models):
    assert_is_a_distribution(models[name])


WITHIN_THE_CUBE = ["vae", *(name for name in VARIANTS if name != BY_SOLVING), "realnvp"]  # have no mass beyond


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHIN_THE_CUBE)
def test_importance_samples_close_the_gap(name, models):
    """With many importance samples the bound approaches the frequency."""
    model = models[name]
    torch.manual_seed(3)
    with torch.no_grad():
        mass = model.log_likelihood(POINTS, samples=1000).nats.double().exp()
    frequency = frequencies(model)
    assert mass.sum().item() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(mass, frequency, atol=0.02, rtol=0.1)


def test_a_forgotten_kl_is_caught(models, monkeypatch):
    assert models["vae"]
    vae = trained("vae", "model.decoder.depth=3")  # after as short a training, one that uses its latent variables
    monkeypatch.setattr(vae.prior, "divergence", lambda mean, log_std, z: torch.zeros(len(mean)))
    with pytest.raises(AssertionError):
        assert_is_a_distribution(vae)


def test_a_forgotten_levels_term_is_caught(models, monkeypatch):
    original = models["realnvp"].dequantization.forward

    def without_levels(x):
        u, log_det = original(x)
        return u, torch.zeros_like(log_det)

    monkeypatch.setattr(models["realnvp"].dequantization, "forward", without_levels)
    with pytest.raises(AssertionError):
        assert_is_a_distribution(models["realnvp"])


def test_a_flipped_log_determinant_is_caught(models, monkeypatch):
    flow = models["realnvp"].flow
    original = flow.encode
    monkeypatch.setattr(flow, "forward", lambda x: (lambda z, log_det: (z, -log_det))(*original(x)))
    monkeypatch.setattr(flow, "encode", flow.forward)
    with pytest.raises(AssertionError):
        assert_is_a_distribution(models["realnvp"])
