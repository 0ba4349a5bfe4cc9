"""Exports: a folder with a model's weights, config, scores and a card, which takes the place of its run."""

from __future__ import annotations

import json

import pytest
import torch
from conformance.kinds import MODELS
from conformance.test_laboratory import settings
from safetensors.torch import load_file, save_file

import genmodels
from genmodels.cli import main
from genmodels.core.abilities import Samples
from genmodels.errors import UserError
from genmodels.experiment import run

PARTS = {"README.md", "config.yaml", "model.safetensors", "run.json", "samples"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    run(settings("vae", "gray images", folder, "budget.max_batches=4", "logger=csv"))
    return folder / "run"


@pytest.fixture
def exported(trained, tmp_path):
    return genmodels.export(trained, tmp_path / "model")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_equal_samples_for_equal_seeds(name, tmp_path):
    run(settings(name, "gray images", tmp_path))
    genmodels.export(tmp_path / "run", tmp_path / "model")
    own, other = genmodels.load(tmp_path / "run"), genmodels.load(tmp_path / "model")
    assert all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), other.state_dict().values(), strict=True))
    if isinstance(own, Samples):
        torch.manual_seed(1)
        expected = own.sample(3)
        torch.manual_seed(1)
        assert torch.equal(other.sample(3), expected)


def test_it_takes_the_place_of_the_run(trained, exported):
    assert {path.name for path in exported.iterdir()} == PARTS
    assert torch.equal(genmodels.sample(trained, 5).x, genmodels.sample(exported, 5).x)
    before = genmodels.compare(exported).runs[0].scores["bits_per_dim"]
    assert genmodels.evaluate(exported).scores["bits_per_dim"].value == pytest.approx(before.value, abs=1e-6)
    with pytest.raises(UserError, match="is an export, without what training needs"):
        genmodels.resume(exported)


def test_it_tells_nothing_of_the_machine(trained, exported):
    home = str(trained.parent)
    words = "".join((exported / name).read_text() for name in ("README.md", "config.yaml", "run.json"))
    assert str(trained) not in words and home in (trained / "config.yaml").read_text()


def test_the_card_has_scores_with_kinds_and_protocols(trained, exported):
    card = (exported / "README.md").read_text()
    score = genmodels.compare(trained).runs[0].scores["bits_per_dim"]
    assert "# VAE on npz" in card and f"≤ {score.value:.3f}" in card
    assert '"importance_samples": 1' in card and "averaged weights" in card


def test_raw_weights_have_no_scores_of_averaged_ones(trained, tmp_path):
    main(["export", f"run={trained}", f"out={tmp_path / 'raw'}", "weights=raw"])
    assert json.loads((tmp_path / "raw" / "run.json").read_text())["metrics"] == {}
    own, other = genmodels.load(trained, weights="raw"), genmodels.load(tmp_path / "raw", weights="raw")
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters(), strict=True))
    with pytest.raises(UserError, match="holds raw weights, not ema; write weights=raw"):
        genmodels.load(tmp_path / "raw")


def test_a_folder_with_files_is_left_alone(trained, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="exists already; name another"):
        genmodels.export(trained, tmp_path)
    with pytest.raises(UserError, match=r"make .*nowhere first"):
        genmodels.export(trained, tmp_path / "nowhere" / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_altered_weights_are_refused(exported):
    file = exported / "model.safetensors"
    tensors = load_file(file)
    save_file(tensors, file, {"weights": "ema"})
    with pytest.raises(UserError, match="has changed since it was saved"):
        genmodels.load(exported)
    record = json.loads((exported / "run.json").read_text())
    (exported / "run.json").write_text(json.dumps(record | {"checkpoints": {}}))
    with pytest.raises(UserError, match="is of another program, not of VAE"):
        genmodels.load(exported)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        genmodels.load(exported)


@pytest.mark.parametrize("words", [[], ["out=x", "weights=best"], ["out=x", "seed=1"]], ids=" ".join)
def test_bad_words(trained, words, capsys):
    with pytest.raises(SystemExit):
        main(["export", f"run={trained}", *words])
    assert len(capsys.readouterr().err.splitlines()) == 1
