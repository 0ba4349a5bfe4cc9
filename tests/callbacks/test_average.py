"""The average of the weights: its definition, and its place in the run folder."""

from __future__ import annotations

import pytest
import torch
from conformance.kinds import MODELS
from conformance.test_laboratory import settings

from genmodels import load
from genmodels.callbacks import WeightAverage
from genmodels.experiment import Experiment, run


class Follow(WeightAverage):
    """Averages the weights a second time, by the definition."""

    def on_train_start(self, trainer, pl_module):
        super().on_train_start(trainer, pl_module)
        self.by_definition = [p.detach().clone().double() for p in pl_module.parameters()]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, parameter in zip(self.by_definition, pl_module.parameters(), strict=True):
            average.mul_(decay).add_((1 - decay) * parameter.detach().double())


@pytest.mark.parametrize("name", MODELS)
def test_the_average_follows_its_definition_once_per_batch(name, tmp_path):
    experiment = Experiment.assemble(settings(name, "points", tmp_path, "budget.max_batches=6"))
    follow = Follow(decay=0.6)
    experiment.trainer.callbacks = [follow if isinstance(c, WeightAverage) else c for c in experiment.trainer.callbacks]
    experiment.fit()
    assert follow.updates == 6
    for average, expected in zip(follow.average.values(), follow.by_definition, strict=True):
        torch.testing.assert_close(average.double(), expected, atol=1e-5, rtol=1e-4)


def test_averaged_and_raw_weights_are_both_in_the_run_folder(tmp_path):
    run(settings("vae", "points", tmp_path, "callbacks.average.decay=0.9", "budget.max_batches=5"))
    averaged = load(tmp_path / "run").state_dict()
    raw = load(tmp_path / "run", weights="raw").state_dict()
    assert any(not torch.equal(averaged[name], raw[name]) for name in raw)


def test_decay_out_of_range():
    with pytest.raises(ValueError, match=r"^decay must be a number of at least 0 and below 1, got 1\.0\.$"):
        WeightAverage(decay=1.0)
