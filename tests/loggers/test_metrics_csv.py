"""The table of all values of a run, across a resume."""

from __future__ import annotations

import os

import pytest
from loggers.records import rows

from genmodels.errors import UserError
from genmodels.loggers import MetricsCsv


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
