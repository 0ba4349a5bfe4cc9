"""The probability-flow evaluation: unit, the two tolerances, and the flag."""

import math
from types import SimpleNamespace

import pytest
import torch

from genmodels.core import DataSpec, Kind
from genmodels.core.abilities import HasProbabilityFlow
from genmodels.metrics import ProbabilityFlowEvaluation, Subject


class Flow(HasProbabilityFlow):
    """Uniform on [-1, 1] and half a bin beyond, tilted by 0.1 y, with an error of ``slope`` times the tolerance."""

    device = torch.device("cpu")

    def __init__(self, spec, slope=0.0):
        self.spec, self.slope, self.seen = spec, slope, []

    def flow_log_density(self, y, tolerance, probes=None):
        self.seen.append((y, tolerance, probes))
        width = 2 * self.spec.levels / (self.spec.levels - 1) if self.spec.is_discrete else 2.0
        return torch.full((len(y),), -self.spec.dims * math.log(width)) + self.slope * tolerance + 0.1 * y.sum(1), 7


def measure(model, test, **options):
    data = SimpleNamespace(split=lambda name: test, name="toy")
    evaluation = ProbabilityFlowEvaluation(**options)
    assert evaluation.unsupported_reason(model, data) is None
    (score,) = evaluation.measure(Subject(model, data, None, 0, None))
    return score


def test_a_uniform_density_on_integers_costs_log2_of_the_levels():
    spec = DataSpec((40,), 17)
    test = torch.full((30, 40), 8, dtype=torch.uint8)
    score = measure(Flow(spec), test, max_examples=20, batch_size=8, dequantization_samples=2)
    assert score.name == "ode_bits_per_dim" and score.kind is Kind.ESTIMATE and score.text.startswith("~ ")
    assert score.value == pytest.approx(math.log2(17), abs=0.01) and score.n == 20
    assert score.protocol["trace"] == "1 Rademacher probes" and score.protocol["evaluations"] == 14
    assert score.protocol["tolerance"] == pytest.approx(1e-5) and "flag" not in score.protocol


def test_both_tolerances_see_the_same_noise_and_probes():
    model = Flow(DataSpec((40,), 17))
    measure(model, torch.randint(17, (10, 40)).to(torch.uint8), batch_size=10)
    (y, coarse, probes), (y_fine, fine, probes_fine) = model.seen
    assert coarse == 10 * fine and torch.equal(y, y_fine) and torch.equal(probes, probes_fine)
    assert set(probes.flatten().tolist()) == {-1.0, 1.0} and probes.shape == (1, 10, 40)


def test_a_difference_beyond_the_error_is_flagged():
    test = torch.rand(50, 2) * 2 - 1
    steady, drifting = measure(Flow(DataSpec((2,))), test), measure(Flow(DataSpec((2,)), slope=1e4), test)
    assert "flag" not in steady.protocol and steady.protocol["trace"] == "exact"
    assert "not converged: 0.9" in drifting.protocol["flag"] and "not converged" in drifting.line
    assert drifting.protocol["coarse"]["difference"] == pytest.approx(-0.9, rel=1e-4)


def test_other_models_are_refused():
    assert "has no ODE from noise to data" in ProbabilityFlowEvaluation().unsupported_reason(object(), None)
