"""The end of a sweep: tables, a report, and a run that compares on Weights & Biases."""

from __future__ import annotations

import json
import sys

import pytest
from compare.folders import write_several
from offline_runs import offline_runs
from omegaconf import OmegaConf

from genmodels import naming
from genmodels.cli import main
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


def test_a_sweep_on_wandb_ends_in_one_run_that_compares(several, monkeypatch):
    """However often it is started again, and in the mode of the environment."""
    import wandb

    from genmodels.plots import Image

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setenv("WANDB_DATA_DIR", str(several))
    (several / "0_a" / "samples").mkdir()
    Image.new("RGB", (8, 8)).save(several / "0_a" / "samples" / "final.png")
    on_wandb(several / "0_a")
    for start in ("first", "second"):  # wandb names its folders by the second
        monkeypatch.setenv("WANDB_DIR", str(several / start))
        (several / start).mkdir()
        node = {"project": "p", "offline": False, "job_type": None, "folder": "${run_dir}"}  # of a job
        end_sweep(several, monkeypatch, logger={"wandb": node})
        wandb.teardown()  # each sweep is a process of its own
    (found, again) = offline_runs(several)
    assert (found.project, found.name, found.job_type) == ("p", several.name, "comparison") and found.id == again.id
    assert [name.split("-")[0] for name, kind, _ in found.artifacts if kind == "report"] == ["report"]
    assert "report.path" in found.summary
    tables = several.glob("first/wandb/offline-run-*/files/" + found.summary["comparison/digits.path"])
    shown = json.loads(next(tables).read_text())
    assert shown["columns"][:3] == ["model", "seeds", "bits/dim"] and shown["columns"][-1] == "samples"
    assert shown["data"][0][:3] == ["A_1", 1, "≤ 1.200 ± 0.010 #1*"]


def test_a_comparison_is_logged_again_in_the_project_of_its_runs(several, monkeypatch):
    logged = []
    monkeypatch.setattr("genmodels.compare.mirror.to_wandb", lambda results, *where: logged.append(where))
    with pytest.raises(SystemExit):
        main(["compare", str(several), "wandb=true"])
    on_wandb(several / "0_a", project="p", entity="team")
    for words in (["wandb=yes"], [str(several / "1_b"), "wandb=true"]):
        with pytest.raises(SystemExit):
            main(["compare", str(several), *words])
    assert not logged
    main(["compare", str(several), "wandb=true"])
    assert logged == [({"project": "p", "entity": "team"}, several)]


def on_wandb(folder, **entry):
    """Enter in run.json that the run is on Weights & Biases."""
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"wandb": {"id": "abc", **entry}}))


def test_an_error_at_the_end_of_a_sweep_is_printed_and_hides_nothing(several, monkeypatch, capsys):
    (several / "report.html").mkdir()
    end_sweep(several, monkeypatch, [("3_d", "unknown model 'd'.")])
    printed = capsys.readouterr()
    assert "A_1" in printed.out and "error: the report" in printed.err and "3_d: failed" in printed.out


def test_wandb_is_not_imported_unless_runs_are_there(several, monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    on_wandb(several / "1_b")
    end_sweep(several, monkeypatch, logger={"csv": {}})
    (several / "1_b" / "run.json").unlink()
    end_sweep(several, monkeypatch, logger={"wandb": {"project": "p", "offline": True}})
    assert "wandb" not in sys.modules and not (several / "wandb").exists()
