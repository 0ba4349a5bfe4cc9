"""Complete runs of every model on every kind of data: fit, validate, checkpoint, test, record."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conformance.kinds import CHOSEN, KINDS, SUITE, composed, examples, model_on
from omegaconf import OmegaConf

from genmodels import load
from genmodels.core.abilities import Samples
from genmodels.errors import UserError
from genmodels.experiment import run


def settings(name, kind, folder, *overrides):
    """The config of a small run in ``folder`` on a file of examples there.

    Their paths are set in the composed config, so that the runs of all tests with the same words share one composition.
    """
    spec = KINDS[kind]
    array = folder / "data.npz"
    np.savez(array, train=examples(spec, 40).numpy(), test=examples(spec, 10, seed=1).numpy())
    levels = "null" if spec.levels is None else spec.levels
    config = composed(
        name,
        *(
            "data=npz",
            f"data.spec.shape={list(spec.shape)}",
            f"data.spec.levels={levels}",
            "data.batch_size=8",
            "metrics=[likelihood]",
            "budget.max_batches=2",
            "validations=1",
            "callbacks.samples.n=4",
            "callbacks.samples.points=100",
            "callbacks.samples.pixels=12",
            "trainer.accelerator=cpu",
            *overrides,
        ),
    )
    config.data.source.path = str(array)
    if OmegaConf.is_interpolation(config, "run_dir"):  # no word names it
        config.run_dir = str(folder / "run")
    return config


OTHER_KINDS = [kind for kind in KINDS if kind not in ("gray images", "points")]


def pairs():
    """Every model on images, on points and on a third kind in turn, since what a run adds to a model knows no models.

    What of a kind concerns the model itself is tested in :mod:`conformance.test_conformance`, for all pairs.
    """
    for turn, name in enumerate(SUITE):
        third = OTHER_KINDS[turn % len(OTHER_KINDS)]
        yield from ((name, kind) for kind in (KINDS if CHOSEN else ("gray images", "points", third)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), list(pairs()), ids=lambda value: value.replace(" ", "-"))
def test_two_steps_and_a_test(name, kind, tmp_path):
    try:
        model_on(name, KINDS[kind])
    except UserError:
        pytest.skip(f"{name} declines {kind}")
    run(settings(name, kind, tmp_path))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["cost"]["batches"] == 2
    assert record["cost"]["examples"] == 16
    assert bool(record["metrics"]) != bool(record["refusals"])
    model = load(tmp_path / "run")
    assert (tmp_path / "run" / "samples" / "final.png").exists() == isinstance(model, Samples)
    assert (tmp_path / "run" / "samples" / "data.png").exists() == (isinstance(model, Samples) and model.spec.is_image)
    if isinstance(model, Samples):
        torch.manual_seed(0)
        KINDS[kind].check(model.sample(2))
