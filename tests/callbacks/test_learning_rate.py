"""Learning rates follow the fraction of the budget spent; Lightning's callbacks find the values they monitor."""

from __future__ import annotations

import csv
import math
from types import SimpleNamespace

import pytest
import torch
from conformance.test_laboratory import settings
from lightning import Callback

from genmodels.callbacks import MONITOR, Budget, Cosine, Linear, Plateau
from genmodels.errors import UserError
from genmodels.experiment import Experiment, run
from genmodels.runs import RunFolder, read_checkpoint

EVERY_BATCH = ("trainer.log_every_n_steps=1", "data.val_size=8", "callbacks.samples=null")


def logged(folder, name):
    with (folder / "run" / "metrics.csv").open() as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


@pytest.mark.parametrize("budget", ["budget.max_batches=8", "budget.max_examples=64", "budget.max_epochs=2"])
@pytest.mark.parametrize(
    ("name", "rates"),
    [("vae", {"lr": "optimizer"}), ("gan", {"lr_0": "discriminator_optimizer", "lr_1": "optimizer"})],
    ids=["vae", "gan"],
)
def test_a_schedule_means_the_same_in_every_unit_and_for_every_model(budget, name, rates, tmp_path):
    """32 training examples in batches of 8: four batches per epoch, eight in the budget."""
    words = ("budget.max_batches=null", budget, "scheduler=cosine", "scheduler.warmup=0.25", "scheduler.end=0.1")
    config = settings(name, "points", tmp_path, *EVERY_BATCH, *words)
    run(config)
    shares = [batch / 8 for batch in range(8)]
    wanted = [
        share / 0.25 if share < 0.25 else 0.1 + 0.9 * (1 + math.cos(math.pi * (share - 0.25) / 0.75)) / 2
        for share in shares
    ]
    for rate, optimizer in rates.items():
        found = logged(tmp_path, f"train/{rate}")
        assert list(found) == list(range(1, 9))
        assert list(found.values()) == pytest.approx([config.model[optimizer].lr * f for f in wanted], rel=1e-6)


def test_a_schedule_ends_with_a_budget_that_no_number_of_batches_meets(tmp_path):
    """61 examples in batches of 8 are 8 batches, the last of which begins at 56 and ends beyond the budget."""
    words = ("budget.max_batches=null", "budget.max_examples=61", "scheduler=linear", "scheduler.warmup=0.02")
    config = settings("vae", "points", tmp_path, *EVERY_BATCH, *words, "scheduler.end=0.05", "data.val_size=8")
    experiment = Experiment.assemble(config)
    experiment.fit()
    rates = [rate / config.model.optimizer.lr for rate in logged(tmp_path, "train/lr").values()]
    decay = [(8 * batch / 61 - 0.02) / 0.98 for batch in range(1, 8)]  # the warm-up is over after the first batch
    assert rates == pytest.approx([0.0, *(1 - 0.95 * share for share in decay)], rel=1e-6)
    assert experiment.budget.fraction == 1 and experiment.callback(Linear).factor(1.0) == pytest.approx(0.05)


def test_a_schedule_replaces_the_models_own(tmp_path):
    config = settings("realnvp", "points", tmp_path, *EVERY_BATCH, "scheduler=constant", "budget.max_batches=3")
    run(config)
    assert list(logged(tmp_path, "train/lr").values()) == pytest.approx([config.model.optimizer.lr] * 3)


class StopAt(Callback):
    """Stops training after ``batches`` batches, as Lightning's own callbacks do."""

    def __init__(self, batches):
        self.batches = batches

    def on_train_batch_end(self, trainer, pl_module, *_):
        if pl_module.batches == self.batches:
            trainer.should_stop = True


@pytest.mark.parametrize("stop", [3, 4, 6])
@pytest.mark.parametrize("schedule", ["linear", "plateau"])
def test_a_resumed_run_continues_its_schedule(stop, schedule, tmp_path):
    """Stopped within an epoch, at its end, and between validations of the same budget."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = (*EVERY_BATCH, f"scheduler={schedule}", "callbacks.average.decay=0.5", "budget.max_batches=8")
    for folder in (whole, parts):
        folder.mkdir()
        experiment = Experiment.assemble(settings("gan", "points", folder, *words, "validations=4"))
        if folder is parts:
            experiment.trainer.callbacks.append(StopAt(stop))
        experiment.fit()
    Experiment.assemble(settings("gan", "points", parts, *words, "validations=4")).fit(resume=True)
    expected, found = (read_checkpoint(f / "run" / "checkpoints" / "last.ckpt") for f in (whole, parts))
    assert all(torch.equal(found["state_dict"][key], value) for key, value in expected["state_dict"].items())
    rates = [[s["param_groups"][0]["lr"] for s in each["optimizer_states"]] for each in (expected, found)]
    assert rates[0] == rates[1]


def test_early_stopping_stops_a_run(tmp_path):
    """No improvement is large enough, so that training stops at the second validation, with a patience of one."""
    words = (
        "callbacks=early_stopping",
        "callbacks.early_stopping.min_delta=1e9",
        "callbacks.early_stopping.patience=1",
    )
    run(settings("vae", "points", tmp_path, *words, "budget.max_batches=20", "validations=10"))
    assert RunFolder(tmp_path / "run").read()["cost"]["batches"] == 4


@pytest.mark.parametrize(("name", "first"), [("vae", "optimizer"), ("gan", "discriminator_optimizer")])
def test_a_plateau_lowers_the_rates(name, first, tmp_path):
    words = ("scheduler=plateau", "scheduler.patience=0", "scheduler.reduction=0.5", "scheduler.mode=max")
    config = settings(name, "points", tmp_path, *EVERY_BATCH, *words, "budget.max_batches=6", "validations=6")
    experiment = Experiment.assemble(config)
    plateau = next(c for c in experiment.trainer.callbacks if isinstance(c, Plateau))
    plateau._plateau.best = math.inf  # nothing is ever better
    experiment.fit()
    assert plateau.factor(0.0) == pytest.approx(0.5**6)
    rate = experiment.model.optimizers(use_pl_optimizer=False)
    rate = (rate[0] if isinstance(rate, list) else rate).param_groups[0]["lr"]
    assert rate == pytest.approx(config.model[first].lr * 0.5**5)  # in the last batch, before the last validation


def test_a_monitored_model_checkpoint_of_lightnings_works(tmp_path):
    words = (
        "+callbacks.top._target_=genmodels.callbacks.ModelCheckpoint",
        f"+callbacks.top.monitor={MONITOR}",
        f"+callbacks.top.dirpath={tmp_path / 'top'}",
    )
    run(settings("vae", "points", tmp_path, *words, "budget.max_batches=4", "validations=2"))
    assert list((tmp_path / "top").glob("*.ckpt"))


@pytest.mark.parametrize(
    "words",
    [
        ("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/foo"),
        ("checkpoint.monitor=val/foo",),
        ("scheduler=plateau", "scheduler.monitor=val/foo"),
    ],
)
def test_a_monitored_name_that_is_not_logged_is_refused_with_those_that_are(words, tmp_path):
    with pytest.raises(UserError, match=r"monitors val/foo, which is not logged; logged are val/monitor, val/nats\."):
        run(settings("vae", "points", tmp_path, *words))


@pytest.mark.parametrize("unit", ["batches", "time"])
def test_validations_are_evenly_spaced_over_any_budget(unit, tmp_path, monkeypatch):
    """The clock ticks once per batch, so that a second is a batch."""
    if unit == "time":
        ticks = iter(range(10**6))
        monkeypatch.setattr("genmodels.callbacks.budget.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    words = ("budget.max_batches=null", f"budget.max_{unit}=12", "validations=4")
    run(settings("vae", "points", tmp_path, *words))
    assert list(logged(tmp_path, "val/nats")) == [3, 6, 9, 12]


@pytest.mark.parametrize("schedule", [Linear, Cosine])
def test_schedules_begin_at_one_and_end_at_their_end(schedule):
    made = schedule(Budget(max_batches=1), end=0.2)
    assert (made.factor(0.0), made.factor(1.0)) == pytest.approx((1.0, 0.2))
