"""Sample quality during training: of the averaged weights, against training data."""

from __future__ import annotations

import csv

import pytest
import torch
from conformance.test_laboratory import settings

from genmodels.callbacks import Quality, WeightAverage
from genmodels.errors import UserError
from genmodels.experiment import Experiment, run
from genmodels.launch import compose
from genmodels.metrics import FrechetEvaluation, InDomainClassifier, SampleSets
from genmodels.runs import RunFolder

SMALL = ("data.limit=200", "callbacks=quality", "callbacks.quality.n=80", "budget.max_batches=6", "validations=3",
         "metrics=[]", "callbacks.samples=null", "trainer.accelerator=cpu", "model.generator.width=8",
         "model.discriminator.width=8")  # fmt: skip


def on_digits(folder, *words):
    return compose(["model=gan", *SMALL, f"run_dir={folder}", *words])


def column(folder, name):
    with (folder / "metrics.csv").open() as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


def test_best_is_by_the_metric_that_the_config_names_and_the_record_says_so(tmp_path):
    run(on_digits(tmp_path, "checkpoint.monitor=val/fd_digits_80"))
    found = column(tmp_path, "val/fd_digits_80")
    assert list(found) == [2, 4, 6]
    best = RunFolder(tmp_path).read()["best"]
    assert best["monitor"] == "val/fd_digits_80" and best["value"] == pytest.approx(min(found.values()), rel=1e-6)
    assert best["batches"] == min(found, key=found.get)
    assert (tmp_path / "checkpoints" / "best.ckpt").exists()


def test_the_value_is_that_of_the_averaged_weights_and_no_test_example_is_read(tmp_path, monkeypatch):
    experiment = Experiment.assemble(on_digits(tmp_path, "callbacks.quality.every=3"))
    split = experiment.data.split
    monkeypatch.setattr(experiment.data, "split", lambda name, *n: pytest.fail() if name == "test" else split(name, *n))
    experiment.fit()
    found = column(tmp_path, "val/fd_digits_80") if (tmp_path / "metrics.csv").exists() else {}
    for logger in experiment.trainer.loggers:
        logger.finalize("success")
    found = column(tmp_path, "val/fd_digits_80")
    assert list(found) == [6]
    average = next(c for c in experiment.trainer.callbacks if isinstance(c, WeightAverage)).average
    with torch.no_grad():
        for name, parameter in experiment.model.named_parameters():
            parameter.copy_(average[name])
    samples = SampleSets(experiment.model.eval(), 0).get(80)
    extractor = InDomainClassifier(experiment.data)
    features, reference = extractor(samples).double(), extractor(experiment.data.train_and_val()).double()
    from genmodels.metrics import frechet_distance

    moments = [(f.mean(0), torch.cov(f.T)) for f in (reference, features)]
    assert found[6] == pytest.approx(frechet_distance(*moments[0], *moments[1]), rel=1e-4)


def test_what_cannot_be_measured_is_refused_before_training(tmp_path):
    with pytest.raises(UserError, match=r"callbacks\.quality\.metrics\.fd: no classifier is shipped for"):
        run(settings("vae", "points", tmp_path, "callbacks=quality"))
    with pytest.raises(ValueError, match="n must be an integer from 2"):
        Quality({"fd": FrechetEvaluation(InDomainClassifier)}, n=1)
    with pytest.raises(ValueError, match="which likelihood does not"):
        Quality({"likelihood": object()})
