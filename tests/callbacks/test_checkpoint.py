"""Checkpoints: complete or absent, the best by validation, none after an error."""

from __future__ import annotations

import errno

import pytest
from conformance.test_laboratory import settings
from lightning import Callback

from genmodels.errors import UserError
from genmodels.experiment import Experiment, run
from genmodels.runs import RunFolder, read_checkpoint


class FullDisk(Callback):
    """From a given batch on, writing a checkpoint fails halfway."""

    def __init__(self, batch, error):
        self.batch, self.error = batch, error

    def on_train_batch_end(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx + 1 == self.batch:

            def fail(path, *args, **kwargs):
                path.write_bytes(b"half")
                raise self.error

            trainer.save_checkpoint = fail


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("[enforce fail] PytorchStreamWriter failed")],
)
def test_a_full_disk_is_reported_and_the_previous_checkpoint_survives(error, tmp_path):
    experiment = Experiment.assemble(settings("vae", "points", tmp_path, "budget.max_batches=4", "validations=2"))
    experiment.trainer.callbacks.insert(0, FullDisk(3, error))
    with pytest.raises(UserError, match=r"last\.ckpt could not be written"):
        experiment.fit()
    folder = tmp_path / "run" / "checkpoints"
    assert not list(folder.glob(".part-*"))
    assert read_checkpoint(folder / "last.ckpt")["callbacks"]["Budget"]["spent"]["batches"] == 2


def test_another_error_is_not_mistaken_for_a_full_disk(tmp_path):
    experiment = Experiment.assemble(settings("vae", "points", tmp_path))
    experiment.trainer.callbacks.insert(0, FullDisk(1, RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        experiment.fit()


def test_best_has_the_lowest_validation_score(tmp_path):
    run(settings("vae", "points", tmp_path, "budget.max_batches=12", "validations=6", "model.optimizer.lr=0.01"))
    folder = RunFolder(tmp_path / "run")
    best = read_checkpoint(folder.checkpoint("best.ckpt"))
    last = read_checkpoint(folder.checkpoint("last.ckpt"))
    assert best["callbacks"]["Checkpoint"]["best_score"] == last["callbacks"]["Checkpoint"]["best_score"]
    protocol = folder.read()["metrics"]["nats"]["protocol"]
    assert protocol["checkpoint"] == "best.ckpt" and protocol["weights"] == "ema" and protocol["seed"] == 0


def test_a_model_without_a_likelihood_has_no_best(tmp_path):
    run(settings("gan", "points", tmp_path))
    folder = RunFolder(tmp_path / "run")
    assert folder.checkpoint().name == "last.ckpt"
    assert not (folder.checkpoints / "best.ckpt").exists()
