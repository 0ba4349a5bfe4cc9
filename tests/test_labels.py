"""A run on data with labels, from training to samples of a label."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conformance.kinds import tiny

import genmodels
from genmodels.builder import build
from genmodels.cli import main
from genmodels.core import DataSpec
from genmodels.data import DataModule
from genmodels.errors import UserError
from genmodels.launch import compose
from genmodels.runs import config_hash, read_checkpoint

RUN = [
    "data=digits", "data.limit=40", "data.batch_size=8", "data.val_size=8", "budget.max_batches=3", "validations=1",
    "scheduler=none", "callbacks.samples.n=25", "metrics=[likelihood,label_accuracy,memorization,reconstruction]",
    "trainer.accelerator=cpu", "trainer.log_every_n_steps=1",
]  # fmt: skip
TRAINED = ("gan", "ddpm")  # a game, and a model with every context of labels
OF_MODEL = {"ddpm": ["model.label_dropout=0.2", "model.guidance=1.0"]}


def words(name, folder, *more):
    return [f"model={name}", *tiny(name), *RUN, "data.labels=true", *OF_MODEL.get(name, []), f"run_dir={folder}", *more]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each."""
    folder = tmp_path_factory.mktemp("labels")
    return {name: genmodels.train(*words(name, folder / name)) for name in TRAINED}


@pytest.mark.parametrize("name", TRAINED)
def test_likelihoods_have_a_name_of_their_own_and_other_metrics_decline(name, runs):
    run = runs[name]
    likelihood = set() if name == "gan" else {"bits_per_dim_given_label"}
    assert set(run.scores) == {*likelihood, "label_accuracy_digits_40", "nearest_ratio_40", "copies_40"}
    assert run.scores["label_accuracy_digits_40"].protocol["real"] > 0.8
    assert "data.labels=true" in run.refusals["reconstruction"] or name == "gan"
    monitored = {"val/energy_distance"} if name == "gan" else {"val/bits_per_dim_given_label"}
    assert monitored <= set(json.loads((run.path / "run.json").read_text())["validation"])


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_samples_of_a_label_and_of_all(name, runs):
    run, spec = runs[name], DataSpec((1, 8, 8), 17)
    drawn = genmodels.sample(run, 12)
    spec.check(drawn.x)
    assert len(set(drawn.sets.labels(12).tolist())) > 3
    one = genmodels.sample(run, 5, label=3)
    assert one.sets.labels(5).tolist() == [3] * 5 and one.protocol["sampling"]["label"] == 3
    model = genmodels.load(run)
    y = build(compose([*RUN, "data.labels=true"]).data, "data", DataModule).given_labels("train")
    assert torch.equal(model.label_frequencies, torch.bincount(y, minlength=10) / 40)
    torch.manual_seed(0)
    with model.given(torch.arange(10)):
        expected = model.sample(10)
    other = genmodels.load(genmodels.export(run, run.path.parent / f"{name}_export"))
    torch.manual_seed(0)
    card = (run.path.parent / f"{name}_export" / "README.md").read_text()
    assert "model.given(" in card and f"| {run.model} given labels |" in card
    with other.given(torch.arange(10)):
        assert torch.equal(other.sample(10), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_resumed_equals_uninterrupted(name, runs, tmp_path):
    run = genmodels.train(*words(name, tmp_path / "run", "budget.max_batches=2"))
    again = genmodels.resume(run, "budget.max_batches=3")
    states = [read_checkpoint(each.path / "checkpoints" / "last.ckpt")["state_dict"] for each in (runs[name], again)]
    assert states[0].keys() == states[1].keys() and "label_frequencies" in states[0]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_stored_samples_keep_their_labels(runs, tmp_path):
    run = runs["ddpm"]
    stored = np.load(run.path / "samples" / "drawn.npz")
    assert stored["y"].shape == (40,)
    again = genmodels.evaluate(run, metrics=["label_accuracy"], samples=run.path / "samples" / "drawn.npz")
    assert again.scores["label_accuracy_digits_40"].value == run.scores["label_accuracy_digits_40"].value
    main(["sample", f"run={run.path}", "n=3", "label=7", f"out={tmp_path / 'x.npz'}"])
    assert np.load(tmp_path / "x.npz")["y"].tolist() == [7] * 3
    led = genmodels.evaluate(run, "model.guidance=4.0", metrics=["label_accuracy"])
    assert "label_accuracy_digits_40[model.guidance=4.0]" in led.scores


@pytest.mark.parametrize(("label", "sentence"), [("10", "label must be from 0 to 9, got 10"), ("x", "integer")])
def test_labels_that_do_not_exist_are_refused(label, sentence, runs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["sample", f"run={runs['gan'].path}", f"label={label}", f"out={tmp_path / 'x.png'}"])
    assert sentence in capsys.readouterr().err


def test_of_a_run_without_labels_there_is_none_to_choose(tmp_path):
    run = genmodels.train(*(word for word in words("vae", tmp_path / "run") if word != "data.labels=true"))
    assert "label_accuracy" in run.refusals and "bits_per_dim" in run.scores
    with pytest.raises(UserError, match=r"label=3 needs a model of labels: train VAE with data\.labels=true"):
        genmodels.sample(run, 3, label=3)
    state = read_checkpoint(run.path / "checkpoints" / "last.ckpt")
    assert "given" not in json.loads((run.path / "run.json").read_text())
    assert not [key for key in state["state_dict"] if "label" in key]
    assert state["genmodels"] == {"model": "VAE", "shape": [1, 8, 8], "levels": 17}


def test_models_without_labels_refuse_them_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"model: MAF takes no labels, gan, .* do; set data\.labels=false"):
        genmodels.train("model=maf", *RUN, "data.labels=true", f"run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_samples_made_elsewhere_are_given_no_labels(runs, tmp_path):
    with pytest.raises(UserError, match=r"data\.labels=true is for models that are trained here"):
        genmodels.score(runs["gan"].path / "samples" / "drawn.npz", "Mine", *RUN[:1], "data.labels=true")


def test_runs_that_do_not_use_labels_are_the_experiments_that_they_were():
    config = compose(["model=ddpm", "data=digits", "run_dir=x"])
    before = compose(["model=ddpm", "data=digits", "run_dir=x"])
    for key in ("data.labels", "data.classes", "data.spec.classes", "model.label_dropout", "model.guidance"):
        parent, _, name = key.rpartition(".")
        node = before
        for part in parent.split("."):
            node = node[part]
        before._set_flag("struct", False)
        del node[name]
    assert config_hash(config) == config_hash(before)
    assert config_hash(config) != config_hash(compose(["model=ddpm", "data=digits", "run_dir=x", "data.labels=true"]))
