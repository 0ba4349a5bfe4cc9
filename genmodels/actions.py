"""What the commands do, and the functions of :mod:`genmodels.api`: words of the command line in, runs out.

This module does not import torch before a function is called.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from genmodels.composition import (
    check_dashboards,
    check_origins,
    check_parts,
    check_places,
    check_processes,
    compose_job,
    compose_run,
)
from genmodels.errors import require
from genmodels.launch import check_config
from genmodels.naming import as_name
from genmodels.overrides import parse
from genmodels.settings import check_settings

if TYPE_CHECKING:
    from genmodels.compare import Run
    from genmodels.core.score import Score
    from genmodels.experiment import Experiment

Place = str | os.PathLike[str]
OF_SAMPLES = ("data", "metrics", "run_dir", "seed")  # keys that bear on samples which exist already
OF_DATA = ("data", "seed")  # keys that bear on a classifier of data
MOST_FEATURES = 10_000  # of a classifier, and epochs of its training


def training(words: list[str]) -> DictConfig:
    """The config of a run of its own, checked.

    Raises:
        UserError: for bad input, several values, or a plan in place of a run.
    """
    for override in parse(words):
        several = override.is_sweep_override()
        require(not several, f"{override.input_line} gives several values; make a call for each of them.")
    config = compose_job(words)
    check_config(config)
    require(not config.dry_run, "dry_run=true leaves no run; it is for the command line.")
    return config


def evaluate_again(
    folder: Path, overrides: list[str], checkpoint: str | None, samples: str | None
) -> tuple[Experiment, list[Score]]:
    """Evaluate a trained run again, and add the scores to its run.json.

    Scores of other settings, data, weights, samples or of another checkpoint than the run's own stand beside these,
    with what is different in their names.
    """
    from genmodels.console import tell
    from genmodels.core.processes import is_rank_zero
    from genmodels.experiment import Experiment
    from genmodels.metrics.sample_files import digest
    from genmodels.recording import keep_mirrors, mirrored
    from genmodels.runs import RunFolder, differences, settled

    run = RunFolder.open(folder)
    own = run.config
    config = overridden(own, overrides)
    keep_mirrors(config)
    asked = any(word.lstrip("+").startswith("logger") for word in overrides)
    with run.claimed():
        record = run.read()
        experiment = Experiment.assemble(config, record)
        if is_rank_zero():
            tell(*experiment.computing.lines)
        experiment.evaluate.samples_file = samples
        experiment.data.setup()
        differing = differences(settled(own, record.get("computing", {})), experiment.computing.settled(config))
        if record.get("data_sha256", experiment.data.sha256) != experiment.data.sha256:
            differing["data"] = experiment.data.sha256[:12]
        if run.checkpoint(checkpoint) != run.checkpoint():
            differing["checkpoint"] = str(checkpoint)
        if samples and (found := digest(Path(samples))) != record.get("samples_sha256"):
            differing["samples"] = f"{Path(samples).name}@{found[:8]}"
        with mirrored(experiment, every=asked):
            return experiment, experiment.test(checkpoint, differing)


def go_on(folder: Path, overrides: list[str]) -> Experiment:
    """Continue training from the run's last checkpoint, then evaluate."""
    from genmodels import experiment
    from genmodels.runs import RunFolder

    run = RunFolder.open(folder)
    exported = run.read().get("exported")
    require(not exported, f"{folder} is an export, without what training needs; train a new run: genmodels train")
    return experiment.resume(run, overridden(run.config, overrides), overrides)


def overridden(config: DictConfig, overrides: list[str], trains: bool = True) -> DictConfig:
    """The run's config with overrides, checked, for a command that uses data and trainer, or only the model."""
    composed = compose_run(config, overrides)
    check_settings(composed)
    check_parts(composed)
    check_places(composed, overrides)
    if trains:
        check_dashboards(composed, overrides)
        check_origins(composed, overrides)
        check_processes(composed, overrides)
    return composed


def scored(samples: Path, name: str, words: list[str]) -> Run:
    """Score samples that were made elsewhere, of a model called ``name``, see :func:`genmodels.score`."""
    check_roots(words, OF_SAMPLES, "samples that exist already")
    config = training(words)
    if not any(word.startswith("run_dir=") for word in words):
        path = Path(config.run_dir)
        config.run_dir = str(path.with_name(f"{path.name.partition('_')[0]}_{as_name(name)}_{config.data.name}"))

    from genmodels.external import score

    score(config, samples, name, words)
    return read(config.run_dir)


def trained_extractor(words: list[str], epochs: int | None, features: int | None) -> Path:
    """Train a classifier of labelled data, see :func:`genmodels.train_extractor`."""
    for name, value in (("epochs", epochs), ("features", features)):
        fits = value is None or (is_whole(value) and 0 < value <= MOST_FEATURES)
        require(fits, f"{name} must be an integer from 1 to {MOST_FEATURES}, got {value!r}.")
    check_roots(words, OF_DATA, "a classifier of data")
    config = training(words)

    from genmodels.extractor import train_extractor

    options = [f"{name}={value}" for name, value in (("epochs", epochs), ("features", features)) if value is not None]
    return train_extractor(config, shlex.join(["genmodels", "extractor", *words, *options]), epochs, features)


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, of NumPy too, and neither true nor false."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_roots(words: list[str], roots: Sequence[str], what: str) -> None:
    """Check that the words override keys under ``roots`` only.

    Raises:
        UserError: naming one that has no effect on ``what``.
    """
    for override in parse(words):
        root = re.split("[./]", str(override.key_or_group))[0]
        require(root in roots, f"{override.input_line} has no effect on {what}.")


def read(run: Place) -> Run:
    """The run of a folder."""
    from genmodels.compare import Run

    return Run.read(Path(run) / "run.json")
