"""A signal at any moment of training: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from conformance.test_laboratory import settings
from curves import curves
from lightning import Callback

from genmodels.experiment import Experiment
from genmodels.runs import read_checkpoint
from genmodels.signals import SIGNALS, Interrupted

WORDS = (
    "data.val_size=8", "data.eval_batch_size=4", "callbacks.average.decay=0.5", "budget.max_batches=9", "validations=3",
    "trainer.log_every_n_steps=1",
)  # fmt: skip
HOOKS = {
    "in a batch": "on_train_batch_start",
    "between two optimizers' steps": "on_step",
    "after a batch": "on_train_batch_end",
    "before a validation": "on_validation_start",
    "in a validation": "on_validation_batch_end",
    "after a validation": "on_validation_end",
}


class Kill(Callback):
    """Sends a signal to this process in one hook of one batch."""

    def __init__(self, signum, batch, hook):
        self.signum, self.batch = signum, batch
        setattr(self, hook, self.kill)

    def on_train_start(self, trainer, pl_module):
        trainer.optimizers[-1].register_step_pre_hook(lambda *_: self.on_step(trainer, pl_module))

    def on_step(self, trainer, pl_module):
        """Before the step of the last optimizer."""

    def kill(self, trainer, pl_module, *_):
        if pl_module.batches == self.batch:
            os.kill(os.getpid(), self.signum)


@pytest.fixture(autouse=True)
def heard():
    """Background jobs are started to ignore some signals."""
    before = {signum: signal.signal(signum, signal.default_int_handler) for signum in SIGNALS}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    Experiment.assemble(settings("gan", "points", folder, *WORDS)).fit()
    return folder


CASES = [(signal.SIGTERM, batch, hook) for batch in (4, 6, 9) for hook in HOOKS if batch != 4 or "valid" not in hook]
CASES += [(signum, 5, "between two optimizers' steps") for signum in SIGNALS]


@pytest.mark.parametrize(("signum", "batch", "when"), CASES)
def test_an_interrupted_run_resumes_as_if_it_had_not_been(signum, batch, when, whole, tmp_path):
    before = signal.getsignal(signum)
    experiment = Experiment.assemble(settings("gan", "points", tmp_path, *WORDS))
    experiment.trainer.callbacks.append(Kill(signum, batch, HOOKS[when]))
    with pytest.raises(Interrupted) as stop:
        experiment.fit()
    assert stop.value.exit_status == 128 + signum and experiment.budget.spent["batches"] == batch
    assert signal.getsignal(signum) == before
    Experiment.assemble(settings("gan", "points", tmp_path, *WORDS)).fit(resume=True)

    expected, found = (read_checkpoint(f / "run" / "checkpoints" / "last.ckpt") for f in (whole, tmp_path))
    assert all(torch.equal(found["state_dict"][key], value) for key, value in expected["state_dict"].items())
    assert curves(tmp_path / "run") == curves(whole / "run")
