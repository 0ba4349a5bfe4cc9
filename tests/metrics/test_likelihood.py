"""Mean log-likelihood: unit, kind, error, and how many examples a budget of network passes allows."""

import math
from types import SimpleNamespace

import pytest
import torch

from genmodels.core import DataSpec, Kind, Likelihood, UserError
from genmodels.metrics import LikelihoodEvaluation, LogLikelihoodMean
from genmodels.models.base import HasLikelihood

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


def data_of(test):
    return SimpleNamespace(split=lambda name: test, eval_batch_size=7)


def evaluate(model, test, **options):
    evaluation = LikelihoodEvaluation(**options)
    assert evaluation.refusal(model, data_of(test)) is None
    evaluation.start(model, data_of(test))
    (score,) = evaluation.finish(model)
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
    with pytest.raises(UserError, match=r"metrics\.likelihood\.samples"):
        LikelihoodEvaluation(samples=0)


def test_autocast_is_off():
    model = Model(CONTINUOUS, lambda x: x.sum(1))
    with torch.autocast("cpu"):
        evaluate(model, torch.zeros(3, 2))
    assert not model.autocast


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_mean_that_is_not_finite_is_an_error(bad):
    with pytest.raises(UserError, match=str(bad)):
        evaluate(Model(CONTINUOUS, lambda x: torch.full((len(x),), bad)), torch.zeros(3, 2))


def test_a_model_without_likelihood_is_refused_by_name():
    class GAN:
        pass

    assert LikelihoodEvaluation().refusal(GAN(), data_of(None)).startswith("GAN has no likelihood")


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


def test_nothing_has_no_mean():
    with pytest.raises(UserError, match="no example"), pytest.warns(UserWarning):
        LogLikelihoodMean().compute()
