"""Mean log-likelihood: unit, kind, standard error, and the number of examples that the limits allow."""

import math
from types import SimpleNamespace

import pytest
import torch

from genmodels.core import DataSpec, Kind, Likelihood, Score
from genmodels.core.abilities import HasDensity, HasLikelihood
from genmodels.data.sources import Heartbeat
from genmodels.errors import UserError
from genmodels.metrics import (
    GeneralizationEvaluation,
    KLToDataEvaluation,
    LikelihoodEvaluation,
    LogLikelihoodMean,
    Subject,
)
from genmodels.metrics.curves import keep_curves
from genmodels.metrics.term_draws import Allotment, allotted

DISCRETE, CONTINUOUS = DataSpec((1, 8, 8), 17), DataSpec((2,))


class Model(HasLikelihood):
    """Scores every example by ``score(x)``, at ``passes`` network passes each."""

    device = torch.device("cpu")

    def __init__(self, spec, score, kind=Kind.EXACT, passes=1):
        self.spec, self.score, self.kind, self.passes = spec, score, kind, passes
        self.seen = []

    def log_likelihood(self, x, samples=1):
        self.seen.append(x)
        self.autocast = torch.is_autocast_enabled("cpu")
        return Likelihood(self.score(x), self.kind)

    @property
    def passes_per_example(self):
        return self.passes


def data_of(test, train=None):
    splits = {"test": test, "train": train}
    return SimpleNamespace(split=splits.get, eval_batch_size=7, source=None, name="toy")


def evaluate(model, test, train=None, kind=LikelihoodEvaluation, folder=None, **options):
    evaluation, data = kind(**options), data_of(test, train)
    assert LikelihoodEvaluation().unsupported_reason(model, data) is None
    (score,) = evaluation.measure(Subject(model, data, None, 0, folder))
    return score


def test_uniform_model_scores_log2_of_the_levels():
    uniform = Model(DISCRETE, lambda x: torch.full((len(x),), -DISCRETE.dims * math.log(17)))
    score = evaluate(uniform, torch.zeros(20, *DISCRETE.shape, dtype=torch.uint8))
    assert score.name == "bits_per_dim" and score.unit == "bits/dim" and score.n == 20
    assert score.value == pytest.approx(math.log2(17), rel=1e-7)
    assert score.se == pytest.approx(0, abs=1e-7)


def test_continuous_data_are_scored_in_nats_with_the_standard_error_of_the_mean():
    test = torch.randn(31, 2)
    score = evaluate(Model(CONTINUOUS, lambda x: x.sum(1), Kind.LOWER_BOUND), test)
    nats = test.sum(1).double()
    assert (score.name, score.unit, score.kind) == ("nats", "nats", Kind.LOWER_BOUND)
    assert score.value == pytest.approx(nats.mean().item(), rel=1e-6)
    assert score.se == pytest.approx(nats.std().item() / math.sqrt(31), rel=1e-6)
    assert score.text.startswith(">= ")


def test_network_passes_limit_the_examples_to_evenly_spaced_ones():
    test = torch.arange(60.0).reshape(30, 2)
    model = Model(CONTINUOUS, lambda x: x.sum(1), passes=100)
    score = evaluate(model, test, samples=2, max_passes=2_500)
    assert score.n == 12 and score.protocol["of"] == 30 and score.protocol["passes_per_example"] == 200
    seen = torch.cat(model.seen)[:, 0] / 2
    assert seen[0] == 0 and seen[-1] == 29
    assert set(seen.diff().tolist()) == {2.0, 3.0}
    assert evaluate(model, test, max_examples=5, max_passes=None).n == 5


def test_a_budget_below_one_example_is_refused():
    with pytest.raises(UserError, match="max_passes"):
        evaluate(Model(CONTINUOUS, lambda x: x.sum(1), passes=1000), torch.zeros(3, 2), max_passes=999)
    with pytest.raises(ValueError, match=r"^samples must be an integer"):
        LikelihoodEvaluation(samples=0)


def test_likelihoods_are_float32_in_a_run_in_bf16():
    model = Model(CONTINUOUS, lambda x: x.sum(1))
    with torch.autocast("cpu", torch.bfloat16):
        score = evaluate(model, torch.zeros(3, 2))
    assert not model.autocast and score.protocol["precision"] == "float32"


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_mean_that_is_not_finite_is_an_error(bad):
    with pytest.raises(UserError, match=str(bad)):
        evaluate(Model(CONTINUOUS, lambda x: torch.full((len(x),), bad)), torch.zeros(3, 2))


def test_a_model_without_likelihood_is_refused_by_name():
    class GAN:
        pass

    assert LikelihoodEvaluation().unsupported_reason(GAN(), data_of(None)).startswith("GAN has no likelihood")


def test_kinds_do_not_mix_and_bare_tensors_are_not_likelihoods():
    metric = LogLikelihoodMean()
    metric.update(Likelihood(torch.zeros(2), Kind.EXACT))
    with pytest.raises(UserError, match="exact and lower_bound"):
        metric.update(Likelihood(torch.zeros(2), Kind.LOWER_BOUND))
    with pytest.raises(UserError, match="Tensor"):
        metric.update(torch.zeros(2))
    metric.reset()
    metric.update(Likelihood(torch.ones(2), Kind.LOWER_BOUND))
    assert metric.compute().kind is Kind.LOWER_BOUND


def test_a_bare_tensor_is_refused_by_the_evaluation_and_a_bare_number_by_the_score():
    model = Model(CONTINUOUS, lambda x: x.sum(1))
    model.log_likelihood = lambda x, samples: x.sum(1)
    with pytest.raises(UserError, match="not a Tensor"):
        evaluate(model, torch.zeros(3, 2))
    for unit in ("bits/dim", "nats"):
        with pytest.raises(ValueError, match="must have a kind"):
            Score("bits_per_dim", 1.2, unit, 3)


class Noisy(Model):
    """A random bound with two terms and curves."""

    def log_likelihood(self, x, samples=1):
        rate, distortion = torch.rand(len(x)), torch.full((len(x),), 2.0)
        curves = {"nats": torch.ones(len(x), 3) * torch.tensor([4.0, 2.0, 1.0]), "squared_error": torch.ones(len(x), 3)}
        return Likelihood(-(rate + distortion), Kind.LOWER_BOUND, {"rate": rate, "distortion": distortion}, curves)


def test_terms_stand_in_the_protocol_in_the_scores_unit_and_curves_in_a_file(tmp_path):
    score = evaluate(Noisy(DISCRETE, None), torch.zeros(20, *DISCRETE.shape, dtype=torch.uint8), folder=tmp_path / "e")
    rate, distortion = score.protocol["rate"], score.protocol["distortion"]
    assert rate["value"] + distortion["value"] == pytest.approx(score.value, rel=1e-6)
    assert distortion["value"] == pytest.approx(2 / 64 / math.log(2), rel=1e-6) and distortion["se"] < 1e-7 < rate["se"]
    header, *rows = (tmp_path / "e" / "timesteps.csv").read_text().splitlines()
    assert header == "t,term,term_se,rate,distortion" and len(rows) == 3
    first, last = ([float(cell) for cell in rows[i].split(",")] for i in (0, -1))
    per_dim = 1 / 64 / math.log(2)
    assert first[:4] == pytest.approx([1, 4 * per_dim, 0, 3 * per_dim])  # the rate of x_1 is the sum of the later terms
    assert last[3] == 0 and last[4] == pytest.approx(255 / 2 / 8)
    assert (tmp_path / "e" / "timesteps.png").exists()


def test_terms_of_points_are_nats_that_are_spent(tmp_path):
    score = evaluate(Noisy(CONTINUOUS, None), torch.zeros(20, 2), folder=tmp_path / "e")
    rate, distortion = score.protocol["rate"]["value"], score.protocol["distortion"]["value"]
    assert distortion == pytest.approx(2) and score.value == pytest.approx(-rate - distortion)


def test_noise_is_named_by_the_batch_and_not_by_what_was_measured_before():
    test = torch.zeros(20, 2)
    model = Model(CONTINUOUS, lambda x: torch.rand(len(x)))
    torch.manual_seed(1)
    one = evaluate(model, test)
    torch.rand(3)
    assert evaluate(model, test) == one
    nats = LikelihoodEvaluation().likelihood(Subject(model, data_of(test), None, 0, None), "test").nats
    assert len(nats.unique()) == 20  # every batch has its own noise


def test_draws_are_in_the_name_and_called_what_they_are():
    model = Model(CONTINUOUS, lambda x: x.sum(1))
    model.draws = "trajectories"
    score = evaluate(model, torch.randn(9, 2), samples=4)
    assert score.name == "nats_k4" and score.protocol["trajectories"] == 4


def test_train_minus_test_is_the_difference_with_the_error_of_both():
    train, test = torch.randn(50, 2) + 1, torch.randn(20, 2)
    score = evaluate(Model(CONTINUOUS, lambda x: x.sum(1)), test, train, GeneralizationEvaluation)
    picked = train[torch.linspace(0, 49, 20).round().long()]
    a, b = picked.sum(1), test.sum(1)
    assert score.value == pytest.approx((a.mean() - b.mean()).item(), rel=1e-5)
    assert score.se == pytest.approx(math.sqrt((a.var() + b.var()).item() / 20), rel=1e-5)
    assert score.kind is Kind.ESTIMATE and score.text.startswith("~ ") and score.n == 20


@pytest.mark.parametrize(
    ("terms", "max_passes", "examples", "drawn", "rows"),
    [
        (None, None, 360, None, 0),  # no limit: every term
        (None, 360_000, 360, None, 0),  # every term can be afforded
        (None, 100_000, 360, 266, 4),
        (None, 3_000, 360, 5, 1),  # a tenth of it would not suffice for one pass at every step
        (None, 1_100, 100, 1, 1),  # not even one term of every example
        (10, None, 360, 10, 4),
        (10, 5_000, 360, 10, 1),
        (10, 3_000, 200, 10, 1),
        (1000, 100_000, 100, None, 0),  # the full sum on request
        (5000, 100_000, 100, None, 0),
    ],
)
def test_passes_are_spent_on_all_examples_first(terms, max_passes, examples, drawn, rows):
    found = allotted(360, 1000, terms, max_passes)
    assert found == Allotment(examples, drawn, rows)
    assert max_passes is None or examples * (drawn or 1000) + rows * 1000 <= max_passes


@pytest.mark.parametrize("passes", [1, 999, 1000])
def test_a_budget_that_only_pays_for_the_pilot_run_is_refused(passes):
    with pytest.raises(UserError, match="costs 1000 network passes"):
        allotted(360, 1000, None, passes)


def test_steps_that_were_never_drawn_are_interpolated_in_the_table(tmp_path):
    curve = torch.tensor([[4.0, math.nan, 1.0], [6.0, math.nan, math.nan]])
    keep_curves({"nats": curve, "squared_error": curve}, Subject(Model(CONTINUOUS, None), None, None, 0, tmp_path))
    rows = [line.split(",") for line in (tmp_path / "timesteps.csv").read_text().splitlines()[1:]]
    assert [float(row[1]) for row in rows] == pytest.approx([2.5, 1.5, 0.5])  # per dimension, of which there are two
    assert float(rows[0][2]) == pytest.approx(0.5) and rows[1][2] == rows[2][2] == ""
    assert [float(row[3]) for row in rows] == pytest.approx([2.0, 0.5, 0.0])


class StandardNormal(HasDensity):
    """A source whose density is known."""

    def log_prob(self, x):
        return torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)


@pytest.mark.slow
def test_divergence_from_the_truth_is_zero_for_the_truth_and_known_between_gaussians():
    truth = torch.distributions.Normal(0.0, 1.0)
    test = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
    for shift in (0.0, 0.5):
        model = Model(CONTINUOUS, lambda x, shift=shift: truth.log_prob(x - shift).sum(1))
        data = data_of(test)
        data.source = StandardNormal()
        (score,) = KLToDataEvaluation().measure(Subject(model, data, None, 0, None))
        assert score.value == pytest.approx(shift**2, abs=0.02) and score.kind is Kind.ESTIMATE
    assert "unknown" in KLToDataEvaluation().unsupported_reason(model, data_of(test))


@pytest.mark.parametrize(("kind", "shown"), [(Kind.EXACT, Kind.ESTIMATE), (Kind.LOWER_BOUND, Kind.UPPER_BOUND)])
def test_divergence_from_the_truth_of_integers_is_one_of_probabilities(kind, shown):
    """Independent bits of the right mean: KL = 20 H(1/5) - log 5, and the same at each of the five sequences."""

    def bits(x):
        return torch.distributions.Bernoulli(0.2).log_prob(x.float()).sum(1)

    source = Heartbeat(train_size=1, test_size=500)
    data = data_of(source.load(None).test)
    data.source = source
    (score,) = KLToDataEvaluation().measure(Subject(Model(DataSpec((20,), 2), bits, kind), data, None, 0, None))
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert score.value == pytest.approx(20 * entropy - math.log(5), rel=1e-5) and score.se < 1e-5
    assert score.kind is shown and score.unit == "nats"


def test_nothing_has_no_mean():
    with pytest.raises(UserError, match="no example"), pytest.warns(UserWarning):
        LogLikelihoodMean().compute()
