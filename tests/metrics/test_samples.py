"""Sets of samples: independent, equal for all evaluations, and saved with their protocol."""

import json

import numpy as np
import pytest
import torch

from genmodels.core import DataSpec
from genmodels.core.abilities import Samples
from genmodels.errors import UserError
from genmodels.metrics import SampleSets


class Noise(Samples):
    spec, device = DataSpec((3,)), torch.device("cpu")

    def sample(self, n):
        return torch.randn(n, 3)

    @property
    def sampling_protocol(self):
        return {"steps": 7}


def test_every_call_of_the_model_draws_something_else(monkeypatch):
    monkeypatch.setattr("genmodels.metrics.sample_sets.AT_A_TIME", 4)
    sets = SampleSets(Noise(), seed=0)
    drawn = torch.cat([sets.get(10), sets.get(10, index=1), SampleSets(Noise(), seed=1).get(10)])
    assert drawn.shape == (30, 3) and len(drawn.unique(dim=0)) == 30


def test_networks_run_in_bf16_if_the_run_does_and_the_protocol_says_so():
    class Linear(Noise):
        def sample(self, n):
            return (torch.randn(n, 3) @ torch.eye(3)).float()

    x, low = (SampleSets(Linear(), seed=0, bf16=bf16) for bf16 in (False, True))
    assert torch.equal(low.get(4), x.get(4).bfloat16().float()) and not torch.equal(low.get(4), x.get(4))
    assert low.protocol(4)["sampling"] == {"steps": 7, "precision": "bf16"}
    assert x.protocol(4)["sampling"] == {"steps": 7}


def test_samples_do_not_depend_on_who_asked_before():
    one, other = SampleSets(Noise(), seed=0), SampleSets(Noise(), seed=0)
    torch.manual_seed(3)
    second = one.get(5, index=1)
    first = one.get(5)
    state = torch.get_rng_state()
    assert torch.equal(other.get(5), first) and torch.equal(other.get(5, index=1), second)
    assert torch.equal(torch.get_rng_state(), state)  # drawing leaves the global generator unchanged
    assert one.get(5) is one.get(5)


def test_largest_sets_are_saved_and_read_again(tmp_path):
    sets = SampleSets(Noise(), seed=0)
    drawn = torch.cat([sets.get(6), sets.get(6, index=1)])
    sets.get(2)
    sets.save(tmp_path / "new" / "drawn.npz")
    with np.load(tmp_path / "new" / "drawn.npz") as arrays:
        assert np.array_equal(arrays["x"], drawn.numpy())
        assert json.loads(str(arrays["protocol"]))["sampling"] == {"steps": 7}
    given = SampleSets(Noise(), seed=5, file=tmp_path / "new" / "drawn.npz")
    assert torch.equal(given.get(6, index=1), drawn[6:]) and torch.equal(given.get(4), drawn[:4])
    assert given.protocol(6)["samples_file"] == "drawn.npz" and given.protocol(6)["samples_per_second"] > 0
    assert [given.at_most(3, n) for n in (4, 6, 9, 20)] == [3, 2, 1, 1]
    given.save(tmp_path / "other.npz")
    assert sorted(path.name for path in tmp_path.rglob("*.npz")) == ["drawn.npz"]  # only drawn samples are saved
    with pytest.raises(UserError, match="holds 12 samples, but 20 are required"):
        given.get(20)


# Speed


class Timed(Noise):
    """Takes the ``seconds`` in order, the last of them for ever, on a clock of its own."""

    def __init__(self, *seconds):
        self.seconds, self.now, self.sizes = list(seconds), 0.0, []

    def perf_counter(self):
        return self.now

    def sample(self, n):
        self.now += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        self.sizes.append(n)
        return super().sample(n)


@pytest.fixture
def speed(monkeypatch):
    def measured(n, *seconds):
        model = Timed(*seconds)
        monkeypatch.setattr("genmodels.metrics.sample_sets.time", model)
        sets = SampleSets(model, seed=0)
        sets.get(n)
        protocol = sets.protocol(n)
        assert sets.protocol(n) == protocol  # measured once
        return {key: protocol[key] for key in ("samples_per_second", "speed_batch", "speed_draws")}, model

    return measured


def test_speed_is_the_median_of_several_warm_calls(speed):
    found, model = speed(100, 2.0, 0.1, 0.4, 0.2, 0.9, 0.3)
    assert found == {"samples_per_second": pytest.approx(100 / 0.3), "speed_batch": 100, "speed_draws": 5}
    assert model.sizes == [100] * 6


def test_the_calls_that_drew_the_set_are_enough_if_there_are_several(speed):
    found, model = speed(1750, 9.0, *[2.0] * 6)
    assert found == {"samples_per_second": 125, "speed_batch": 250, "speed_draws": 6} and len(model.sizes) == 7


def test_a_slow_sampler_is_not_asked_for_more_than_a_few_seconds(speed):
    found, model = speed(250, 2.9, 1.2)
    assert found["speed_draws"] == 2 and found["samples_per_second"] == pytest.approx(250 / 1.2)
    found, model = speed(250, 5.0, 4.0)
    assert found == {"samples_per_second": 50, "speed_batch": 250, "speed_draws": 0} and model.sizes == [250]


def test_measuring_the_speed_changes_neither_samples_nor_generators():
    one, other = SampleSets(Noise(), seed=0), SampleSets(Noise(), seed=0)
    one.get(5)
    state = torch.get_rng_state()
    one.protocol(5)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.get(5, index=1), other.get(5, index=1))
