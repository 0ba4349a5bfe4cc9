"""Exports on the Hugging Face Hub, whose client is replaced by one that copies a folder, or fails."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import sys
from types import ModuleType

import pytest
import torch
from conformance.test_laboratory import settings

import genmodels
from genmodels import hub
from genmodels.cli import main
from genmodels.errors import UserError
from genmodels.experiment import run

PICKLE = b"cos\nsystem\n(S'touch hacked'\ntR."


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    run(settings("vae", "gray images", folder))
    return genmodels.export(folder / "run", folder / "model")


@pytest.fixture
def repository(exported, tmp_path):
    """What somebody has uploaded: an export, and more."""
    folder = shutil.copytree(exported, tmp_path / "repository")
    (folder / "checkpoints").mkdir()
    for name in ("pytorch_model.bin", "checkpoints/last.ckpt", "modeling.py"):
        (folder / name).write_bytes(PICKLE)
    return folder


@pytest.fixture
def fake(repository, tmp_path, monkeypatch):
    """The client: it links what is asked for into its cache, as the real one does; returns the calls."""
    calls = []

    def snapshot_download(name, *, revision, allow_patterns):
        calls.append((name, revision))
        folder = tmp_path / "cache" / "snapshots" / "0123456789abcdef"
        shutil.rmtree(folder, ignore_errors=True)
        for file in (path for path in repository.rglob("*") if path.is_file()):
            place = file.relative_to(repository).as_posix()
            if any(fnmatch.fnmatch(place, pattern) for pattern in allow_patterns):
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).symlink_to(file)
        return str(folder)

    module = ModuleType("huggingface_hub")
    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setattr(hub, "find_spec", lambda name: name)
    monkeypatch.chdir(tmp_path)
    return calls


def test_an_export_on_the_hub_is_loaded(fake, exported):
    models = [genmodels.load(place) for place in (exported, "hf://user/name", "hf://user/name@v1.0")]
    samples = []
    for model in models:
        torch.manual_seed(0)
        samples.append(model.sample(3))
    assert all(torch.equal(samples[0], each) for each in samples)
    assert fake == [("user/name", None), ("user/name", "v1.0")]


def test_the_commands_take_a_copy_to_which_scores_are_added(fake, exported, tmp_path):
    main(["sample", "run=hf://user/name", "n=3", "out=x.npz"])
    assert genmodels.sample("hf://user/name", 3).x.equal(genmodels.sample(exported, 3).x)
    (folder,) = (tmp_path / "runs" / "hub").iterdir()
    assert folder.name == "user_name_0123456789ab"
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {os.path.basename(name) for name in hub.FILES}
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_nothing_of_a_strangers_repository_is_executed(fake, repository, tmp_path):
    config = (repository / "config.yaml").read_text()
    (repository / "config.yaml").write_text(config.replace("genmodels.models.vae.VAE", "os.system"))
    record = json.loads((repository / "run.json").read_text())
    (repository / "run.json").write_text(json.dumps({**record, "config_sha256": None} | {"config_sha256": []}))
    with pytest.raises(UserError):
        genmodels.load("hf://user/name")
    del record["config_sha256"]
    (repository / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"_target_=os\.system is refused"):
        genmodels.load("hf://user/name")
    assert not (tmp_path / "hacked").exists()


def test_a_repository_of_something_else(fake, repository):
    (repository / "run.json").unlink()
    with pytest.raises(UserError, match=r"^hf://user/name holds no export of genmodels: it has no run\.json\.$"):
        genmodels.load("hf://user/name")


@pytest.mark.parametrize("name", ["name", "user/name/more", "user/name@", "user/..", "user name/x", ""])
def test_names_that_are_none(fake, name):
    with pytest.raises(UserError, match=r"is not of the form hf://USER/NAME or hf://USER/NAME@REVISION\.$"):
        genmodels.load(f"hf://{name}")
    assert not fake


class RepositoryNotFoundError(OSError):
    """Of the hub's name."""


class LocalEntryNotFoundError(FileNotFoundError):
    """Of the hub's name."""


FAILURES = {
    "there is no such repository, or it is private": RepositoryNotFoundError("404 Client Error.\nRequest ID: x"),
    "the hub cannot be reached, and there is no copy in its cache": LocalEntryNotFoundError("offline"),
    "the hub cannot be reached": ConnectionError("x"),
    "some reason": ValueError("some\nreason."),
}


@pytest.mark.parametrize("reason", FAILURES)
def test_why_it_cannot_be_had_is_said_in_a_sentence(fake, reason, monkeypatch):
    def fail(*_, **__):
        raise FAILURES[reason]

    monkeypatch.setattr(sys.modules["huggingface_hub"], "snapshot_download", fail)
    with pytest.raises(UserError) as caught:
        genmodels.load("hf://user/name")
    assert str(caught.value) == f"hf://user/name cannot be downloaded: {reason}."


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed: pip install 'genmodels\[hub\]'$"):
        genmodels.load("hf://user/name")
