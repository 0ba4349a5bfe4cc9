"""Run folders from strangers: what their author could try, and the sentence that refuses it."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import zipfile

import numpy as np
import pytest
import torch
import yaml
from conformance.test_laboratory import settings
from omegaconf import OmegaConf
from PIL import Image

from genmodels.callbacks import ModelCheckpoint
from genmodels.cli import main
from genmodels.composition import LAUNCHED, check_origins, check_places, check_processes
from genmodels.data.files import fetch
from genmodels.data.sources import ImageFolder, Npz
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.metrics.cache import StatisticsCache
from genmodels.metrics.resumable import ResumableResults
from genmodels.untrusted import read_config

EVIL = "http://evil.example/{name}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small trained run, which tests copy before they change it."""
    folder = tmp_path_factory.mktemp("trust")
    run(settings("vae", "gray images", folder, "budget.max_batches=2"))
    return folder / "run"


@pytest.fixture
def foreign(trained, tmp_path):
    """The copy of a run whose author leaves out the hashes, since what is in the folder is to be believed."""
    folder = shutil.copytree(trained, tmp_path / "foreign")
    record = json.loads((folder / "run.json").read_text())
    kept = {key: value for key, value in record.items() if key not in ("config_sha256", "checkpoints")}
    (folder / "run.json").write_text(json.dumps(kept))
    return folder


@pytest.fixture
def precious(tmp_path):
    """A folder with a file of the user's, beside the run folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious.txt").write_text("mine")
    return tmp_path / "home"


@pytest.fixture
def refusal(foreign, capsys):
    """A function that changes the run's config, and returns the sentence by which a command refuses it."""

    def call(command, changes, *words):
        file = foreign / "config.yaml"
        config = OmegaConf.load(file)
        for key, value in changes.items():
            OmegaConf.update(config, key, value, merge=False, force_add=True)
        file.write_text(OmegaConf.to_yaml(config))
        with pytest.raises(SystemExit):
            main([command, f"run={foreign}", *words])
        (error,) = capsys.readouterr().err.splitlines()
        return error

    return call


def published(url):
    files = dict.fromkeys(("authorized_keys", "b.gz", "c.gz"), "0" * 64)
    return {"_target_": "genmodels.data.sources.BinarizedMnist", "folder": ".ssh", "url": url, "files": files}


@pytest.mark.parametrize("command", ["evaluate", "resume"])
def test_nothing_is_downloaded_from_an_address_of_the_authors(refusal, monkeypatch, command):
    monkeypatch.setattr("genmodels.data.files._retrieve", lambda *_: pytest.fail("downloaded"))
    assert f"would download from {EVIL}" in refusal(command, {"data.source": published(EVIL)})


@pytest.mark.parametrize("command", ["evaluate", "resume"])
def test_no_data_are_kept_in_a_folder_of_the_authors(refusal, precious, command):
    assert f"would keep data in {precious}" in refusal(command, {"data.root": str(precious)})
    assert len(list(precious.iterdir())) == 1


def test_what_the_user_names_or_has_is_allowed(monkeypatch, tmp_path):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    config = OmegaConf.create({"data": {"root": "/elsewhere", "source": published(EVIL)}})
    check_origins(config, ["data.root=/elsewhere", f"data.source.url='{EVIL}'"])
    known = "https://ossci-datasets.s3.amazonaws.com/mnist/{name}"
    check_origins(OmegaConf.create({"data": {"root": str(tmp_path), "source": published(known)}}), [])


def test_samples_need_no_data(foreign, precious, tmp_path):
    config = OmegaConf.load(foreign / "config.yaml")
    config.data.root = str(precious)
    (foreign / "config.yaml").write_text(OmegaConf.to_yaml(config))
    main(["sample", f"run={foreign}", "n=2", f"out={tmp_path / 'a.npz'}"])
    assert len(list(precious.iterdir())) == 1


PLACES = (
    "samples/final.png",
    "samples/new.png",
    "samples",
    "checkpoints",
    "evaluation",
    "metrics.csv",
    ".lock",
    "a/b/c",
)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "resume", "sample"])
@pytest.mark.parametrize("place", PLACES)
def test_no_link_leads_out_of_the_run_folder(refusal, foreign, precious, place, command):
    path = foreign / place
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    target = precious if place in ("samples", "checkpoints", "evaluation") else precious / "precious.txt"
    path.symlink_to(os.path.relpath(target, path.parent))
    assert f"{place} is a link to {target}, outside of the run folder; remove it." in refusal(command, {})
    assert [file.read_text() for file in precious.iterdir()] == ["mine"]


@pytest.mark.parametrize(("key", "value"), [("num_nodes", 2), ("devices", 4000)])
def test_no_other_machines_are_waited_for_and_no_crowd_is_started(refusal, monkeypatch, key, value):
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    changes = {f"trainer.{key}": value, "trainer.strategy": "ddp"}
    assert f"the run was trained with trainer.{key}={value}" in refusal("evaluate", changes)
    config = OmegaConf.create({"trainer": {key: value}})
    check_processes(config, [f"trainer.{key}={value}"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_processes(config, [])


def test_a_place_that_the_command_line_names_is_the_users_own(foreign):
    config = OmegaConf.create({"run_dir": str(foreign), "logger": {"mlflow": {"tracking_uri": "sqlite:////x"}}})
    check_places(config, ["logger.mlflow.tracking_uri=sqlite:////x"])
    with pytest.raises(UserError, match="lies outside of the run folder"):
        check_places(config, ["logger.mlflow.run_name=x"])


def test_wandb_may_link_to_its_own_log_only(foreign, precious):
    logs = foreign / "wandb" / "offline-run-1-a" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(precious / "precious.txt")
    config = OmegaConf.create({"run_dir": str(foreign)})
    check_places(config, [])
    (foreign / "wandb" / "debug-core.log").symlink_to(precious / "precious.txt")
    with pytest.raises(UserError, match="is a link to"):
        check_places(config, [])


def test_a_link_within_the_run_folder_is_none_out_of_it(foreign):
    (foreign / "link").symlink_to("samples")
    check_places(OmegaConf.create({"run_dir": str(foreign), "callbacks": {"folder": f"{foreign}/link/x"}}), [])


@pytest.mark.parametrize("uri", ["http://evil.example", "file:~/x", "sqlite:///x"])
def test_a_tracking_server_is_no_place_below_the_run_folder(refusal, uri):
    node = {"_target_": "lightning.pytorch.loggers.MLFlowLogger", "tracking_uri": uri}
    assert "logger.x.tracking_uri" in refusal("resume", {"logger.x": node})


@pytest.mark.parametrize("argument", ["settings", "save_code", "config", "mode"])
def test_a_logger_hands_on_no_arguments_that_are_not_checked(refusal, argument):
    node = {"_target_": "lightning.pytorch.loggers.WandbLogger", "offline": True, argument: {"base_url": "x"}}
    assert f"unknown key logger.x.{argument}" in refusal("resume", {"logger.x": node})


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "", "a\\b"])
def test_the_name_of_data_is_part_of_no_other_path(refusal, name):
    assert "data.name must be plain text" in refusal("evaluate", {"data.name": name})


@pytest.mark.parametrize("key", ["data.name", "expected", "model.x\x1b]0;owned\x07"])
def test_a_config_controls_no_terminal(refusal, key):
    assert refusal("evaluate", {key: "\x1b]0;owned\x07"}).endswith(
        "contains control characters, which the config of a run never does."
    )


def test_a_config_that_is_none_is_not_shown(refusal, foreign, precious):
    (precious / "precious.txt").write_text("key: secret: [\n")
    (foreign / "config.yaml").unlink()
    (foreign / "config.yaml").symlink_to(precious / "precious.txt")
    with pytest.raises(UserError) as caught:
        read_config(foreign / "config.yaml")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["[" * 60_000, "{a: " * 10_000, "- " * 30_000, "a: 1\n" * 300_000],
    ids=["lists", "mappings", "items", "long"],
)
def test_a_config_is_read_in_little_time(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"nested more deeply|more than such a file can have"):
        read_config(tmp_path / "config.yaml")
    assert time.monotonic() - began < 2


def test_a_checkpoint_names_no_file_to_delete_elsewhere(foreign, precious):
    (foreign / "top").mkdir()
    (foreign / "top" / "a.ckpt").write_text("")
    own, callback = str(foreign / "top" / "a.ckpt"), ModelCheckpoint(dirpath=foreign / "top", monitor="val/monitor")
    file = precious / "precious.txt"
    (foreign / "top" / "link.ckpt").symlink_to(file)
    others = [str(file), f"{foreign}/top/../../home/precious.txt", f"local://{file}", f"{foreign}/top/link.ckpt"]
    state = callback.state_dict() | {"best_k_models": dict.fromkeys([own, *others], torch.tensor(1.0))}
    for other in [*others, str(foreign / "top" / "..")]:
        paths = {"best_model_path": other, "kth_best_model_path": other, "last_model_path": other}
        callback.load_state_dict(state | paths)
        assert list(callback.best_k_models) == [own]
        assert (callback.best_model_path, callback.kth_best_model_path, callback.last_model_path) == ("", "", "")
    callback.load_state_dict(state | {"best_model_path": own, "last_model_path": own})
    assert callback.best_model_path == callback.last_model_path == own


def test_results_of_another_user_are_not_reported_as_measured(monkeypatch, tmp_path):
    for user in ("author", "victim"):
        monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / user))
        results = ResumableResults(tmp_path, "ais", [1])
        assert "a" not in results
        results["a"] = 0.0
        assert "a" in ResumableResults(tmp_path, "ais", [1])


def test_without_a_place_for_the_key_nothing_is_resumed(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "file"))
    ResumableResults(tmp_path, "ais", [1])["a"] = 0.0
    assert "a" not in ResumableResults(tmp_path, "ais", [1])


def test_statistics_of_other_data_of_the_same_name_and_mean_are_not_used(tmp_path):
    cache = StatisticsCache(tmp_path, "mnist", {})
    x = torch.tensor([[0, 4], [4, 0]], dtype=torch.uint8)
    y = torch.tensor([[2, 2], [2, 2]], dtype=torch.uint8)
    cache.get("moments", x, lambda x: {"a": torch.tensor(1)})
    assert int(cache.get("moments", y, lambda x: {"a": torch.tensor(2)})["a"]) == 2
    assert int(cache.get("moments", x.flip(0), lambda x: {"a": torch.tensor(3)})["a"]) == 1


def test_images_start_no_other_programs_and_wait_for_no_pipe(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abc":
        Image.new("L", (8, 8)).save(folder / f"{name}.gif")  # or EPS, which starts Ghostscript
        (folder / f"{name}.gif").rename(folder / f"{name}.png")
    with pytest.raises(UserError, match="cannot be decoded as an image"):
        ImageFolder(str(folder), [1, 8, 8], test_size=1).load(tmp_path)
    os.mkfifo(folder / "d.png")
    with pytest.raises(UserError, match=r"d\.png is not a regular file"):
        ImageFolder(str(folder), [1, 8, 8], test_size=1).load(tmp_path)


def test_an_archive_with_two_arrays_of_one_name(tmp_path):
    array = io.BytesIO()
    np.save(array, np.zeros((3, 2), np.uint8))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x", array.getvalue())
        archive.writestr("x.npy", array.getvalue())
    with pytest.raises(UserError, match="two arrays of one name"):
        Npz(str(tmp_path / "x.npz")).load(tmp_path)


def test_the_environment_stays_where_it_is(foreign, monkeypatch, capsys):
    monkeypatch.setenv("SECRET", "hunter2")
    config = yaml.safe_load((foreign / "config.yaml").read_text())
    config["data"]["name"] = "${oc.env:SECRET}"
    config["objective"] = "\\${oc.env:SECRET}"
    (foreign / "config.yaml").write_text(yaml.safe_dump(config))
    main(["resume", f"run={foreign}", "budget.max_batches=3"])
    written = [path.read_bytes() for path in foreign.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in each for each in written) and "hunter2" not in "".join(capsys.readouterr())
    assert json.loads((foreign / "run.json").read_text())["status"] == "finished"


def test_a_download_never_replaces_a_file(precious):
    with pytest.raises(UserError, match="truncated or altered"):
        fetch(precious, {"precious.txt": "0" * 64}, EVIL)
    assert (precious / "precious.txt").read_text() == "mine"
