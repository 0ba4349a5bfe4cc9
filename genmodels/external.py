"""Scores of samples that were made elsewhere, in a run folder without a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from typing_extensions import override

from genmodels import plots
from genmodels.builder import build
from genmodels.console import tell
from genmodels.core import DataSpec, Score
from genmodels.core.abilities import Samples
from genmodels.data import DataModule
from genmodels.errors import UserError, require
from genmodels.experiment import of_the_data, with_entries
from genmodels.instruments import built
from genmodels.metrics import SampleSets, Subject
from genmodels.metrics.sample_files import digest
from genmodels.models.base import BaseModel
from genmodels.models.base.training import Player
from genmodels.runs import RunFolder, config_hash, now
from genmodels.runs.provenance import provenance
from genmodels.runs.threads import set_threads
from genmodels.settings import is_name, plain

KEPT = ("seed", "run_dir", "data", "metrics")  # keys of the config that bear on samples which exist already
SHOWN = 64  # samples in the picture


class External(BaseModel, Samples):
    """In the place of a model of which nothing is known but its samples, which are read from a file."""

    @override
    def players(self) -> Sequence[Player]:
        return []

    @override
    def monitor(self, x: Tensor) -> Tensor:
        raise NotImplementedError("nothing is trained")

    @override
    def sample(self, n: int) -> Tensor:
        raise NotImplementedError("the samples are in a file")


def named(name: str, spec: DataSpec) -> BaseModel:
    """A model of that name, which refusals of metrics mention, on the device that is found."""
    require(is_name(name), f"name must be of letters, digits and any of _.,=+-, got {name!r}.")
    require(spec.classes is None, "data.labels=true is for models that are trained here; leave it out.")
    model: BaseModel = type(name, (External,), {})(spec)
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


@torch.no_grad()
def score(config: DictConfig, samples: Path, name: str, overrides: list[str]) -> list[Score]:
    """Score samples against data, and record them in a run folder that comparisons set beside those of trained models.

    The same folder again takes further scores of the same samples.

    Args:
        config: a config of training, of which seed, run_dir, data and metrics are used.
        samples: a folder of images or an archive, see :mod:`genmodels.metrics.sample_files`.
        name: of the model that made them.
        overrides: words of the command line, for the record.

    Raises:
        UserError: for bad input, before anything is written.
    """
    kept = OmegaConf.create({**{key: plain(config.get(key)) for key in KEPT}, "model": name})
    kept.run_dir = os.path.abspath(kept.run_dir)
    set_threads(None)
    data = build(kept.data, "data", DataModule)
    model = named(name, data.spec)
    evaluations = built(kept, "metrics")
    sets = SampleSets(model, kept.seed, samples)
    data.setup()
    reasons = {key: evaluation.reason(model, data) for key, evaluation in evaluations.items()}
    refusals = {key: reason for key, reason in reasons.items() if reason}
    folder = RunFolder(kept.run_dir)
    with folder.claimed():
        before = folder.read() if folder.holds_run() else None
        found = {"file": str(samples.absolute()), "sha256": digest(samples), "n": sets.held}
        begin(folder, kept, data, {"model": name, "overrides": overrides, "external": found})
        subject = Subject(model, data, sets, kept.seed, folder.path / "evaluation")
        plots.save(plots.picture(sets.get(min(SHOWN, sets.held)), data.spec), subject_picture(folder))
        measured_on = of_the_data(data, kept.seed)
        scores = []
        try:
            for key in (key for key in evaluations if key not in refusals):
                measured = [described(each, measured_on) for each in evaluations[key].measure(subject)]
                scores += folder.add_scores(measured, refusals, own=True)
            folder.add_scores([], refusals, own=True)
            folder.update(status="finished", error=None, ended=now())
        except BaseException as error:
            with suppress(OSError, UserError):
                if isinstance(error, UserError) and not scores:  # bad input
                    undo(folder, before)
                else:
                    folder.update(status="failed", error=str(error)[:300] or type(error).__name__)
            raise
    tell(
        *(each.line for each in scores), *(f"no {key}: {reason}" for key, reason in refusals.items()), str(folder.path)
    )
    return scores


def undo(folder: RunFolder, before: Mapping[str, Any] | None) -> None:
    """Leave a folder in which nothing was scored as it was: with its record ``before``, or without what was written."""
    if before is not None:
        folder.write(before)
        return
    for file in (folder.record_file, folder.config_file, subject_picture(folder)):
        file.unlink(missing_ok=True)
    for place in (subject_picture(folder).parent, folder.path / "evaluation", folder.path):
        with suppress(OSError):  # something else is in it
            place.rmdir()


def begin(folder: RunFolder, config: DictConfig, data: DataModule, details: Mapping[str, Any]) -> None:
    """Write config and record, unless the folder has those of the same samples already.

    Raises:
        UserError: if it holds another run.
    """
    about = {"data": data.name, "data_sha256": data.sha256, "seed": config.seed}
    if folder.holds_run():
        record = folder.read()
        same = all(record.get(key) == value for key, value in {**about, "model": details["model"]}.items())
        require(
            same and record.get("external", {}).get("sha256") == details["external"]["sha256"],
            f"{folder.path} already holds another run; choose another folder, run_dir=FOLDER.",
        )
        return
    identity = OmegaConf.create({**plain(config), "metrics": None})
    folder.create(config, {**about, **details, "config_hash": config_hash(identity), **provenance(config)})


def subject_picture(folder: RunFolder) -> Path:
    """Where the picture of a run's samples is."""
    path = folder.path / "samples" / "final.png"
    path.parent.mkdir(exist_ok=True)
    return path


def described(found: Score, measured_on: Mapping[str, Any]) -> Score:
    """A score with what it was measured on; samples of which nothing else is known are taken for draws of a model."""
    return with_entries(replace(found, protocol={"observation": "draw", **found.protocol}), measured_on)
