"""Sweeps that go on by themselves: the same command again, killed at any moment, grown, and with jobs that fail."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import runpy
import signal
import sys

import pytest
import torch
from conformance.kinds import ROOT
from curves import curves
from offline_runs import offline_runs
from omegaconf import OmegaConf
from processes import CONTEXT

from genmodels.naming import as_name, run_name, sweep_name
from genmodels.runs import claimed, read_checkpoint
from genmodels.runs import folder as folder_module
from genmodels.sweeps import refuse_nested_processes

TINY = (
    "debug=fast", "data=gaussian", "metrics=[likelihood]", "budget.max_batches=6", "validations=2",
    "callbacks.samples.n=1", "trainer.accelerator=cpu", "trainer.log_every_n_steps=2",
)  # fmt: skip

LONG = ("checkpoint.minutes=0.00001", "callbacks.samples.pixels=96")  # enough for some seconds, in which to be killed


@pytest.fixture
def sweep(tmp_path, monkeypatch, train_py):
    """A function that runs ``train.py -m`` in ``tmp_path`` and returns status, both outputs, and the jobs' records."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: (*train_py("-m", *TINY, "callbacks.samples=null", *words), records(tmp_path))


def records(folder):
    """The records of the jobs of all sweeps below ``folder``, by their folders' names without the hash."""
    found = sorted(folder.glob("runs/sweeps/*/*/run.json"))
    return {re.sub("_[0-9a-f]{8}_", "_", path.parent.name): json.loads(path.read_text()) for path in found}


@pytest.mark.slow
def test_the_same_command_again_trains_nothing_and_another_seed_is_added(sweep, tmp_path):
    status, _, err, first = sweep("model=vae", "seed=0,1")
    assert status == 0, err
    assert list(first) == ["vae_gaussian_seed0", "vae_gaussian_seed1"]
    status, out, _, again = sweep("model=vae", "seed=0,1")
    assert status == 0
    assert out.count("is finished already; skipped") == 2
    assert again == first
    status, out, _, more = sweep("seed=2,0", "model=vae")  # in any order
    assert status == 0
    assert list(more) == [*first, "vae_gaussian_seed2"]
    assert {name: more[name] for name in first} == first
    assert len(list((tmp_path / "runs" / "sweeps").iterdir())) == 1
    assert "Comparison of 3 runs" in out


@pytest.mark.slow
def test_a_sweep_sets_a_key_that_its_models_have_and_the_default_one_lacks(sweep):
    status, _, err, found = sweep("model=rbm,ebm", "model.temperatures=5", "test=false")
    assert status == 0, err
    assert list(found) == ["ebm_gaussian_seed0", "rbm_gaussian_seed0"]
    assert all("model.temperatures=5" in record["overrides"] for record in found.values())
    for models in ("rbm,vae", "vae,rbm"):
        status, _, err, again = sweep(f"model={models}", "model.temperatures=5")
        assert status == 1 and again == found
        assert err == "error: unknown key 'model.temperatures'; it is a key of model=ebm and of model=rbm\n"


@pytest.mark.slow
def test_a_failed_job_is_told_once_and_tried_again_only_if_asked(sweep, tmp_path):
    def by_status():
        every = [json.loads(path.read_text()) for path in tmp_path.glob("runs/sweeps/mine/*/run.json")]
        return {record["status"]: record for record in every}

    words = ("sweep=mine", "model=vae", "model.optimizer.lr=1e-3,1e12,-1")
    status, out, err, _ = sweep(*words)
    assert status == 1
    assert by_status().keys() == {"failed", "finished"}
    assert out.count("Invalid learning rate") == 1 and "refused: model.optimizer" in out
    assert out.count("became NaN, infinite or larger than 1e+20") == 1
    assert err.splitlines()[-1].endswith("retry=failed tries again what failed.")
    assert len(list((tmp_path / "runs" / "sweeps" / "mine").glob("*/"))) == 2  # nothing of the refused one
    started = by_status()["failed"]["started"]
    assert "failed before; retry=failed tries it again" in sweep(*words)[2]
    status, out, err, _ = sweep(*words, "retry=failed")
    assert status == 1
    assert "starts from the beginning" in out
    assert by_status()["failed"]["started"] == started


def test_a_sweep_whose_jobs_are_all_refused_leaves_nothing(sweep, tmp_path):
    status, out, _, found = sweep("model.optimizer.lr=-1,-2")
    assert status == 1
    assert out.count("Invalid learning rate") == 2
    assert found == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["trainer=ddp"], "trainer.devices=2 trainer.strategy=ddp"),
        (["trainer.num_nodes=2"], "trainer.num_nodes=2"),
        (["trainer.strategy=fsdp"], "trainer.strategy=fsdp"),
        (["run_dir=x"], "run_dir=x is the folder of a single run; name that of a sweep: sweep=NAME"),
        (["sweep=../x"], "sweep must be the name of a folder"),
        (["retry=all"], "retry must be failed or null"),
        (["failure_value=null"], "failure_value must be a finite number"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_is_written(words, reason, sweep, tmp_path):
    status, _, err, _ = sweep("seed=0,1", *words)
    assert status == 1
    assert err.count("error: ") == 1 and reason in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("devices", [1, "1", [0]])
def test_one_device_starts_no_processes(devices):
    trainer = {"devices": devices, "num_nodes": 1, "strategy": "auto"}
    refuse_nested_processes(OmegaConf.create({"trainer": trainer}))


@pytest.mark.slow
def test_a_job_that_another_process_is_at_is_left_to_it(sweep, tmp_path):
    _, _, _, found = sweep("seed=0")
    folder = next(tmp_path.glob("runs/sweeps/*/vae*"))
    (folder / "run.json").write_text(json.dumps(found["vae_gaussian_seed0"] | {"status": "running"}))
    with claimed(folder):
        status, out, _, found = sweep("seed=0,1")
    assert status == 0
    assert f"{folder} is in use by process {os.getpid()}" in out
    assert re.search(r"_seed0: running: process \d+ on ", out)
    assert found["vae_gaussian_seed1"]["status"] == "finished"


def test_a_full_disk_in_one_job_is_told_and_the_others_go_on(sweep, monkeypatch):
    write = folder_module.write_whole

    def write_unless_full(path, text):
        if "_seed0" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, text)

    monkeypatch.setattr(folder_module, "write_whole", write_unless_full)
    status, out, _, found = sweep("seed=0,1")
    assert status == 1
    assert len(re.findall(r"_seed0: .*No space left on device", out)) == 1
    assert {name: record["status"] for name, record in found.items()} == {"vae_gaussian_seed1": "finished"}


def test_a_sweep_in_the_place_of_a_file_is_refused(sweep, tmp_path):
    (tmp_path / "runs" / "sweeps").mkdir(parents=True)
    (tmp_path / "runs" / "sweeps" / "mine").write_text("")
    status, _, err, _ = sweep("seed=0,1", "sweep=mine")
    assert status == 1
    assert err == "error: runs/sweeps/mine cannot be read or written: File exists; choose another name.\n"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [["joblib", "hydra.launcher.n_jobs=2"], ["submitit_local"]], ids=" ".join)
def test_jobs_of_other_processes_are_told_of_from_their_folders(launcher, sweep, tmp_path):
    words = ("sweep=mine", f"hydra/launcher={launcher[0]}", *launcher[1:], "model.optimizer.lr=1e-3,-1")
    status, out, err, found = sweep(*words, "logger=wandb", "logger.wandb.offline=true")
    assert status == 1
    assert "Comparison of 1 run" in out, err
    assert out.count("Invalid learning rate") == 1
    assert found["vae_gaussian_seed0"]["status"] == "finished"
    comparison, job = sorted(offline_runs(tmp_path), key=lambda run: run.job_type, reverse=True)
    assert (comparison.job_type, comparison.name) == ("comparison", "mine")
    assert found["vae_gaussian_seed0"]["wandb"]["id"] == job.id and job.summary["status"] == "finished"


def run_train(words, folder):
    """Run ``train.py`` in ``folder``."""
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open("log.txt", "a")  # noqa: SIM115  for the life of the process
    sys.argv = ["train.py", *words]
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")


def in_its_own_process(words, folder, seconds=None):
    """Exit status of :func:`run_train` in a new process, which is killed after some seconds, if it still runs."""
    folder.mkdir(exist_ok=True)
    process = CONTEXT.Process(target=run_train, args=(words, folder))
    process.start()
    process.join(seconds or 120)
    process.kill()
    process.join()
    return process.exitcode


def content(folder):
    """Of every job, what must be the same: scores, curves, and the tensors of the last checkpoint."""
    found = {}
    for path in folder.glob("runs/sweeps/*/*/run.json"):
        record = json.loads(path.read_text())
        scores = {name: (score["value"], score["se"], score["n"]) for name, score in record["metrics"].items()}
        rows = curves(path.parent)
        weights = read_checkpoint(path.parent / "checkpoints" / "last.ckpt")["state_dict"]
        found[path.parent.name] = (record["status"], scores, rows, {k: t.tolist() for k, t in weights.items()})
    return found


def check_kills(words, kills, longest, folder):
    """Kill a sweep at random moments, each time starting the same command again; compare with one that was not."""
    moments = random.Random(0)
    assert in_its_own_process(words, folder / "whole") == 0, (folder / "whole" / "log.txt").read_text()
    ended = [in_its_own_process(words, folder / "parts", moments.uniform(0.5, longest)) for _ in range(kills)]
    last = in_its_own_process(words, folder / "parts")
    assert last == 0, (folder / "parts" / "log.txt").read_text()
    assert content(folder / "parts") == content(folder / "whole")
    assert not list((folder / "parts").rglob(".lock"))
    return ended.count(-signal.SIGKILL)


def test_a_sweep_that_is_killed_equals_an_uninterrupted_one(tmp_path):
    words = ["-m", *TINY, *LONG, "model=vae,realnvp", "seed=0,1"]
    assert check_kills(words, 3, 2.0, tmp_path) == 3


@pytest.mark.exhaustive
def test_four_models_killed_at_twenty_moments_equal_an_uninterrupted_sweep(tmp_path):
    words = ["-m", *TINY, *LONG, "model=gan,vae,realnvp,ddpm", "seed=0,1"]
    assert check_kills(words, 20, 2.0, tmp_path) >= 15


def test_names_of_sweeps():
    choices = {"model": "vae", "data": "digits"}
    assert sweep_name("mine", ["model=gan"], choices) == "mine"
    assert sweep_name(None, ["seed=0,1", "hydra/launcher=joblib", "data.seed=3"], choices) == "vae_digits"
    assert sweep_name(None, ["experiment=gan_digits,vae_digits", "seed=0,1"], choices) == "gan_digits,vae_digits"
    one, other = (as_name(f"model.optimizer.lr={'1,' * 60}{end}") for end in (1, 2))
    assert one != other and len(one) <= 82


def test_a_requeued_job_of_slurm_has_its_folder_again(monkeypatch):
    choices = {"runtime": {"choices": {"model": "vae", "data": "digits"}}, "overrides": {"task": []}}
    config = OmegaConf.create({"hydra": choices, "seed": 3, "run_dir": "???", "data": {"seed": 5}, "model": {}})
    assert run_name("2026/12", config) == "2026/12_vae_digits"
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert re.fullmatch("slurm-77/vae_digits_[0-9a-f]{8}_seed3_split5", run_name("2026/12", config))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert run_name("2026/12", config).startswith("slurm-70-2/vae_digits_")
