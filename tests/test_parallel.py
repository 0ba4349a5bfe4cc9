"""Two processes for real: gloo on the CPU, a test count that two does not divide."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from conformance.kinds import KINDS, ROOT, examples, tiny


@pytest.mark.parametrize("name", ["realnvp", "gan"])
def test_a_run_on_two_processes_finishes_and_scores_every_test_example_once(name, tmp_path):
    spec = KINDS["points"]
    array = tmp_path / "data.npz"
    np.savez(array, train=examples(spec, 40).numpy(), test=examples(spec, 11, seed=1).numpy())
    common = ["data=npz", f"data.source.path={array}", "data.spec.shape=[2]", "data.batch_size=8", *tiny(name),
              f"model={name}", "metrics=[likelihood]", "trainer.accelerator=cpu", "budget.max_batches=2",
              "validations=1", "callbacks.samples.n=4"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "train.py", "trainer=ddp", f"hydra.run.dir={tmp_path / 'run'}", *common],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["cost"]["examples"] == 32  # two batches of 8 on each of two processes
    if name == "realnvp":
        two = record["metrics"]["nats"]
        assert two["n"] == 11
        main = [sys.executable, "-m", "genmodels.cli", "evaluate", f"run={tmp_path / 'run'}"]
        subprocess.run([*main, "trainer.devices=1", "trainer.strategy=auto"], cwd=ROOT, check=True, timeout=120)
        one = json.loads((tmp_path / "run" / "run.json").read_text())["metrics"]["nats"]
        assert one["value"] == pytest.approx(two["value"], rel=1e-6)
