"""A run that is stopped and resumed equals an uninterrupted one."""

from __future__ import annotations

import pytest
import torch
from conformance.kinds import SUITE
from conformance.test_laboratory import settings
from curves import curves
from lightning import Callback

from genmodels.errors import UserError
from genmodels.experiment import Experiment, run
from genmodels.runs import read_checkpoint

# the run stops in the middle of the second epoch, at a validation and its checkpoint
COMMON = (
    "budget.max_batches=12", "validations=2", "data.val_size=8", "trainer.log_every_n_steps=1",
    "callbacks.average.decay=0.5",
)  # fmt: skip


class StopAt(Callback):
    """Ends training after so many batches, as a signal does."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_end(self, trainer, *_):
        if trainer.lightning_module.batches >= self.batches:
            trainer.should_stop = True


def weights(folder):
    state = read_checkpoint(folder / "run" / "checkpoints" / "last.ckpt")
    average = {f"ema.{key}": value for key, value in state["callbacks"]["WeightAverage"]["average"].items()}
    (chains,) = state["chains"]  # one process
    assert not chains.keys() & state["state_dict"].keys()
    return {**state["state_dict"], **average, **{f"chains.{key}": value for key, value in chains.items()}}


def losses(folder):
    rows = curves(folder / "run")
    return {row["step"]: {k: v for k, v in row.items() if k.startswith("train/")} for row in rows}


@pytest.mark.parametrize("name", SUITE)
def test_resumed_equals_uninterrupted(name, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    run(settings(name, "points", whole, *COMMON))
    for resume in (False, True):
        experiment = Experiment.assemble(settings(name, "points", parts, *COMMON))
        if not resume:
            experiment.trainer.callbacks.append(StopAt(6))
        experiment.fit(resume=resume)
        for logger in experiment.trainer.loggers:
            logger.finalize("success")
        assert max(map(int, losses(parts))) == (12 if resume else 6)

    expected, found = weights(whole), weights(parts)
    assert ("chains.x" in expected) == (name == "persistentchains")
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    expected_losses = {k: v for k, v in losses(whole).items() if any(v.values())}
    assert {k: v for k, v in losses(parts).items() if any(v.values())} == expected_losses
    assert sorted(map(int, expected_losses)) == list(range(1, 13))


@pytest.mark.parametrize(
    ("name", "own", "other"),
    [
        ("rbm", "model.chains=32", "model.chains=33"),
        ("rbm", "model.chains=0", "model.chains=32"),
        ("ebm", "model/start=noise", "model/start=persistent"),
    ],
)
def test_chains_that_the_checkpoint_does_not_have_are_refused_in_a_sentence(name, own, other, tmp_path):
    run(settings(name, "points", tmp_path, own, "test=false"))
    experiment = Experiment.assemble(settings(name, "points", tmp_path, other, "budget.max_batches=4"))
    with pytest.raises(UserError, match=r"has chains .*, and the config's model .*; continue with the run's own"):
        experiment.fit(resume=True)
