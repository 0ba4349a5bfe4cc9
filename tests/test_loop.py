"""The lean loop over batches: for callbacks, loggers and checkpoints it is Lightning's own."""

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from genmodels.composition import compose
from genmodels.experiment import Experiment
from genmodels.loop import EpochLoop

OVERRIDES = ["data=gaussian", "debug=fast", "metrics=[]", "callbacks.samples=null", "budget.max_batches=7"]
EVENTS = [
    "on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_train_batch_end", "on_train_epoch_end",
    "on_validation_start", "on_validation_end", "on_train_end",
]  # fmt: skip


class Witness(Callback):
    """Writes down every event with the state that a callback can see."""

    def __init__(self):
        self.seen = []

    def note(self, name, trainer, model, *args):
        numbers = [a for a in args if isinstance(a, int)]
        tensors = [float(a.double().sum()) for a in args if isinstance(a, torch.Tensor)]
        outputs = [float(a["loss"]) for a in args if isinstance(a, dict)]
        progress = trainer.fit_loop.epoch_loop.batch_progress
        state = (trainer.global_step, trainer.current_epoch, trainer.is_last_batch, model.batches, model.training)
        self.seen.append((name, numbers, tensors, outputs, state, progress.state_dict(), model._current_fx_name))
        if name == "on_train_batch_end":
            model.log("mine", args[0]["loss"])
            self.seen.append(sorted(trainer.callback_metrics))


for event in EVENTS:
    setattr(Witness, event, lambda self, *args, event=event: self.note(event, *args))


def run(folder, words, loop, *callbacks):
    experiment = Experiment.assemble(compose([*OVERRIDES, *words, f"run_dir={folder}"]))
    trainer = experiment.trainer
    assert type(trainer.fit_loop.epoch_loop) is EpochLoop
    if loop is not EpochLoop:
        trainer.fit_loop.epoch_loop = loop(trainer)
    trainer.callbacks[:0] = callbacks
    experiment.fit()
    return experiment


def weights(experiment):
    return torch.cat([p.detach().flatten() for p in experiment.model.parameters()])


@pytest.mark.parametrize("words", [["model=vae"], ["model=gan"], ["model=vae", "trainer.accumulate_grad_batches=2"]])
def test_callbacks_see_what_lightning_s_own_loop_shows_them(words, tmp_path):
    lean, stock = Witness(), Witness()
    a, b = run(tmp_path / "a", words, EpochLoop, lean), run(tmp_path / "b", words, _TrainingEpochLoop, stock)
    assert lean.seen == stock.seen and len(lean.seen) > 7
    assert torch.equal(weights(a), weights(b))
    states = [torch.load(x.folder.checkpoint("last.ckpt"), weights_only=True) for x in (a, b)]
    assert states[0]["loops"]["fit_loop"] == states[1]["loops"]["fit_loop"]
    assert states[0]["global_step"] == states[1]["global_step"] > 0
    assert a.model.direct_optimizers is None  # after training


@pytest.mark.parametrize("hook", ["on_before_backward", "on_after_backward", "on_before_optimizer_step"])
def test_hooks_of_the_step_are_called_where_somebody_has_them(hook, tmp_path):
    calls = []
    spy = LambdaCallback()
    setattr(spy, hook, lambda *_: calls.append(hook))
    run(tmp_path, ["model=vae"], EpochLoop, spy)
    assert len(calls) == 7


def test_a_callback_that_joins_during_an_epoch_is_heard(tmp_path):
    calls = []

    class Late(Callback):
        def on_train_batch_end(self, trainer, *_):
            calls.append(trainer.fit_loop.epoch_loop.batch_idx)

    class Door(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if pl_module.batches == 3:
                trainer.callbacks = [*trainer.callbacks, Late()]

    run(tmp_path, ["model=vae"], EpochLoop, Door())
    assert len(calls) >= 4


def test_a_profiler_sees_every_action(tmp_path):
    found = run(tmp_path, ["model=vae", "+trainer.profiler=simple"], EpochLoop).trainer.profiler
    assert len(found.recorded_durations["run_training_batch"]) == 7
