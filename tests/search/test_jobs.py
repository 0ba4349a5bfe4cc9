"""Jobs of a search: real trainings, started by train.py in this process."""

from __future__ import annotations

import json

import pytest
from conformance.kinds import model_on
from lightning import Trainer
from omegaconf import OmegaConf

from genmodels import callbacks as cb
from genmodels.core import DataSpec
from genmodels.metrics.features import FeatureEvaluation
from genmodels.runs.values import value
from genmodels.search.results import Searched

TINY = ("data=gaussian", "data.limit=40", "data.batch_size=20", "callbacks=[]", "metrics=[likelihood]", "model=vae",
        "model.encoder.width=4", "model.decoder.width=4", "budget.max_batches=4", "validations=2",
        "trainer.accelerator=cpu")  # fmt: skip


@pytest.fixture
def command(train_py):
    """A function that runs train.py in this process and returns status, standard output and standard error."""
    return lambda *words: train_py(*words, *TINY)


@pytest.mark.slow
def test_a_search_trains_by_validation_and_scores_the_best_on_test(command, tmp_path):
    words = ("-m", "hparams_search=optuna", f"hydra.sweep.dir={tmp_path}", "model.latent_dim=choice(1,2)",
             "model.optimizer.lr=choice(1e-3,-1)", "hydra/sweeper/sampler=grid")  # fmt: skip
    status, out, err = command(*words)
    assert status == 1, err  # as any sweep of which a job was refused
    found = Searched.read(tmp_path)
    assert found.summary in out and "2 finished, 2 failed" in found.summary
    assert out.count("Invalid learning rate: -1") == 1  # of both, at the end
    records = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("*/run.json")}
    (best,) = [name for name, record in records.items() if record["metrics"]]
    assert records[best]["metrics"]["nats"]["protocol"]["trials"] == 4
    values = {name: record["validation"]["val/nats"] for name, record in records.items()}
    assert values[best] == min(values.values())
    assert "best of 4 trials" in out and (tmp_path / "report.html").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/checkpoints/*.ckpt")}
    assert command(*words)[0] == 0  # nothing is left to do
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/checkpoints/*.ckpt")}


def test_a_run_without_a_test_is_scored_by_the_same_command_with_one(command, tmp_path):
    folder = f"run_dir={tmp_path / 'run'}"
    assert command(folder, "test=false")[0] == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished" and record["metrics"] == {} and record["tested"] is False
    assert command(folder, "test=false")[1].count("skipped") == 1
    curves = (tmp_path / "run" / "metrics.csv").read_bytes()
    status, out, err = command(folder)
    assert status == 0, err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["tested"] is True and "nats  >= " in out and "evaluation_seconds" in record["cost"]
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == curves
    assert "skipped" in command(folder)[1]


KEY = "hydra.sweeper.n_tr"
BAD = {
    "sampler": (["hydra/sweeper/sampler=tep"], "unknown hydra/sweeper/sampler 'tep'; did you mean 'tpe'?"),
    "pruner": (["hydra/sweeper/pruner=medain"], "unknown hydra/sweeper/pruner 'medain'; did you mean 'median'?"),
    "sweeper": (["hydra/sweeper=optun"], "unknown hydra/sweeper 'optun'; did you mean 'optuna'?"),
    "key": (["hydra.sweeper.n_trails=3"], f"unknown key '{KEY}ails'; did you mean '{KEY}ials'?"),
    "failure value": (["failure_value=null"], "failure_value must be a finite number, got null."),
    "objective": (["objective=val/natz"], "objective=val/natz is no validation value; did you mean 'val/nats'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_refused_search_is_one_sentence_and_leaves_nothing(case, command, tmp_path):
    words, sentence = BAD[case]
    status, _, err = command("-m", "hparams_search=optuna", f"hydra.sweep.dir={tmp_path / 'sweep'}", *words)
    assert status == 1 and err == f"error: {sentence}\n"
    assert not (tmp_path / "sweep").exists()


class Report:
    """Notes what it is told, and finds the trial hopeless from some validation on."""

    def __init__(self, hopeless):
        self.hopeless, self.told = hopeless, []

    def __call__(self, step, found):
        self.told.append(step)
        return step >= self.hopeless


@pytest.mark.parametrize(("hopeless", "batches", "pruned"), [(2, 4, True), (5, 10, False), (9, 10, False)])
def test_a_hopeless_trial_ends_after_the_validation_that_shows_it(hopeless, batches, pruned, tmp_path):
    from genmodels.experiment import Experiment
    from genmodels.launch import compose

    small = [word for word in TINY if not word.startswith(("budget", "validations"))]
    config = compose([*small, "budget.max_batches=10", "validations=5", f"run_dir={tmp_path}", "logger=[]"])
    experiment = Experiment.assemble(config)
    trainer: Trainer = experiment.trainer
    report = Report(hopeless)
    prune = cb.Prune(report, "val/nats", experiment.callback(cb.Validate), experiment.budget)
    trainer.callbacks.insert(-2, prune)
    experiment.fit()
    assert experiment.budget.spent["batches"] == batches and experiment.pruned is pruned
    assert report.told == list(range(1, batches // 2 + 1))
    assert set(experiment.callback(cb.Checkpoint).values) == {"val/nats"}


@pytest.mark.parametrize("name", ["fd", "kd", "prdc", "inception_score", "recognized"])
def test_a_metric_knows_the_names_of_its_scores(name):
    from genmodels.builder import build
    from genmodels.data import DataModule
    from genmodels.launch import compose
    from genmodels.metrics import SampleSets, Subject

    config = compose([f"metrics=[{name}]", "data=digits", "data.limit=80"])
    metric: FeatureEvaluation = build(next(iter(config.metrics.values())), "metrics", FeatureEvaluation)
    data = build(config.data, "data", DataModule)
    data.setup()
    model = model_on("vae", DataSpec((1, 8, 8), 17))
    metric.n = 70
    found = metric.quick(Subject(model, data, SampleSets(model, 0), 0, None))
    assert list(found) == metric.names(data, 70)


def test_the_value_of_a_run_is_a_validation_value_a_cost_or_a_score():
    record = {"validation": {"val/nats": 2}, "cost": {"train_seconds": 3}, "metrics": {"nats": {"value": 4}}}
    names = ("val/nats", "cost.train_seconds", "test/nats", "nats", "val/fd", "cost.x", "fd")
    assert [value(record, name) for name in names] == [2, 3, 4, 4, None, None, None]


def test_the_place_of_a_trial_does_not_define_the_experiment():
    from genmodels.launch import compose
    from genmodels.runs import config_hash

    words = ([], ["trial.number=3", "trial.storage=/x"], ["test=false"], ["objective=[val/nats]"])
    configs = [OmegaConf.merge(compose(own), {"run_dir": "/run"}) for own in words]
    assert len({config_hash(config) for config in configs}) == 1
