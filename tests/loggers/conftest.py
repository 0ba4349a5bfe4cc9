"""Runs on dashboards, without an account and without the variables of anyone's."""

from __future__ import annotations

import pytest
from conformance.test_laboratory import settings

import genmodels.loggers.connection as connection
from genmodels.experiment import run

VARIABLES = ("RUN_ID", "PROJECT", "NAME", "DIR", "RUN_GROUP", "MODE", "ENTITY", "SWEEP_ID", "API_KEY", "BASE_URL")


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


@pytest.fixture(scope="session")
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
