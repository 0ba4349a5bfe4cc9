"""Autoencoder: its laws of codes, and its scores, against closed forms and principal components."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from conformance.test_laboratory import settings
from omegaconf import OmegaConf
from torch import nn
from torch.distributions import MultivariateNormal

from genmodels import load
from genmodels.builder import build
from genmodels.core import DataSpec
from genmodels.core.reconstruction import CrossEntropy, SquaredError
from genmodels.data import DataModule
from genmodels.experiment import run
from genmodels.launch import compose
from genmodels.metrics import (
    AISEvaluation,
    FrechetEvaluation,
    InDomainClassifier,
    LikelihoodEvaluation,
    SampleSets,
    Subject,
)
from genmodels.models.ae import AE
from genmodels.models.base import BaseModel
from genmodels.transforms import GaussianCodes, MixtureCodes, StandardNormalCodes

TINY = ["model.latent_dim=1", "model.encoder.width=8", "model.decoder.width=8"]
SPEC = DataSpec((3,))


def linear(codes=GaussianCodes, dims=3, k=2):
    """An autoencoder of fixed affine maps on reals."""
    torch.manual_seed(0)
    affine = lambda i, o: nn.Linear(i[0], o[0])  # noqa: E731
    return AE(DataSpec((dims,)), k, affine, affine, torch.optim.Adam, codes=codes)


def test_squared_error_is_the_mean_over_dimensions_of_integers_on_minus_one_to_one():
    spec = DataSpec((2,), 5)
    x, y = torch.tensor([[0, 4]], dtype=torch.uint8), torch.tensor([[0.5, 0.5]])
    assert SquaredError(spec).error(x, y).item() == pytest.approx((1.5**2 + 0.5**2) / 2)
    assert torch.equal(SquaredError(spec).location(y), y)


def test_cross_entropy_is_of_bernoulli_variables_and_rounds_at_even_odds():
    spec = DataSpec((2,), 2)
    x, logits = torch.tensor([[0, 1]], dtype=torch.uint8), torch.tensor([[math.log(3), math.log(3)]])
    assert CrossEntropy(spec).error(x, logits).item() == pytest.approx(-(math.log(0.25) + math.log(0.75)) / 2)
    torch.testing.assert_close(CrossEntropy(spec).location(logits), torch.tensor([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="2 levels"):
        CrossEntropy(DataSpec((2,), 3))


def codes_of(seed=0, n=4000):
    """Two clusters of codes, each with correlated dimensions."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 2, generator=generator) @ torch.tensor([[1.0, 0.6], [0.0, 0.3]])
    return z + torch.where(torch.arange(n) % 4 == 0, 6.0, -2.0)[:, None]


def test_gaussian_codes_have_the_moments_of_the_codes_and_standard_normal_ones_have_not():
    z = codes_of()
    for law, mean, covariance in (
        (GaussianCodes(2), z.mean(0), torch.cov(z.T)),
        (StandardNormalCodes(2), torch.zeros(2), torch.eye(2)),
    ):
        law.fit(z)
        torch.manual_seed(1)
        drawn = law.sample(100_000)
        torch.testing.assert_close(drawn.mean(0), mean, atol=0.05, rtol=0)
        torch.testing.assert_close(torch.cov(drawn.T), covariance, atol=0.1, rtol=0.02)


def test_a_mixture_of_codes_has_their_clusters():
    law = MixtureCodes(2, components=2)
    law.fit(codes_of())
    torch.manual_seed(1)
    drawn = law.sample(100_000)
    for of in (drawn, codes_of(2)):
        near = of[:, 0] > 2
        assert near.float().mean() == pytest.approx(0.25, abs=0.01)
        torch.testing.assert_close(of[near].mean(0), torch.tensor([6.0, 6.0]), atol=0.1, rtol=0)
        torch.testing.assert_close(torch.cov(of[near].T), torch.tensor([[1.0, 0.6], [0.6, 0.45]]), atol=0.1, rtol=0)


def test_codes_that_are_few_or_span_less_are_no_failure_and_those_that_are_not_finite_change_nothing():
    model = linear(MixtureCodes)
    model.fit_codes(torch.ones(3, 3))
    torch.testing.assert_close(model.codes.sample(5), model.encode(torch.ones(5, 3)), atol=0.02, rtol=0)
    before = model.codes.means.clone()
    model.fit_codes(torch.full((3, 3), math.nan))
    assert torch.equal(model.codes.means, before)


def subject(model, data, folder):
    return Subject(model.eval(), data, SampleSets(model, 0), 0, folder)


@pytest.mark.slow
@torch.no_grad()
def test_annealing_a_linear_autoencoder_agrees_with_its_density(tmp_path):
    """``x = W z + b + σ ε`` with ``z ~ N(m, S)`` has the law ``N(W m + b, W S Wᵀ + σ² I)``."""
    model, sigma = linear(), 0.4
    model.codes.fit(codes_of())
    x = model.location(model.draw_latent(25)) + sigma * torch.randn(25, 3)
    data = SimpleNamespace(split={"test": x}.__getitem__, root=tmp_path)
    evaluation = AISEvaluation(images=25, temperatures=600, chains=40, simulated=25, sigma=sigma)
    (score,) = evaluation.measure(subject(model, data, tmp_path))
    z, decoder = codes_of(), model.decoder
    covariance = decoder.weight @ torch.cov(z.T, correction=0) @ decoder.weight.T + sigma**2 * torch.eye(3)
    exact = MultivariateNormal(decoder(z.mean(0)), covariance).log_prob(x).mean().item()
    assert score.name == "ais_gaussian_nats" and score.protocol["gap_se"] < 0.05
    assert abs(score.protocol["gap"]) < 4 * score.protocol["gap_se"]
    assert score.value == pytest.approx(exact, abs=0.04)  # four standard deviations over seeds


def test_what_has_no_likelihood_and_no_gaussian_codes_is_refused_in_a_sentence():
    refusal = LikelihoodEvaluation().unsupported_reason(linear(), None)
    assert refusal == "AE has no likelihood: its density is implicit in its samples."
    assert AISEvaluation().unsupported_reason(linear(), None) is None
    assert AISEvaluation().unsupported_reason(linear(StandardNormalCodes), None) is None
    refusal = AISEvaluation().unsupported_reason(linear(MixtureCodes), None)
    assert refusal.startswith("AE has no latent z that could be annealed: its codes follow a mixture")
    assert "model/codes=gaussian" in refusal and refusal.count(".") == 1


def test_depth_zero_is_affine():
    zero = ["model.encoder.depth=0", "model.decoder.depth=0"]
    config = compose(["model=ae", "model/encoder=mlp", "model/decoder=mlp", *zero])
    model, x = build(config.model, "model", BaseModel), torch.rand(3, 1, 8, 8)
    network = nn.Sequential(model.encoder, model.decoder)
    torch.testing.assert_close(network(x[:1] + x[1:2] - x[2:]), network(x[:1]) + network(x[1:2]) - network(x[2:]))


def test_the_law_is_fitted_to_codes_of_the_weights_that_are_scored(tmp_path):
    """Not to those of the raw weights, nor to those of an earlier validation."""
    run(settings("ae", "gray images", tmp_path, "budget.max_batches=40", "validations=2", "model.optimizer.lr=0.03"))
    for checkpoint in ("best.ckpt", "last.ckpt"):
        found, raw = (load(tmp_path / "run", weights, checkpoint) for weights in ("ema", "raw"))
        x = build(compose_of(tmp_path).data, "data", DataModule).split("train")
        z, other = found.encode(x), raw.encode(x)
        torch.testing.assert_close(found.codes.mean, z.mean(0))
        torch.testing.assert_close(found.codes.factor.abs().squeeze(), z.std(correction=0))
        assert not torch.allclose(other.mean(0), z.mean(0))


def compose_of(folder):
    """The config of the run in a folder."""
    return OmegaConf.load(folder / "run" / "config.yaml")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The record, model and data of a brief run on digits."""
    folder = tmp_path_factory.mktemp("digits")
    words = ["model.latent_dim=4", "budget=batches:300", "validations=1", "callbacks.average.decay=0.98"]
    place = [f"run_dir={folder / 'run'}", "trainer.accelerator=cpu"]
    config = compose(["model=ae", "metrics=[reconstruction]", *words, *place])
    run(config)
    return load(folder / "run"), build(config.data, "data", DataModule), folder


@pytest.mark.slow
def test_on_digits_it_beats_as_many_principal_components(digits):
    score = json.loads((digits[2] / "run" / "run.json").read_text())["metrics"]["reconstruction"]
    assert score["protocol"]["code_dims"] == 4 and score["n"] == 360
    assert score["value"] + 4 * score["se"] < score["protocol"]["pca"]


def test_a_mixture_of_codes_samples_better_than_a_gaussian_and_that_than_a_standard_normal(digits):
    model, data, folder = digits
    state, distances = model.codes.state_dict(), {}
    for law in (MixtureCodes, GaussianCodes, StandardNormalCodes):
        model.codes = law(4)
        model.codes.load_state_dict(state)
        evaluation = FrechetEvaluation(InDomainClassifier, repeats=1)
        with torch.no_grad():
            (score,) = evaluation.measure(subject(model, data, folder))
        distances[law] = score.value
    assert 1.5 * distances[MixtureCodes] < distances[GaussianCodes]
    assert 1.5 * distances[GaussianCodes] < distances[StandardNormalCodes], distances
