"""The end of a sweep: tables, a report, and a run that compares on Weights & Biases."""

from __future__ import annotations

import json
import sys

import pytest
from compare.folders import write_several
from omegaconf import OmegaConf

from genmodels import naming
from genmodels.sweeps import CompareSweep


@pytest.fixture
def several(tmp_path):
    return write_several(tmp_path)


def end_sweep(folder, monkeypatch, failures=(), **config):
    monkeypatch.setattr(CompareSweep, "failures", list(failures))
    CompareSweep().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}, **config}))


def test_a_sweep_ends_in_table_and_report_also_when_jobs_failed(several, monkeypatch, capsys):
    end_sweep(several, monkeypatch, [("2_c", "said in run.json too"), ("3_d", "unknown model 'd'.")])
    printed = capsys.readouterr()
    assert "A_1" in printed.out and "3_d: failed: unknown model 'd'." in printed.out
    page = (several / "report.html").read_text()
    assert "the loss is not finite." in page and "unknown model 'd'." in page and "said in run.json too" not in page


def test_a_sweep_without_run_folders_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(naming, "FOUND", {tmp_path})
    end_sweep(tmp_path / "gone", monkeypatch, [("0_a", "no.")])
    end_sweep(tmp_path, monkeypatch, [("0_a", "no.")])
    assert not list(tmp_path.iterdir()) and "0_a: failed: no." in capsys.readouterr().out


def test_a_sweep_on_wandb_ends_in_a_run_that_compares(several, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (several / "0_a" / "samples").mkdir()
    from genmodels.plots import Image

    Image.new("RGB", (8, 8)).save(several / "0_a" / "samples" / "final.png")
    end_sweep(several, monkeypatch, logger={"wandb": {"project": "p", "entity": None, "offline": True}})
    (tables,) = several.glob("wandb/offline-run-*/files/media/table/comparison")
    (file,) = tables.glob("*.table.json")
    found = json.loads(file.read_text())
    assert found["columns"][:3] == ["model", "seeds", "bits/dim"] and found["columns"][-1] == "samples"
    assert found["data"][0][:3] == ["A_1", 1, "≤ 1.200 ± 0.010 #1*"]
    assert wandb.run is None
    wandb.teardown()  # resets wandb's state in this process for later tests


def test_an_error_at_the_end_of_a_sweep_is_printed_and_hides_nothing(several, monkeypatch, capsys):
    (several / "report.html").mkdir()
    end_sweep(several, monkeypatch, [("3_d", "unknown model 'd'.")])
    printed = capsys.readouterr()
    assert "A_1" in printed.out and "error: the report" in printed.err and "3_d: failed" in printed.out


def test_wandb_is_not_imported_unless_it_was_chosen(several, monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    end_sweep(several, monkeypatch, logger={"csv": {}})
    end_sweep(several, monkeypatch, logger={"wandb": {"project": "p", "offline": True}})
    assert "wandb" not in sys.modules and not (several / "wandb").exists()
