"""The partition metric against machines whose states are summed, and energies whose integral is known."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from conformance.kinds import KINDS, examples, model_on

from genmodels.core import DataSpec, Kind
from genmodels.metrics import LikelihoodEvaluation, PartitionEvaluation, Subject
from genmodels.metrics.partition import annealed
from genmodels.models.rbm import RBM

BITS = DataSpec((6,), 2)
TEST = torch.randint(0, 2, (40, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def machine(exact, size=1.0, hidden=4):
    """A machine of six bits with random weights of standard deviation ``size``."""
    torch.manual_seed(3)
    model = RBM(BITS, hidden, partial(torch.optim.Adam, lr=1e-3), exact=exact, temperatures=50)
    model.initialize(TEST)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(size * torch.randn_like(parameter))
    return model.eval()


@torch.no_grad()
def measured(model, test=TEST, seed=0, folder=None, metric=PartitionEvaluation, **options):
    data = SimpleNamespace(split={"test": test}.get, eval_batch_size=16, name="toy")
    evaluation = metric(**options)
    assert evaluation.unsupported_reason(model, data) is None
    (score,) = evaluation.measure(Subject(model, data, None, seed, folder))
    return score


def test_the_sum_over_all_states_is_exact_and_annealing_agrees_with_it():
    exact, found = measured(machine(True)), measured(machine(False), temperatures=300, chains=150)
    assert (exact.kind, found.kind) == (Kind.EXACT, Kind.UPPER_BOUND) and found.text.startswith(">= ")
    assert (exact.name, found.quantity, exact.unit, exact.n) == ("partition_bits_per_dim",) * 2 + ("bits/dim", 40)
    truth = machine(True).log_likelihood(TEST).nats.double().mean().item()
    assert exact.value == pytest.approx(-truth / 6 / math.log(2), rel=1e-6)
    log_z, known = found.protocol["log_z"], exact.protocol["log_z"]
    assert 0 < log_z["se"] < 0.02 and log_z["value"] == pytest.approx(known["value"], abs=4 * log_z["se"])
    assert known["se"] == 0 and known["by"] == "enumeration" and "ess" not in exact.protocol
    assert 100 < found.protocol["ess"] <= 150 and "flag" not in found.protocol
    assert "gap" not in exact.protocol  # its likelihood is no bound


def test_the_error_has_that_of_the_examples_and_that_of_the_partition_function():
    exact, found = measured(machine(True)), measured(machine(False), temperatures=5, chains=30)
    nats = found.protocol["log_z"]["se"] / 6 / math.log(2)
    assert found.se == pytest.approx(math.hypot(exact.se, nats)) and nats > 0.1 * exact.se


def test_the_standard_error_of_log_z_is_that_of_repeated_runs():
    torch.manual_seed(0)
    weights = machine(False).partition_weights(500 * 40, 20).view(500, 40)
    found = [annealed(part) for part in weights]
    spread = torch.tensor([each.value for each in found]).std().item()
    assert spread == pytest.approx(sum(each.se for each in found) / 500, rel=0.15)


@pytest.mark.slow
def test_of_many_repetitions_the_mean_is_an_upper_bound_and_that_of_the_weights_unbiased():
    exact, model = measured(machine(True, 2.0)), machine(False, 2.0)
    n = 600
    found = [measured(model, seed=seed, temperatures=5, chains=3, max_passes=50) for seed in range(n)]
    above = torch.tensor([exact.value - score.value for score in found]).double()  # in bits: an upper bound is less
    assert above.mean() > 5 * above.std() / math.sqrt(n)
    ratio = torch.tensor([score.protocol["log_z"]["value"] for score in found]) - exact.protocol["log_z"]["value"]
    assert abs(ratio.exp().mean() - 1) < 4 * ratio.exp().std() / math.sqrt(n)


def test_the_gap_is_from_the_lower_bound_that_the_likelihood_metric_reports():
    model = machine(False)
    found = measured(model, temperatures=300, samples=2, max_passes=50 * 2 * 15)
    lower = measured(model, metric=LikelihoodEvaluation, samples=2, max_passes=50 * 2 * 15)
    assert found.protocol["gap_n"] == lower.n == 15 and found.n == 40
    bound = found.protocol["lower_bound"]
    assert bound["value"] == pytest.approx(-lower.value * 6 * math.log(2)) and bound["law"]["temperatures"] == 50
    assert found.protocol["gap"] == pytest.approx(found.protocol["upper_bound"]["value"] - bound["value"])
    assert abs(found.protocol["gap"]) < 0.2 and 0 < found.protocol["gap_se"] < 0.1  # far less than that of the bounds
    assert found.beside == {"gap in nats": found.protocol["gap"]}


def test_where_annealed_chains_miss_a_mode_they_give_the_data_more_mass_than_the_machine_and_the_gap_is_negative():
    """All units zero, as the data are, or all one, a mode of nine tenths of the mass that few chains reach."""
    model, test = machine(False, hidden=1), torch.zeros(40, 6, dtype=torch.uint8)
    model.temperatures, model.centered = 10, False
    model.initialize(test)
    with torch.no_grad():
        model.weight.fill_(5.0)
        model.visible_bias.fill_(-2.5)
        model.hidden_bias.fill_(-15.0 + math.log(9))
    found = measured(model, test, temperatures=300, chains=1000, max_examples=10)
    model.exact = True
    truth = measured(model, test)
    log_z = found.protocol["log_z"]
    assert log_z["value"] == pytest.approx(truth.protocol["log_z"]["value"], abs=4 * log_z["se"])
    assert found.protocol["gap"] < -4 * found.protocol["gap_se"] < 0


def test_few_effective_chains_are_flagged():
    score = measured(machine(False, 4.0), temperatures=1, chains=20)
    assert score.protocol["ess"] < 10
    assert score.protocol["flag"] == f"log Z rests on {score.protocol['ess']:.1f} of 20 chains: more temperatures or " \
        "chains are needed"  # fmt: skip


def test_on_the_plane_the_annealed_bound_is_recorded_beside_the_quadrature():
    model, test = model_on("ebm", KINDS["points"]), examples(KINDS["points"], 30)
    model.initialize(test)
    score = measured(model.eval(), test, temperatures=200)
    log_z = score.protocol["log_z"]
    assert (score.name, score.unit, score.kind) == ("partition_nats", "nats", Kind.UPPER_BOUND)
    assert score.text.startswith("<= ") and score.better == "higher"
    assert log_z["quadrature"] == pytest.approx(log_z["value"], abs=4 * log_z["se"] + 1e-3)
    assert log_z["by"] == "annealing" and "gap" in score.protocol


def test_the_score_on_reals_is_the_log_density():
    torch.manual_seed(0)
    model = RBM(DataSpec((2,)), 3, partial(torch.optim.Adam, lr=1e-3)).eval()
    test = 5 + 3 * examples(KINDS["points"], 30)
    model.initialize(test)
    score = measured(model, test)
    assert score.kind is Kind.EXACT
    assert score.value == pytest.approx(model.log_likelihood(test).nats.double().mean().item(), rel=1e-5)


def test_an_energy_of_dequantized_integers_gives_an_estimate_and_no_gap():
    model, test = model_on("ebm", KINDS["integer pairs"]), examples(KINDS["integer pairs"], 30)
    model.initialize(test)
    score = measured(model.eval(), test, temperatures=20)
    assert score.kind is Kind.ESTIMATE and score.text.startswith("~ ") and "gap" not in score.protocol


def test_models_without_a_partition_function_and_bad_numbers_are_refused():
    class GAN:
        pass

    reason = PartitionEvaluation().unsupported_reason(GAN(), None)
    assert reason == "GAN has no partition function: it is not defined by an energy."
    with pytest.raises(ValueError, match=r"^chains must"):
        PartitionEvaluation(chains=1)
    with pytest.raises(ValueError, match=r"^temperatures must"):
        PartitionEvaluation(temperatures=0)


def test_the_mean_of_equal_weights_has_no_error():
    found = annealed(torch.full((5,), 2.0))
    assert (found.value, found.se, found.ess) == (pytest.approx(2), 0, pytest.approx(5))
