"""Loggers: metrics.csv across a resume, and its mirrors on Weights & Biases, TensorBoard and MLflow."""

from __future__ import annotations

import csv
import inspect
import json
import os
import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
import yaml
from conformance.test_laboratory import settings
from offline_runs import offline_runs
from omegaconf import OmegaConf

import genmodels.loggers.connection as connection
from genmodels.cli import main
from genmodels.composition import check_dashboards, compose, options
from genmodels.core import Kind, Score
from genmodels.errors import UserError
from genmodels.experiment import resume, run
from genmodels.loggers import Copied, MetricsCsv, Mirror, MLflow, TensorBoard, Wandb, log_scores, log_values
from genmodels.loggers.mlflow import allowed
from genmodels.loggers.place import place
from genmodels.runs import RunFolder
from genmodels.runs.artifact import downloaded
from genmodels.runs.record import check_mirrors

ROOT = Path(__file__).parents[1]
VARIABLES = ("RUN_ID", "PROJECT", "NAME", "DIR", "RUN_GROUP", "MODE", "ENTITY", "SWEEP_ID", "API_KEY", "BASE_URL")


def rows(path):
    with path.open() as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


def record(folder):
    return json.loads((folder / "run.json").read_text())


def trainer_of(*loggers, batches=0):
    return SimpleNamespace(loggers=list(loggers), fit_loop=SimpleNamespace(total_batch_idx=batches - 1), callbacks=[])


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """No variable of wandb and no file of it beyond the test's own, and nothing asked before."""
    for name in VARIABLES:
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("DATA_DIR", "CACHE_DIR", "CONFIG_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path_factory.getbasetemp() / "wandb"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("NETRC", "/nonexistent")
    for asked in (connection.obstacle, connection.go_offline):
        asked.cache_clear()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of two runs of one process that are on Weights & Biases, offline, and on TensorBoard."""
    home, folders = tmp_path_factory.mktemp("runs"), []
    for seed in (0, 1):
        folders.append(home / f"seed{seed}")
        words = (
            "logger=[wandb,tensorboard]", "logger.wandb.offline=true", "logger.wandb.artifacts=best",
            "logger.wandb.notes='a, b'", "logger.wandb.tags=[x]", "logger.wandb.job_type=train", f"seed={seed}",
            "validations=2", "trainer.log_every_n_steps=1", "budget.max_batches=4", f"run_dir={folders[-1]}",
        )  # fmt: skip
        run(settings("vae", "gray images", home, *words))
    return folders


# metrics.csv


def test_metrics_of_one_step_share_a_row_and_new_columns_may_come_late(tmp_path):
    logger = MetricsCsv(tmp_path)
    logger.log_metrics({"a": 1.0}, step=1)
    logger.log_metrics({"b": 2.0}, step=1)
    logger.log_metrics({"c": 3.0}, step=2)
    logger.save()
    assert rows(tmp_path / "metrics.csv") == [{"step": "1", "a": "1", "b": "2"}, {"step": "2", "c": "3"}]


def test_a_resumed_run_overwrites_rows_after_its_checkpoint(tmp_path):
    first = MetricsCsv(tmp_path)
    for step in range(1, 6):
        first.log_metrics({"a": float(step)}, step=step)
    first.save()
    second = MetricsCsv(tmp_path)
    second.rewind(3)
    second.log_metrics({"a": 40.0}, step=4)
    second.save()
    assert [row["a"] for row in rows(tmp_path / "metrics.csv")] == ["1", "2", "3", "40"]


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "step,a\nx,1\n", "step,a\n1,x\n", "step,a\n1,2,3\n", "step\n1.5\n", "\0", "step,a\n1\n,2\n"]
)
def test_a_damaged_table_is_refused(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(UserError, match=r"metrics.csv is damaged: .*repair or remove it"):
        MetricsCsv(tmp_path).rewind(3)


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(UserError, match="is not a regular file"):
        MetricsCsv(tmp_path).rewind(3)


def test_a_bare_number_is_not_logged_as_a_score():
    logged = {}
    trainer = trainer_of(SimpleNamespace(log_metrics=lambda values, step: logged.update(values)))
    log_scores(trainer, [Score("nats", -1.0, "nats", 5, 0.1, Kind.EXACT), Score("fd_x_5", 3.0, "", 5)])
    assert logged == {"test/nats": -1.0, "test/nats_se": 0.1, "test/fd_x_5": 3.0}
    with pytest.raises(UserError, match="only a Score, with kind, n and protocol, is logged"):
        log_scores(trainer, [3.0])


# Any mirror


class Remembering(Mirror):
    title = "the dashboard"

    def __init__(self):
        super().__init__()
        self.written = []

    def start(self, copied):
        return {"known": True}

    def write(self, values, step):
        self.written.append((step, values))

    def write_image(self, name, image, step):
        raise ConnectionError("gone")

    def finish(self, copied):
        self.written.append(("end", copied.outcome))


def test_a_mirror_keeps_the_best_of_each_validation_value_also_across_a_resume(tmp_path):
    mirror = Remembering()
    mirror.begin(Copied(tmp_path, {}, {}, curves=[{"val/a": "1.5"}, {"train/a": "9"}, {"val/a": "2.5", "val/b": "7"}]))
    for step, a in enumerate((2.0, 1.0, 3.0), start=4):
        log_values(trainer_of(mirror, batches=step), {"val/a": a})
    log_values(trainer_of(mirror, batches=7), {"val/b": 6.0, "train/c": 1.0}, better="higher")
    assert [values.get("best/a") for _, values in mirror.written] == [1.5, 1.0, 1.0, None]
    assert mirror.written[-1] == (7, {"val/b": 6.0, "train/c": 1.0, "best/b": 7.0})


def test_a_mirror_that_fails_closes_and_the_run_goes_on(tmp_path, capsys):
    mirror = Remembering()
    assert mirror.begin(Copied(tmp_path, {}, {})) == {"known": True}
    mirror.add_image("x", None, 1)
    log_values(trainer_of(mirror, batches=1), {"val/a": 1.0})
    mirror.end(Copied(tmp_path, {}, {}))
    assert not mirror.written
    assert capsys.readouterr().out == "the dashboard: ConnectionError: gone; continuing without it.\n"


def test_an_evaluation_after_training_is_logged_at_the_end_of_the_curves(tmp_path):
    mirror = Remembering()
    mirror.begin(Copied(tmp_path, {}, {"cost": {"batches": 40}}))
    log_values(trainer_of(mirror, batches=0), {"test/a": 1.0})
    assert mirror.written == [(40, {"test/a": 1.0})]


# Weights & Biases, read back from its files


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


# Sweeps of Weights & Biases


def overrides_of(parameters):
    """The words by which wandb's agent starts a job."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    given = {"args": {name: {"value": value} for name, value in parameters.items()}}
    return utils.create_sweep_command_args(given)["args_no_hyphens"]


def first(parameter):
    return parameter.get("value", parameter.get("values", [parameter.get("min")])[0])


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("wandb_sweep*.yaml")), ids=lambda file: file.stem)
def test_a_sweep_file_starts_jobs(file):
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    sweep = utils.load_sweep_config(str(file))
    words = overrides_of({name: first(value) for name, value in sweep["parameters"].items()})
    command = [words if word == "${args_no_hyphens}" else [word] for word in sweep["command"]]
    config = compose([word for part in command[3:] for word in part])
    assert OmegaConf.select(config, "logger.wandb") is not None and (ROOT / sweep["program"]).is_file()
    assert file.stem not in options("logger") and sweep["method"] in ("grid", "random", "bayes")
    assert sweep["metric"]["name"].partition("/")[0] in ("val", "best", "test")


def test_a_job_takes_lists_quoted_text_and_null():
    given = {"metrics": ["likelihood", "fd"], "logger": "wandb", "logger.wandb.notes": "'it is, in [a] (b)=c'"}
    given |= {"model.optimizer.betas": [0.5, 0.9], "compile": False, "model.clip_norm": "null"}
    given |= {"model/optimizer": "adamw"}
    config = compose(overrides_of(given))
    assert list(config.metrics) == ["likelihood", "fd"] and config.model.optimizer.betas == [0.5, 0.9]
    assert config.logger.wandb.notes == "it is, in [a] (b)=c" and config.model.clip_norm is None
    assert config.model.optimizer._target_ == "torch.optim.AdamW" and config.compile is False


def test_a_job_of_an_agent_records_its_sweep_and_run(tmp_path, monkeypatch):
    wandb.teardown()
    values = {"SWEEP_ID": "swp1", "RUN_ID": "agent2", "PROJECT": "sweepproj", "MODE": "offline"}
    for name, value in values.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(yaml.safe_dump({"wandb_version": 1, "model.optimizer.lr": {"value": 0.002}}))
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(parameters))
    monkeypatch.setattr(wandb, "termwarn", lambda *said, **_: pytest.fail(f"wandb warns: {said}"))  # of locked keys
    logger = Wandb(tmp_path)
    copied = Copied(tmp_path, {"model": {"optimizer": {"lr": 0.002}, "beta": 1.0}}, {"model": "VAE"})
    found = logger.begin(copied)["wandb"]
    logger.add({"val/bits_per_dim": 2.5}, 7)
    logger.end(copied)
    wandb.teardown()
    assert (found["id"], found["sweep"], found["project"]) == ("agent2", "swp1", "sweepproj")
    (run,) = offline_runs(tmp_path)
    assert (run.id, run.sweep, run.project) == ("agent2", "swp1", "sweepproj")
    assert run.config["model.optimizer.lr"] == 0.002 and run.config["model.beta"] == 1.0
    assert run.summary["best/bits_per_dim"] == 2.5


# Artifacts


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


# TensorBoard


def test_tensorboard_has_one_file_and_shows_scores_beside_the_config(trained):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context

    (file,) = (trained[0] / "tensorboard").iterdir()
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(file.parent))
    multiplexer.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(file.parent))))
    request = RequestContext()
    found = context.experiment_from_metadata(request, "x", True, context.hparams_metadata(request, "x"), [])
    metrics = {info.name.tag for info in found.metric_infos}
    assert {"test/bits_per_dim", "best/bits_per_dim", "cost/parameters"} <= metrics and "hp_metric" not in metrics
    assert {"model", "model.optimizer.lr", "seed"} <= {info.name for info in found.hparam_infos}
    for name in ("val/bits_per_dim", "samples"):
        assert sorted({event.step for event in multiplexer.Tensors(".", name)}) == [2, 4]


# MLflow


def test_mlflow_has_metrics_pictures_and_scores(tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy")
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    run(settings("vae", "gray images", tmp_path, "logger=mlflow", "trainer.log_every_n_steps=1"))
    main(["evaluate", f"run={tmp_path / 'run'}"])
    client = mlflow.MlflowClient(uri)
    (found,) = client.search_runs([client.get_experiment_by_name("genmodels").experiment_id])
    kept = record(tmp_path / "run")
    assert found.info.run_id == kept["mlflow"]["id"] and found.info.status == "FINISHED"
    assert found.data.metrics["test/bits_per_dim"] == pytest.approx(kept["metrics"]["bits_per_dim"]["value"])
    assert found.data.params["model"] == "VAE" and found.data.params["model.optimizer.lr"] == "0.003"
    assert [metric.step for metric in client.get_metric_history(found.info.run_id, "train/loss")] == [1, 2]
    held = [file.path for file in client.list_artifacts(found.info.run_id)]
    assert {"images", "run.json", "config.yaml"} <= set(held)


def test_without_mlflow_or_tensorboard_a_run_goes_on(tmp_path, monkeypatch, capsys):
    import sys

    for module in ("mlflow.tracking", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    for logger in (MLflow(tmp_path), TensorBoard(tmp_path)):
        assert logger.begin(Copied(tmp_path, {}, {})) == {} and not logger.is_open
    said = capsys.readouterr().out
    assert "MLflow: mlflow is not installed; for the next time: pip install mlflow; continuing without it." in said
    assert "TensorBoard: tensorboard is not installed" in said and not list(tmp_path.iterdir())


def test_mlflow_takes_the_names_of_scores():
    assert allowed("test/fd[data.limit=20, seed=1]") == "test/fd data.limit-20_ seed-1"
