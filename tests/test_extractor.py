"""A classifier of a user's own labelled data: trained by a command, kept by the name of the data, taken by metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import genmodels
from genmodels.builder import build
from genmodels.cli import main
from genmodels.composition import compose
from genmodels.data import DataModule
from genmodels.files import sha256
from genmodels.metrics import train_classifier as training
from genmodels.metrics.classifier_files import read, write

SHAPE = (1, 8, 8)
SMALL = {"epochs": 60, "features": 16}


def archive(path, **changed):
    """Images of two classes: the left half is bright, or the right."""
    y = np.arange(200) % 2
    x = np.random.default_rng(0).integers(100, size=(200, *SHAPE))
    for side in (0, 1):
        x[y == side, :, :, 4 * side : 4 * side + 4] += 100
    arrays = {"x": x, "y": y} | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return x


def words(folder, name="halves"):
    """The data options of a run."""
    return [
        "data=npz", f"data.name={name}", f"data.source.path={folder / 'own.npz'}", "data.source.test_size=70",
        "data.spec.shape=[1,8,8]", "data.spec.levels=256", f"data.root={folder / 'root'}",
    ]  # fmt: skip


def kept(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "own.npz"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with data and their classifier."""
    folder = tmp_path_factory.mktemp("trained")
    archive(folder / "own.npz")
    path = genmodels.train_extractor(*words(folder), **SMALL)
    assert path == folder / "root" / "extractors" / "halves.safetensors" and kept(folder) == [path]
    return folder


def test_its_file_says_how_it_was_made_and_how_good_it_is(trained):
    found = read(trained / "root" / "extractors" / "halves.safetensors")
    data = build(compose(words(trained)).data, "data", DataModule)
    measured = training.accuracy(found.network, *training.examples(data, "test"))
    assert found.test_accuracy == pytest.approx(measured, abs=1e-6) and measured > 0.95
    assert found.metadata["test_n"] == "70" and found.metadata["data_sha256"] == data.sha256
    assert found.metadata["command"].startswith("genmodels extractor data=npz data.name=halves ")
    assert found.metadata["command"].endswith(" epochs=60 features=16")
    assert found.label_smoothing == float(found.metadata["label_smoothing"]) == 0.1


def test_metrics_take_it_by_the_name_of_the_data(trained, tmp_path):
    np.savez(tmp_path / "samples.npz", archive(tmp_path / "unused.npz")[:140].astype(np.uint8))
    run = genmodels.score(
        tmp_path / "samples.npz", "Own", *words(trained), f"run_dir={tmp_path / 'run'}",
        metrics=["fd", "kd", "prdc", "recognized", "inception_score"],
    )  # fmt: skip
    assert {f"{name}_halves_70" for name in ("fd", "kd", "recall", "recognized", "is")} <= set(run.scores)
    assert run.scores["recognized_halves_70"].value > 0.8
    protocol = run.scores["recognized_halves_70"].protocol
    assert protocol["extractor"] == f"halves-classifier@{sha256(next(trained.rglob('halves.safetensors')))[:12]}"
    assert protocol["label_smoothing"] == 0.1 and protocol["classifier_test_accuracy"] > 0.95


def test_vectors_of_any_scale_may_have_labels_too(tmp_path):
    y = np.arange(200) % 3
    archive(tmp_path / "own.npz", x=np.random.default_rng(0).normal(size=(200, 4)) + 1000 * y[:, None], y=y)
    over = ["data.spec.shape=[4]", "data.spec.levels=null"]
    assert read(genmodels.train_extractor(*words(tmp_path), *over, **SMALL)).test_accuracy > 0.95


def test_label_smoothing_is_that_of_the_file(trained, tmp_path):
    found = read(trained / "root" / "extractors" / "halves.safetensors")
    write(found.network, tmp_path / "other.safetensors", found.metadata | {"label_smoothing": "0.02"})
    assert read(tmp_path / "other.safetensors").label_smoothing == 0.02


def test_it_is_not_replaced(trained, capsys):
    before = kept(trained)
    with pytest.raises(SystemExit):
        main(["extractor", *words(trained)])
    assert "halves.safetensors exists already; remove it to train another one" in capsys.readouterr().err
    assert kept(trained) == before


REFUSED = {
    "no labels": ({"y": None}, [], "'halves' has no labels"),
    "one class": ({"y": np.zeros(200, int)}, [], "'halves' has a single class"),
    "no name": ({}, ["data.name=npz"], "'npz' says how the data are stored; name them: data.name=..."),
    "a name that is taken": ({}, ["data.name=mnist"], "the package has a classifier of 'mnist'"),
    "a model": ({}, ["model=vae"], "model=vae has no effect on a classifier of data"),
    "no epochs": ({}, ["epochs=0"], "epochs must be a positive integer, got 0"),
    "too many": ({}, ["features=1000000"], "features must be an integer from 1 to"),
    "no path": ({}, ["data.source.path=???"], "data.source.path must be given"),
    "a folder that is a file": ({}, ["data.root=FOLDER/own.npz"], "own.npz cannot be written; set data.root"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_learned_is_refused_in_a_sentence_before_anything_is_trained(
    case, tmp_path, monkeypatch, capsys
):
    changed, further, sentence = REFUSED[case]
    monkeypatch.setattr(training, "train", lambda *_: pytest.fail("trained"))
    archive(tmp_path / "own.npz", **changed)
    with pytest.raises(SystemExit):
        main(["extractor", *words(tmp_path), *(word.replace("FOLDER", str(tmp_path)) for word in further)])
    (error,) = capsys.readouterr().err.splitlines()
    assert sentence in error and kept(tmp_path) == []


def test_killed_in_the_middle_it_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(iterable, *_):
        yield next(iter(iterable))
        raise KeyboardInterrupt

    archive(tmp_path / "own.npz")
    monkeypatch.setattr(training, "track", interrupted)
    with pytest.raises(KeyboardInterrupt):
        genmodels.train_extractor(*words(tmp_path), **SMALL)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, None], ids=["empty", "garbage", "without metadata"])
def test_a_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "x.safetensors"
    if content is None:
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(genmodels.UserError, match=r"x\.safetensors cannot be read as a classifier \(.+\); remove it"):
        read(path)
