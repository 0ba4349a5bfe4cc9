"""Every model in the real laboratory: fit, validate, checkpoint, test, record, on every kind of data."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conformance.kinds import KINDS, MODELS, examples, tiny

from genmodels import load
from genmodels.experiment import run
from genmodels.launch import compose


def settings(name, kind, folder, *overrides):
    spec = KINDS[kind]
    array = folder / "data.npz"
    np.savez(array, train=examples(spec, 40).numpy(), test=examples(spec, 10, seed=1).numpy())
    levels = "null" if spec.levels is None else spec.levels
    return compose(
        [
            f"model={name}",
            "data=npz",
            f"data.source.path={array}",
            f"data.spec.shape={list(spec.shape)}",
            f"data.spec.levels={levels}",
            "data.batch_size=8",
            "metrics=[likelihood]",
            "budget.max_batches=2",
            "validations=1",
            "callbacks.samples.n=4",
            "trainer.accelerator=cpu",
            f"run_dir={folder / 'run'}",
            *tiny(name),
            *overrides,
        ]
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.replace(" ", "-"))
@pytest.mark.parametrize("name", MODELS)
def test_two_steps_and_a_test(name, kind, tmp_path):
    run(settings(name, kind, tmp_path))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["cost"]["batches"] == 2
    assert record["cost"]["examples"] == 16
    assert bool(record["metrics"]) != bool(record["refusals"])
    assert (tmp_path / "run" / "samples" / "final.png").exists()
    torch.manual_seed(0)
    KINDS[kind].check(load(tmp_path / "run").sample(2))
