"""Artifacts of Weights & Biases in the place of run folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from loggers.records import record
from omegaconf import OmegaConf

import genmodels.loggers.connection as connection
from genmodels.cli import main
from genmodels.composition import check_dashboards
from genmodels.errors import UserError
from genmodels.runs.artifact import downloaded


class Artifact:
    """What wandb's API returns for an artifact, with files staged here."""

    version = "v3"

    def __init__(self, files):
        self.files = files
        self.manifest = SimpleNamespace(entries={name: SimpleNamespace(ref=None, size=1) for name in files})

    def download(self, root):
        for name, source in self.files.items():
            target = Path(root) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


@pytest.fixture
def served(trained, monkeypatch, tmp_path):
    names = ("config.yaml", "run.json", "checkpoints/best.ckpt")
    artifact = Artifact({name: trained[0] / name for name in names})
    asked = []
    monkeypatch.setattr(connection, "obstacle", lambda: None)
    api = SimpleNamespace(artifact=lambda name: asked.append(name) or artifact)
    monkeypatch.setattr("wandb.Api", lambda: api)
    monkeypatch.chdir(tmp_path)
    return artifact, asked


def test_an_artifact_is_evaluated_like_a_folder(served, trained, capsys):
    artifact, asked = served
    main(["evaluate", "run=wandb:team/genmodels/model-VAE_npz-x:best"])
    folder = Path("runs/wandb/team_genmodels_model-VAE_npz-x_v3")
    assert asked == ["team/genmodels/model-VAE_npz-x:best"]
    own, found = (record(each)["metrics"]["bits_per_dim"] for each in (trained[0], folder))
    assert found["value"] == own["value"]
    assert not (folder / "wandb").exists(), "it is a copy, and no run of this user"
    artifact.download = lambda root: pytest.fail("downloaded again")
    assert downloaded("team/genmodels/model-VAE_npz-x") == folder


@pytest.mark.parametrize("name", ["../x", "checkpoints/../../x", "/etc/x", "checkpoints/x.ckpt", ".git/config"])
def test_an_artifact_with_other_files_is_refused(served, name):
    served[0].manifest.entries[name] = SimpleNamespace(ref=None, size=1)
    with pytest.raises(UserError, match="which is no file of a run"):
        downloaded("team/genmodels/x:best")
    assert not Path("runs").exists()


def test_an_artifact_that_refers_elsewhere_or_is_none_of_a_run_is_refused(served):
    served[0].manifest.entries["checkpoints/best.ckpt"].ref = "file:///etc/passwd"
    with pytest.raises(UserError, match="refers to it elsewhere"):
        downloaded("team/genmodels/x:best")
    del served[0].manifest.entries["run.json"]
    with pytest.raises(UserError, match="holds no run"):
        downloaded("team/genmodels/x:best")
    for name in ("x", "a/b/c/d:e", "../a/b:c d"):
        with pytest.raises(UserError, match="is not of the form"):
            downloaded(name)


def test_without_an_account_nothing_is_downloaded():
    with pytest.raises(UserError, match="cannot be downloaded: there is no API key"):
        downloaded("team/genmodels/x:best")


@pytest.mark.parametrize(("key", "value"), [("settings", {"base_url": "http://evil"}), ("save_code", True)])
def test_the_config_of_a_stranger_says_not_how_a_dashboard_is_reached(key, value):
    node = {"_target_": "genmodels.loggers.Wandb", "settings": {}, "save_code": False}
    config = OmegaConf.create({"logger": {"wandb": {**node, key: value}}})
    with pytest.raises(UserError, match=rf"the run's config sets logger.wandb.{key}"):
        check_dashboards(config, [])
    check_dashboards(config, [f"logger.wandb.{key}=x"])
    check_dashboards(OmegaConf.create({"logger": {"wandb": node, "csv": None}}), [])
