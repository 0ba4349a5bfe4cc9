"""The mirror on Weights & Biases: one run of it for each run folder, with an account and without."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import socket
import time
from types import SimpleNamespace

import pytest
import wandb
from loggers.records import record, rows
from offline_runs import offline_runs
from omegaconf import OmegaConf

import genmodels.loggers.connection as connection
from genmodels.cli import main
from genmodels.composition import compose
from genmodels.errors import UserError
from genmodels.experiment import resume
from genmodels.loggers import Copied, Wandb
from genmodels.loggers.place import place
from genmodels.runs import RunFolder
from genmodels.runs.record import check_mirrors


def test_two_jobs_of_one_process_are_two_runs(trained):
    (first,), (second,) = (offline_runs(folder) for folder in trained)
    assert first.id != second.id and first.group == second.group == record(trained[0])["config_hash"]
    assert (first.config["seed"], second.config["seed"]) == (0, 1)
    assert [len(run.column("val/bits_per_dim")) for run in (first, second)] == [2, 2]


def test_run_json_says_which_run_it_is(trained):
    (found,), entry = offline_runs(trained[0]), record(trained[0])["wandb"]
    assert (entry["id"], entry["project"], entry["sweep"]) == (found.id, found.project, None)
    assert entry["place"] == place(trained[0])


def test_arguments_of_wandb_init_pass_through(trained):
    (found,) = offline_runs(trained[0])
    assert (found.notes, found.tags, found.job_type, found.name) == ("a, b", ["x"], "train", "seed0")


def test_every_argument_of_wandb_init_is_a_key():
    """Except for the config, which is the run's own, and for what has another name or no effect."""
    others = {"config", "allow_val_change", "tensorboard", "anonymous"}
    keys = set(compose(["logger=wandb"]).logger.wandb) - {"_target_", "folder", "offline", "artifacts"}
    assert keys == set(inspect.signature(wandb.init).parameters) - others
    assert keys < set(inspect.signature(Wandb).parameters)


def test_curves_are_against_batches_examples_and_seconds(trained):
    (found,) = offline_runs(trained[0])
    assert found.axes["*"] == "batches" and {"examples", "seconds"} <= found.axes.keys()
    assert found.column("batches") == {step: step for step in (1, 2, 3, 4)}
    assert found.column("examples") == {step: 8 * step for step in (1, 2, 3, 4)}
    assert list(found.column("seconds").values()) == sorted(found.column("seconds").values())
    expected = {int(row["step"]): float(row["train/loss"]) for row in rows(trained[0] / "metrics.csv")}
    assert found.column("train/loss") == pytest.approx(expected)
    for name in ("lr", "gradient_norm", "examples_per_second", "memory_bytes"):
        assert list(found.column(f"train/{name}")) == [1, 2, 3, 4], name


def test_summary_and_config_have_plain_values(trained):
    (found,), kept = offline_runs(trained[0]), record(trained[0])
    for where in (found.config, found.summary):
        assert (where["model"], where["data"], where["status"]) == ("VAE", "npz", "finished")
        assert where["cost/parameters"] == kept["cost"]["parameters"]
    assert found.config["model.optimizer.lr"] == 0.003 and not [k for k in found.config if k.startswith("logger.")]
    assert found.summary["best/bits_per_dim"] == pytest.approx(kept["best"]["value"])
    assert found.summary["test/bits_per_dim"] == pytest.approx(kept["metrics"]["bits_per_dim"]["value"])
    assert found.summary["val/bits_per_dim"] == pytest.approx(found.column("val/bits_per_dim")[4])
    assert found.exit_code == 0


def test_pictures_and_scores_are_there(trained):
    (found,) = offline_runs(trained[0])
    assert {"samples.path", "interpolation.path", "interpolation_animation.path"} <= set().union(*found.history)
    assert list(found.column("samples.path")) == [2, 4]
    (file,) = (trained[0] / "wandb").glob("offline-run-*/files/" + found.summary["scores.path"])
    table = json.loads(file.read_text())
    score = dict(zip(table["columns"], table["data"][0], strict=True))
    assert (score["score"], score["kind"], score["n"]) == ("bits_per_dim", "lower_bound", 10) and score["error"] > 0
    assert json.loads(score["protocol"])["checkpoint"] == "best.ckpt"


def test_artifacts_restore_the_run(trained):
    (found,) = offline_runs(trained[0])
    held = {kind: files for _, kind, files in found.artifacts}
    assert held["model"] == ["checkpoints/best.ckpt", "config.yaml", "run.json"]
    assert held["samples"] == ["samples/final.png"]


def test_a_resumed_and_an_evaluated_run_goes_on_in_the_same_run(trained, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(trained[1], folder, symlinks=True)
    kept = record(folder)
    kept["wandb"]["place"] = place(folder)  # as if moved
    (folder / "run.json").write_text(json.dumps(kept))
    words = ["budget.max_batches=6", "metrics=[likelihood]"]
    opened = RunFolder.open(folder)
    resume(opened, OmegaConf.merge(opened.config, {"budget": {"max_batches": 6}}), words)
    wandb.teardown()  # each command is a process of its own
    (tmp_path / "run" / "z").mkdir()
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "run" / "z"))  # wandb names its folders by the second
    main(["evaluate", f"run={folder}", "metrics.likelihood.samples=3"])
    before, resumed, evaluated = offline_runs(folder)
    assert before.id == resumed.id == evaluated.id and before.group == resumed.group
    assert max(before.column("batches")) == 4 and min(resumed.column("train/loss")) == 5
    assert resumed.config["budget.max_batches"] == 6
    assert resumed.column("best/bits_per_dim")[6] == pytest.approx(record(folder)["best"]["value"])
    assert evaluated.column("batches") == {6: 6}
    assert len([name for name in evaluated.summary if name.startswith("test/bits_per_dim")]) > 2
    assert len(list((folder / "tensorboard").iterdir())) == 3


def identity(folder, found, **arguments):
    return Wandb(folder, **arguments).identity({"wandb": found, "config_hash": "c0ffee"})


def test_a_moved_folder_keeps_its_run_and_a_copied_one_does_not(tmp_path):
    folder, moved, copied = (tmp_path / name for name in ("run", "moved", "copied"))
    folder.mkdir()
    found = {"id": "abc", "project": "p", "entity": "e", "group": "g", "place": place(folder)}
    shutil.copytree(folder, copied)
    folder.rename(moved)
    kept = {"id": "abc", "project": "p", "entity": "e", "group": "g"}
    assert kept.items() <= identity(moved, found).items()
    begun = identity(copied, found)
    assert begun["id"] != "abc" and (begun["project"], begun["group"]) == ("genmodels", "c0ffee")
    other_disk = {**found, "place": {**found["place"], "disk": -1}}
    assert identity(copied, other_disk)["id"] == "abc", "the folder is gone from its former place"
    folder.mkdir()
    assert identity(copied, other_disk)["id"] != "abc"
    assert identity(moved, {**found, "place": {**found["place"], "host": "far"}})["id"] != "abc"


def test_variables_of_wandb_win_over_defaults_only(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    default = identity(folder, {})
    usual = {"project": "genmodels", "name": "folder", "dir": str(folder), "group": "c0ffee"}
    assert usual.items() <= default.items()
    for name, value in {"PROJECT": "mine", "NAME": "n", "DIR": "/d", "RUN_GROUP": "g", "RUN_ID": "agent2"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    given = {"project": "mine", "name": "n", "dir": "/d", "group": "g", "id": "agent2"}
    assert given.items() <= identity(folder, {}).items()
    assert identity(folder, {}, project="typed")["project"] == "typed"
    known = {"id": "abc", "project": "p", "entity": None, "place": place(folder)}
    assert {"id": "abc", "project": "p"}.items() <= identity(folder, known).items()
    assert identity(folder, known, project="other")["id"] != "abc"
    assert identity(folder, {})["resume"] == "allow" and "resume" not in identity(folder, {}, fork_from="a?_step=1")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a\nb", 3, ["a"], "x" * 200])
def test_a_record_names_no_path_as_a_run(name):
    with pytest.raises(UserError, match=r"wandb\.id is"):
        check_mirrors({"wandb": {"id": name}})
    with pytest.raises(UserError, match="wandb is"):
        check_mirrors({"wandb": [name]})


# Without account, connection or package


def test_without_an_account_a_run_is_kept_offline_and_that_is_said_once(tmp_path, capsys):
    modes = [connection.mode_for(None, str(tmp_path)) for _ in range(2)]
    said = capsys.readouterr().out
    assert modes == ["offline"] * 2 and said.count("\n") == 1
    assert "there is no API key" in said and f"wandb sync {tmp_path}/wandb/offline-run-*" in said


@pytest.mark.parametrize("refusing", [True, False], ids=["refused", "silent"])
def test_without_an_answer_a_run_does_not_wait(tmp_path, monkeypatch, capsys, refusing):
    with socket.socket() as server:  # which accepts a connection and never answers
        server.bind(("127.0.0.1", 0))
        if not refusing:
            server.listen()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(connection, "PATIENCE", 0.3)
        monkeypatch.setattr(connection, "has_account", lambda settings: True)
        monkeypatch.setattr("wandb.setup", lambda: SimpleNamespace(settings=SimpleNamespace(base_url=url)))
        began = time.monotonic()
        assert connection.mode_for("online", str(tmp_path)) == "offline"
        assert time.monotonic() - began < 3
    assert f"{url} does not answer" in capsys.readouterr().out


def test_a_sweep_asks_once_and_its_processes_inherit_the_answer(monkeypatch, capsys):
    connection.settle(None, "runs/sweeps/x/*")
    assert os.environ["WANDB_MODE"] == "offline"
    monkeypatch.setattr(connection, "obstacle", lambda: pytest.fail("asked again"))
    assert connection.mode_for(None, "x") == "offline"
    assert "wandb sync runs/sweeps/x/*/wandb/offline-run-*" in capsys.readouterr().out
    monkeypatch.delenv("WANDB_MODE")


def test_a_server_that_refuses_the_run_is_not_asked_again(tmp_path, monkeypatch, capsys):
    asked = []

    def init(mode, **_):
        asked.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("permission denied")
        return "a run"

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "online")
    assert Wandb(tmp_path).initialized("online", {}) == "a run"
    assert asked == ["online", "offline"] and "permission denied" in capsys.readouterr().out
    assert connection.mode_for(None, str(tmp_path)) == "offline"


def test_without_the_package_a_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    assert Wandb(tmp_path).begin(Copied(tmp_path, {}, {})) == {}
    assert "wandb is not installed; for the next time: pip install wandb; continuing" in capsys.readouterr().out


def test_the_mode_of_the_environment_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "obstacle", lambda: pytest.fail("asked"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert connection.mode_for(None, str(tmp_path)) == "disabled"
    assert connection.mode_for("offline", str(tmp_path)) == "offline"
