"""The AIS evaluation: the observation model used, the gap, the choice of sigma, and resuming after a kill."""

import json
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import DecodesLatent, HasLikelihood, HasObservation
from genmodels.core.observation import standard_normal_log_prob
from genmodels.metrics import AISEvaluation, SampleSets, Subject
from genmodels.metrics.resumable import ResumableResults

SPEC = DataSpec((4,))
WEIGHT = torch.tensor([[1.0, 0.2], [-0.5, 0.8], [0.3, -1.0], [0.7, 0.7]])
NOISE = 0.4


class Generator(torch.nn.Module, DecodesLatent):
    """x = W z without an observation model, like the generator of a GAN."""

    spec, device, latent_dim = SPEC, torch.device("cpu"), 2

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", WEIGHT.clone())
        self.calls = 0

    def draw_latent(self, n):
        return torch.randn(n, 2)

    def latent_log_prob(self, z):
        return standard_normal_log_prob(z)

    def location(self, z):
        self.calls += 1
        return z @ self.weight.T


class Decoder(Generator, HasObservation):
    """x = W z + noise, with the observation model of a VAE."""

    def conditional_log_prob(self, x, z):
        return torch.distributions.Normal(self.location(z), NOISE).log_prob(x).sum(1)

    def conditional_sample(self, z):
        return self.location(z) + NOISE * torch.randn(len(z), 4)


class Wider(Decoder):
    """With more noise, and the same weights."""

    def conditional_log_prob(self, x, z):
        return torch.distributions.Normal(self.location(z), 2 * NOISE).log_prob(x).sum(1)


def draw(n, seed):
    generator = torch.Generator().manual_seed(seed)
    z, noise = torch.randn(n, 2, generator=generator), torch.randn(n, 4, generator=generator)
    return z @ WEIGHT.T + NOISE * noise


def on(folder):
    splits = {"train": draw(50, 0), "val": draw(40, 1), "test": draw(30, 2)}
    return SimpleNamespace(split=splits.__getitem__, root=folder, name="toy", spec=SPEC)


@pytest.fixture
def data(tmp_path):
    return on(tmp_path)


def truth(x, noise=NOISE):
    covariance = WEIGHT @ WEIGHT.T + noise**2 * torch.eye(4)
    return torch.distributions.MultivariateNormal(torch.zeros(4), covariance).log_prob(x)


@pytest.fixture(scope="module")
def careful(tmp_path_factory):
    """The score of the decoder by as many temperatures and chains as the tests of accuracy need."""
    return measure(Decoder(), on(tmp_path_factory.mktemp("careful")))


def measure(model, data, **options):
    options = {"images": 12, "temperatures": 200, "chains": 50, "simulated": 10, "batch_size": 5} | options
    subject = Subject(model, data, SampleSets(model, 0), 0, data.root / "evaluation")
    (score,) = AISEvaluation(**options).measure(subject)
    return score


@pytest.mark.slow
def test_a_linear_gaussian_decoder_is_scored_within_a_twentieth_of_a_nat(careful, data):
    score = careful
    chosen = data.split("test")[torch.linspace(0, 29, 12).round().long()]
    assert score.value == pytest.approx(truth(chosen).mean().item(), abs=0.05)
    assert score.se == pytest.approx(truth(chosen).std().item() / math.sqrt(12), abs=0.05)
    assert (score.name, score.unit, score.kind, score.n) == ("ais_nats", "nats", Kind.LOWER_BOUND, 12)
    assert abs(score.protocol["gap"]) < 0.1 and "gap" in score.remark and "of 30" in score.remark
    assert 0.4 < score.protocol["acceptance"] < 0.9


@pytest.mark.slow
def test_a_generator_is_scored_under_noise_whose_width_validation_data_choose(data):
    score = measure(Generator(), data)
    assert score.name == "ais_gaussian_nats" and score.protocol["observation"] == "spherical Gaussian"
    held_out = data.split("val")[torch.linspace(0, 39, 32).round().long()]
    best = max(torch.linspace(0.2, 0.8, 100).tolist(), key=lambda noise: truth(held_out, noise).sum())
    assert score.protocol["sigma"] == pytest.approx(best, rel=0.15)
    assert score.protocol["sigma_from"] == "validation data"
    chosen = data.split("test")[torch.linspace(0, 29, 12).round().long()]
    assert score.value == pytest.approx(truth(chosen, score.protocol["sigma"]).mean().item(), abs=0.05)
    given = measure(Generator(), data, sigma=NOISE, temperatures=20)
    same = measure(Decoder(), data, gaussian=True, sigma=NOISE, temperatures=20)
    assert given.value == pytest.approx(same.value, rel=1e-5)
    assert given.protocol["sigma_from"] == "given"


def test_few_temperatures_leave_a_gap_that_the_score_owns_up_to(careful, data):
    hasty = measure(Decoder(), data, temperatures=2, chains=1)
    assert hasty.protocol["gap"] > 10 * abs(careful.protocol["gap"])
    assert hasty.value < careful.value - 0.1


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_batch(data):
    measure_briefly = partial(measure, temperatures=20, chains=2)
    whole = measure_briefly(Decoder(), data)
    folder = data.root / "evaluation"
    (file,) = folder.glob("ais-*.jsonl")
    lines = file.read_text().splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == [
        "test 0",
        "test 1",
        "test 2",
        "simulated 0",
        "simulated 1",
    ]
    file.write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])  # killed while writing the third
    model = Decoder()
    assert measure_briefly(model, data) == whole
    resumed, model = model.calls, Decoder()
    file.unlink()
    measure_briefly(model, data)
    assert resumed < 0.8 * model.calls
    done, model = Decoder(), Decoder()
    measure_briefly(done, data)
    assert done.calls <= 2  # a look at what model it is
    other = Wider()
    measure_briefly(other, data)
    assert other.calls > 2  # results of another p(x|z) with the same weights are not used
    model.weight *= 2
    measure_briefly(model, data)
    assert model.calls > 0  # results of other weights are not used


def test_resumable_results_are_those_of_their_settings(tmp_path):
    resumable = ResumableResults(tmp_path / "new", "ais", {"t": 1})
    resumable["a"] = [1.5]
    assert ResumableResults(tmp_path / "new", "ais", {"t": 1})["a"] == [1.5]
    assert "a" not in ResumableResults(tmp_path / "new", "ais", {"t": 2})


def test_refusals(data):
    class Flow(HasLikelihood):
        def log_likelihood(self, x, samples=1):
            raise AssertionError

    reason = AISEvaluation().unsupported_reason(Flow(), data)
    assert reason.startswith("Flow has no decoder p(x given z)") and "metrics=[likelihood]" in reason
    reason = AISEvaluation().unsupported_reason(torch.nn.Linear(1, 1), data)
    assert reason.startswith("Linear has no decoder p(x given z)") and "likelihood" not in reason
    assert AISEvaluation().unsupported_reason(Generator(), data) is None
