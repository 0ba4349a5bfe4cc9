"""The chains metric on chains whose law and speed are known."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from conformance.kinds import KINDS, examples, model_on
from PIL import Image

from genmodels.core import DataSpec
from genmodels.core.abilities import RunsChains
from genmodels.errors import UserError
from genmodels.metrics import ChainsEvaluation, Subject
from genmodels.models.rbm import RBM


class Wells(RunsChains):
    """Points on the line with wells at -3 and at 3, of energy 0 and ``depth``; a random walk of width ``width``."""

    device = torch.device("cpu")

    def __init__(self, depth=-2.0, width=0.5):
        self.depth, self.width, self.steps = depth, width, 0

    def energy(self, x):
        return self.chain_energy(x)

    def chains_at(self, x):
        return x

    def chains_of_noise(self, n):
        return -3 + 0.3 * torch.randn(n, 1)

    def chain_energy(self, state):
        wells = torch.stack([-5 * (state[:, 0] + 3).square(), -5 * (state[:, 0] - 3).square() - self.depth])
        return -torch.logsumexp(wells, 0)

    def run_chains(self, state, steps):
        total = torch.zeros(len(state))
        for _ in range(steps):
            proposal = state + self.width * torch.randn_like(state)
            probability = (self.chain_energy(state) - self.chain_energy(proposal)).clamp(max=0).exp()
            state = torch.where((torch.rand(len(state)) < probability)[:, None], proposal, state)
            total = total + probability
        self.steps += steps
        return state, total / steps


class Jumps(Wells):
    """Independent draws of N(0, 1), whose energy is the point itself."""

    def chain_energy(self, state):
        return state[:, 0]

    def run_chains(self, state, steps):
        return torch.randn_like(state), torch.full((len(state),), 0.25)


DATA = 3 + 0.3 * torch.randn(50, 1, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def measured(model, folder, test=DATA, **options):
    data, evaluation = SimpleNamespace(split={"test": test}.get, name="toy"), ChainsEvaluation(**options)
    assert evaluation.unsupported_reason(model, data) is None
    (score,) = evaluation.measure(Subject(model, data, None, 0, folder))
    return score


def test_chains_that_stay_in_the_wells_where_they_began_are_flagged(tmp_path):
    """The wells differ by two nats: chains from noise stay in the higher one, those from data in the lower one."""
    score = measured(Wells(), tmp_path, chains=40, steps=400)
    difference, flag = score.protocol["difference"], score.protocol["flag"]
    assert difference["value"] == pytest.approx(2, abs=4 * difference["se"]) and difference["se"] < 0.1
    assert flag.startswith("chains have not met: chains from noise are ") and "nats above those from data" in flag
    assert score.value > 1.5 and score.better == "lower" and score.se is None


def test_chains_from_noise_may_lie_lower_too(tmp_path):
    flag = measured(Wells(depth=2.0), tmp_path, chains=40, steps=400).protocol["flag"]
    assert "nats below those from data" in flag


def test_chains_that_cross_from_well_to_well_meet(tmp_path):
    score = measured(Wells(width=6.0), tmp_path, chains=40, steps=2000)
    assert "flag" not in score.protocol and 0.99 < score.value < 1.05
    noise, data = score.protocol["from_noise"], score.protocol["from_data"]
    assert noise == pytest.approx(data, abs=0.1) and score.protocol["difference"]["value"] == pytest.approx(
        noise - data
    )
    assert score.beside == {"energy from noise": noise, "from data": data}
    assert noise == pytest.approx(0.5 - 2 / (1 + math.exp(-2)), abs=0.1)  # the wells' depths by their masses


def test_independent_draws_count_as_they_are(tmp_path):
    score = measured(Jumps(), tmp_path, chains=40, steps=200)
    assert score.value == pytest.approx(1, abs=0.005)
    assert score.protocol["ess"] == pytest.approx(80 * 100, rel=0.1) and score.protocol["acceptance"] == 0.25
    assert score.protocol["difference"]["se"] == pytest.approx(math.sqrt(2 / (40 * 100)), rel=0.1)
    assert score.n == 80 and score.protocol["steps"] == 200 and score.name == "rhat_energy"


def test_chains_that_agree_on_average_but_not_with_each_other_are_flagged(tmp_path):
    model = Wells()
    model.chains_of_noise = lambda n: 3 - 6.0 * (torch.arange(n) % 2)[:, None]
    score = measured(model, tmp_path, model.chains_of_noise(40), chains=40, steps=400)
    assert score.protocol["flag"] == "chains have not mixed: they still differ from each other"


def test_chains_that_never_move_are_flagged(tmp_path):
    model = Jumps()
    model.chain_energy = lambda state: torch.zeros(len(state))
    score = measured(model, tmp_path, chains=4, steps=10)
    assert math.isnan(score.value) and score.protocol["flag"] == "the energies of all chains are equal and constant"


def test_every_step_is_taken_and_the_picture_shows_all_of_them(tmp_path):
    model = Wells()
    score = measured(model, tmp_path, chains=120, steps=1003)
    assert model.steps == 3 * 1000 and score.protocol["steps"] == 1000  # two batches from noise, one from data
    assert score.n == 120 + 50
    width, height = Image.open(tmp_path / "chains.png").size
    assert width == 2.5 * height  # two panels
    assert measured(Wells(), tmp_path, chains=120, steps=1003) == score


def machine(weight):
    """Six bits and one hidden unit, with a mode of zeros and one of nine times its mass where all are one."""
    model = RBM(DataSpec((6,), 2), 1, partial(torch.optim.Adam, lr=1e-3), centered=False).eval()
    model.initialize(torch.zeros(40, 6, dtype=torch.uint8))  # where annealing begins
    with torch.no_grad():
        model.weight.fill_(weight)
        model.visible_bias.fill_(-weight / 2)
        model.hidden_bias.fill_(-3 * weight + math.log(9))
    return model


@pytest.mark.parametrize(("weight", "met"), [(1.0, True), (8.0, False)])
def test_of_a_machine_with_large_weights_chains_stay_in_a_mode(weight, met, tmp_path):
    score = measured(machine(weight), tmp_path, torch.ones(50, 6, dtype=torch.uint8), chains=50, steps=400)
    assert ("flag" not in score.protocol) == met == (score.value < 1.05)
    assert score.protocol["acceptance"] == 1 and score.protocol["sampling"] == {"law": "enumerated"}


def test_the_chains_of_an_energy_network(tmp_path):
    model, test = model_on("ebm", KINDS["points"], "model.adjusted=true"), examples(KINDS["points"], 30)
    model.initialize(test)
    score = measured(model.eval(), tmp_path, test, chains=30, steps=600)
    assert "flag" not in score.protocol and 0.5 < score.protocol["acceptance"] < 1
    assert score.protocol["sampling"]["step_size"] == 0.1


def test_what_is_refused(tmp_path):
    class GAN:
        pass

    assert ChainsEvaluation().unsupported_reason(GAN(), None) == "GAN runs no Markov chains."
    with pytest.raises(ValueError, match=r"^chains must"):
        ChainsEvaluation(chains=1)
    with pytest.raises(ValueError, match=r"^steps must"):
        ChainsEvaluation(steps=9)
    with pytest.raises(UserError, match="two test examples"):
        measured(Wells(), tmp_path, DATA[:1])
    model = Wells()
    model.chain_energy = lambda state: torch.full((len(state),), math.nan)
    with pytest.raises(UserError, match="the model has diverged"):
        measured(model, tmp_path, chains=4, steps=10)
