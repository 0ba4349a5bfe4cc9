"""Loggers: metrics.csv across a resume, wandb and TensorBoard."""

from __future__ import annotations

import csv
import json
import os
from types import SimpleNamespace

import pytest
from conformance.test_laboratory import settings

from genmodels.core import Kind, Score
from genmodels.errors import UserError
from genmodels.experiment import run
from genmodels.loggers import MetricsCsv, Wandb, log_scores


def rows(path):
    with path.open() as file:
        return [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]


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


def test_wandb_offline_and_tensorboard_mirror_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = settings(
        "vae", "gray images", tmp_path, "logger=[wandb,tensorboard]", "logger.wandb.offline=true",
        "trainer.log_every_n_steps=1",
    )  # fmt: skip
    run(config)
    folder = tmp_path / "run"
    assert rows(folder / "metrics.csv")
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert list(folder.glob("tensorboard/events*"))
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"


def test_a_run_folder_has_one_wandb_identity(tmp_path):
    ids = [Wandb(tmp_path / name, offline=True).version for name in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]


def test_a_bare_number_is_not_logged_as_a_score():
    logged = {}
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.update(values))
    trainer = SimpleNamespace(loggers=[logger], fit_loop=SimpleNamespace(total_batch_idx=0))
    log_scores(trainer, [Score("nats", -1.0, "nats", 5, 0.1, Kind.EXACT), Score("fd_x_5", 3.0, "", 5)])
    assert logged == {"test/nats": -1.0, "test/nats_se": 0.1, "test/fd_x_5": 3.0}
    with pytest.raises(UserError, match="only a Score, with kind, n and protocol, is logged"):
        log_scores(trainer, [3.0])
