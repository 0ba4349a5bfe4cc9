"""A signal in the middle of a training step: nothing of the step is lost, and none of it is done twice."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from conformance.test_laboratory import settings
from lightning import Callback

from genmodels.experiment import Experiment
from genmodels.runs import read_checkpoint

WORDS = ("data.val_size=8", "callbacks.average.decay=0.5", "budget.max_batches=9", "validations=3")


class Kill(Callback):
    """Sends a signal to this process between the optimizer steps of one batch."""

    def __init__(self, signum, batch):
        self.signum, self.batch = signum, batch

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        if pl_module.batches == self.batch:
            os.kill(os.getpid(), self.signum)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.on_before_zero_grad(trainer, pl_module, None)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("batch", [4, 5])
def test_an_interrupted_run_resumes_as_if_it_had_not_been(signum, batch, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    Experiment.assemble(settings("gan", "points", whole, *WORDS)).fit()

    before = signal.getsignal(signum)
    experiment = Experiment.assemble(settings("gan", "points", parts, *WORDS))
    experiment.trainer.callbacks.append(Kill(signum, batch))
    with pytest.raises(SystemExit) as stop:
        experiment.fit()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which Lightning has switched off for its shutdown
    assert stop.value.code == 1 and experiment.budget.spent["batches"] == batch
    assert signum == signal.SIGINT or signal.getsignal(signum) == before
    Experiment.assemble(settings("gan", "points", parts, *WORDS)).fit(resume=True)

    expected, found = (read_checkpoint(f / "run" / "checkpoints" / "last.ckpt") for f in (whole, parts))
    assert all(torch.equal(found["state_dict"][key], value) for key, value in expected["state_dict"].items())
