"""Sweeps of Weights & Biases, whose agents start jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
import wandb
import yaml
from offline_runs import offline_runs
from omegaconf import OmegaConf

from genmodels.composition import compose, options
from genmodels.loggers import Copied, Wandb

ROOT = Path(__file__).parents[2]


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
