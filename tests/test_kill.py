"""A run that is killed at any moment, and then continued, equals an uninterrupted one: weights, scores and curves."""

from __future__ import annotations

import json
import signal
from functools import cache

import pytest
import torch
from conformance.killing import in_its_own_process
from conformance.kinds import MODELS
from curves import curves

from genmodels.runs import read_checkpoint

REPLACEMENTS = 60  # files that each of the runs writes, or fewer
MOMENTS = [(number, after) for number in range(1, REPLACEMENTS + 1) for after in (False, True)]
FEW = {
    "gan": [(17, True)],
    "vae": [(1, False), (1, True), (20, False)],
    "realnvp": [(22, False)],
    "ddpm": [(40, True)],
    "ebm": [(30, False)],
}
"""By default the moments of a run in turn; that every model resumes exactly is tested in callbacks/test_resume.py."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run, by the name of the model."""

    @cache
    def trained(name):
        folder = tmp_path_factory.mktemp(name)
        assert in_its_own_process(name, folder) == 0, (folder / "log.txt").read_text()
        return folder

    return trained


def content(folder):
    """What must be the same: scores, curves, and the tensors of the checkpoints."""
    record = json.loads((folder / "run" / "run.json").read_text())
    scores = {name: (score["value"], score["se"], score["n"]) for name, score in record["metrics"].items()}
    rows = curves(folder / "run")
    weights = {}
    for path in (folder / "run" / "checkpoints").glob("*.ckpt"):
        state = read_checkpoint(path)
        average = state["callbacks"]["WeightAverage"]["average"]
        weights |= {f"{path.name} {key}": tensor for key, tensor in state["state_dict"].items()}
        weights |= {f"{path.name} average {key}": tensor for key, tensor in average.items()}
    best = {key: record["best"][key] for key in ("value", "batches")} if record["best"] else None
    return {"status": record["status"], "scores": scores, "best": best, "rows": rows}, weights


def check(name, replacement, after, whole, folder):
    """Kill a run before or after it replaces a file, start the same again, and compare."""
    killed = in_its_own_process(name, folder, replacement, after)
    log = (folder / "log.txt").read_text()
    assert killed in (-signal.SIGKILL, 0), log
    again = 0 if killed == 0 else in_its_own_process(name, folder)
    assert again == 0, (folder / "log.txt").read_text()
    (expected, tensors), (found, others) = content(whole(name)), content(folder)
    assert found == expected
    assert tensors.keys() == others.keys()
    assert [key for key, tensor in tensors.items() if not torch.equal(tensor, others[key])] == []
    assert not list((folder / "run").rglob("*.lock"))
    return killed != 0


@pytest.mark.parametrize(("name", "moment"), [(name, moment) for name, moments in FEW.items() for moment in moments])
def test_a_run_that_was_killed_once_equals_an_uninterrupted_one(name, moment, whole, tmp_path):
    assert check(name, *moment, whole, tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{'after' if moment[1] else 'before'}-{moment[0]}")
@pytest.mark.parametrize("name", MODELS)
def test_a_run_that_is_killed_at_any_moment_equals_an_uninterrupted_one(name, moment, whole, tmp_path):
    check(name, *moment, whole, tmp_path)
