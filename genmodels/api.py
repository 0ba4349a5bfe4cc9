"""What the commands do, as functions for Python and notebooks: ``train``, ``evaluate``, ``resume``, ``sample``, ...

Words are those of the command line, ``"model=vae"``. Errors in them are :class:`genmodels.UserError`, one sentence.
This module does not import torch before a function is called.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from genmodels.errors import UserError, require
from genmodels.hints import is_bad_input, sentence
from genmodels.launch import check_config
from genmodels.naming import as_name
from genmodels.overrides import parse
from genmodels.places import located
from genmodels.settings import check_settings
from genmodels.signals import Interrupted, listening

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from genmodels.compare import Run
    from genmodels.core.score import Score
    from genmodels.experiment import Experiment
    from genmodels.metrics import SampleSets
    from genmodels.models.base import BaseModel

Place = str | os.PathLike[str]
CANDIDATES_AT_ONCE = 512  # of completions, in one call of the model
Record = dict[str, Any]
OF_SAMPLES = ("data", "metrics", "run_dir", "seed")  # keys that bear on samples which exist already
OF_DATA = ("data", "seed")  # keys that bear on a classifier of data
MOST_FEATURES = 10_000  # of a classifier, and epochs of its training
MOST = 10**15  # samples in one call; more must be a mistake


@dataclass(frozen=True)
class Drawn:
    """Samples of a model. A notebook shows them as a picture.

    Attributes:
        x: the samples, raw data ``[n, *shape]``: uint8 for integers, float32 for reals.
        model: the model, in eval mode, with the weights that they were drawn with.
        sets: how they were drawn; writes the archives that ``evaluate(samples=...)`` takes.
    """

    x: Tensor
    model: BaseModel = field(repr=False)
    sets: SampleSets = field(repr=False)

    @property
    def protocol(self) -> dict[str, Any]:
        """The conditions under which they were drawn, and the speed."""
        return self.sets.protocol(len(self.x))

    @property
    def picture(self) -> Image.Image:
        """A grid of images, rows of integers, or a scatter plot."""
        from genmodels import plots
        from genmodels.hardware import require_memory

        require_memory(plots.picture_bytes(len(self.x), self.model.spec), f"a picture of n={len(self.x)} samples")
        return plots.picture(self.x, self.model.spec)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.picture.save(file, "png")
        return file.getvalue()


def train(*overrides: str) -> Run:
    """Train and evaluate the model that ``overrides`` describe, as ``genmodels train`` does.

    The same words with the same ``run_dir=FOLDER`` go on with a run that was interrupted, and skip a finished one.

    Args:
        overrides: words such as ``"model=vae"``, ``"seed=1"``, ``"metrics=[likelihood,fd]"``.

    Returns:
        The run: its folder ``path``, ``scores`` by name, ``status``, ``refusals`` and ``cost``.

    Raises:
        UserError: for bad input, before anything is written, or if training diverges.
        KeyboardInterrupt: if interrupted, after a checkpoint was saved.
    """
    with called():
        config = training(list(overrides))

        from genmodels.experiment import run

        run(config, list(overrides))
        return read(config.run_dir)


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


def evaluate(
    run: Place,
    *overrides: str,
    metrics: Sequence[str] | None = None,
    checkpoint: str | None = None,
    samples: Place | None = None,
) -> Run:
    """Evaluate a trained run again, and add the scores to its run.json, as ``genmodels evaluate`` does.

    Args:
        run: the run folder, or what :func:`train` returned; also ``wandb:...`` or ``hf://USER/NAME``.
        overrides: words such as ``"metrics.likelihood.samples=50"``.
        metrics: names of options of the group ``metrics``; by default the run's own.
        checkpoint: ``best.ckpt`` or ``last.ckpt``; by default the best if there is one.
        samples: archive of samples to score in place of new ones.

    Returns:
        The run with all its scores.

    Raises:
        UserError: for bad input, or a folder that is not a run.
    """
    with called():
        folder, chosen = located(run), choice_of(metrics)
        evaluate_again(folder, [*chosen, *overrides], checkpoint, None if samples is None else os.fspath(samples))
        return read(folder)


@dataclass(frozen=True)
class Completed:
    """Completions of given examples.

    Attributes:
        x: the completions, raw data ``[N n, *shape]``, those of one example one after another.
        given: the N examples, raw data ``[N, *shape]``.
        known: ``[N, *shape]``, true for what was known of them.
        model: the model.
    """

    x: Tensor
    given: Tensor
    known: Tensor
    model: BaseModel

    @property
    def picture(self) -> Image.Image:
        """A row for each example, which begins with what is known of it."""
        from genmodels import plots

        return plots.completions(self.given, self.known, self.x, self.model.spec)


def resume(run: Place, *overrides: str) -> Run:
    """Continue training from the run's last checkpoint, then evaluate, as ``genmodels resume`` does.

    Args:
        run: the run folder, or what :func:`train` returned; also ``wandb:...`` or ``hf://USER/NAME``.
        overrides: words such as ``"budget.max_batches=20000"``.

    Raises:
        UserError: for bad input; the folder is then as it was.
    """
    with called():
        folder = located(run)
        go_on(folder, list(overrides))
        return read(folder)


def sample(run: Place, n: int = 64, *overrides: str, label: int | None = None) -> Drawn:
    """Draw samples from the model of a run: the same for the same seed.

    Args:
        run: the run folder, or what :func:`train` returned; also ``wandb:...`` or ``hf://USER/NAME``.
        n: number of samples.
        overrides: words such as ``"seed=1"`` or ``"model/sampler=ddim"``.
        label: of a model that was trained with ``data.labels=true``, the label of all samples; ``None`` for labels that
            are as frequent as in the training data.

    Raises:
        UserError: for bad input, or a model that cannot be sampled from.
    """
    with called():
        return draw(located(run), n, list(overrides), label)


def draw_completions(
    place: Path, given: Path, mask: Path, n: int, candidates: int, overrides: list[str], label: int | None = None
) -> Completed:
    """Draw ``n`` completions of each example in the file ``given`` where that of the ``mask`` leaves it unknown.

    A model of labels needs the one of the examples.

    Raises:
        UserError: for bad input, or a model that cannot complete examples.
    """
    model, config, _ = restored(place, overrides)

    import torch

    from genmodels import plots
    from genmodels.core.abilities import Completes
    from genmodels.core.randomness import SAMPLING, stream
    from genmodels.given import read_given, read_mask
    from genmodels.hardware import require_memory
    from genmodels.metrics.sample_sets import check_label

    if not isinstance(model, Completes):
        raise UserError(f"{type(model).__name__} cannot complete examples; a diffusion model, RBM or EBM can.")
    check_label(label, model)
    require(label is not None or model.spec.classes is None, "name the label of the examples: label=...")
    x = read_given(given, model.spec)
    known = read_mask(mask, model.spec, len(x))
    require_memory(plots.picture_bytes(len(x) * (n + 1), model.spec), f"{n} completions of {len(x)} examples")
    rows, fixed = (part.repeat_interleave(n, 0).to(model.device) for part in (x, known))
    at_once = max(1, CANDIDATES_AT_ONCE // candidates)
    y = None if label is None else torch.tensor([label])
    with stream(config.seed, SAMPLING, device=model.device), torch.no_grad(), model.given(y):
        parts = zip(rows.split(at_once), fixed.split(at_once), strict=True)
        found = [model.complete(part, where, candidates).cpu() for part, where in parts]
    return Completed(torch.cat(found), x, known, model)


def restored(place: Path, overrides: list[str]) -> tuple[BaseModel, DictConfig, Record]:
    """The model of a run on the device it draws with, the config with overrides, and the run's record."""
    import torch

    from genmodels.runs import RunFolder, restore
    from genmodels.runs.threads import set_threads

    run = RunFolder.open(place)
    config = overridden(run.config, overrides, trains=False)
    model = restore(run, config, config.weights)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    record = run.read()
    set_threads(record.get("hardware", {}).get("threads"))
    return model, config, record


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, of NumPy too, and neither true nor false."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def draw(place: Path, n: int, overrides: list[str], label: int | None = None) -> Drawn:
    """What :func:`sample` does."""
    require(is_whole(n) and 0 < n < MOST, f"n must be a positive integer, got {n!r}.")
    require(label is None or is_whole(label), f"label must be an integer, got {label!r}.")
    n, label = int(n), None if label is None else int(label)

    from genmodels.core.abilities import Samples
    from genmodels.metrics import SampleSets
    from genmodels.runs import choose

    model, config, record = restored(place, overrides)
    if not isinstance(model, Samples):
        raise UserError(f"{type(model).__name__} cannot be sampled from.")
    sets = SampleSets(model, config.seed, bf16=choose(config, model, model.device, record).bf16, label=label)
    return Drawn(sets.get(n), model, sets)


def score(samples: Place, name: str, *overrides: str, metrics: Sequence[str] | None = None) -> Run:
    """Score samples that were made elsewhere, as ``genmodels score`` does.

    Args:
        samples: a folder of PNG or JPEG images, or an ``.npz`` archive of images or vectors; of the shape of the data.
        name: name of the model that made them.
        overrides: words such as ``"data=cifar10"``, ``"metrics.fid.n=5000"`` or ``"run_dir=FOLDER"``.
        metrics: names of options of the group ``metrics``.

    Returns:
        The run, which has scores and no model; ``compare`` sets it beside trained ones.

    Raises:
        UserError: for bad input, before anything is written.
    """
    with called():
        return scored(Path(samples), name, [*choice_of(metrics), *overrides])


def choice_of(metrics: Sequence[str] | None) -> list[str]:
    """The word, if any, that chooses metrics by the names of their options.

    Raises:
        UserError: for a single name, whose letters would be taken for names, or for what is no name.
    """
    if metrics is None:
        return []
    names = not isinstance(metrics, str) and all(isinstance(name, str) for name in metrics)
    require(names, f"metrics must be a list of names such as ['likelihood'], got {metrics!r}.")
    return [f"metrics=[{','.join(metrics)}]"]


def scored(samples: Path, name: str, words: list[str]) -> Run:
    """What :func:`score` does."""
    check_roots(words, OF_SAMPLES, "samples that exist already")
    config = training(words)
    if not any(word.startswith("run_dir=") for word in words):
        path = Path(config.run_dir)
        config.run_dir = str(path.with_name(f"{path.name.partition('_')[0]}_{as_name(name)}_{config.data.name}"))

    from genmodels.external import score

    score(config, samples, name, words)
    return read(config.run_dir)


def check_roots(words: list[str], roots: Sequence[str], what: str) -> None:
    """Check that the words override keys under ``roots`` only.

    Raises:
        UserError: naming one that has no effect on ``what``.
    """
    for override in parse(words):
        root = re.split("[./]", str(override.key_or_group))[0]
        require(root in roots, f"{override.input_line} has no effect on {what}.")


def train_extractor(*overrides: str, epochs: int | None = None, features: int | None = None) -> Path:
    """Train a classifier on labelled data, in whose features metrics then compare, as ``genmodels extractor`` does.

    Args:
        overrides: words such as ``"data=image_folder"``, ``"data.source.path=FOLDER"`` and ``"data.name=mine"``.
        epochs: passes over the training data; by default as many as suit their number.
        features: width of the features; by default as suits the number of test examples.

    Returns:
        The file of its weights, below the data root, where metrics find it by the name of the data.

    Raises:
        UserError: for bad input, or data without labels.
    """
    with called():
        return trained_extractor(list(overrides), epochs, features)


def trained_extractor(words: list[str], epochs: int | None, features: int | None) -> Path:
    """What :func:`train_extractor` does."""
    for name, value in (("epochs", epochs), ("features", features)):
        fits = value is None or (is_whole(value) and 0 < value <= MOST_FEATURES)
        require(fits, f"{name} must be an integer from 1 to {MOST_FEATURES}, got {value!r}.")
    check_roots(words, OF_DATA, "a classifier of data")
    config = training(words)

    from genmodels.extractor import train_extractor

    options = [f"{name}={value}" for name, value in (("epochs", epochs), ("features", features)) if value is not None]
    return train_extractor(config, shlex.join(["genmodels", "extractor", *words, *options]), epochs, features)


def export(run: Place, out: Place, weights: str | None = None, format: str | None = None) -> Path:
    """Write a trained model to a folder that ``load``, ``sample`` and ``evaluate`` take, as ``genmodels export`` does.

    It holds the weights as safetensors, the config, the record with its scores, and a model card; no optimizer.

    Args:
        run: the run folder, or what :func:`train` returned; also ``wandb:...`` or ``hf://USER/NAME``.
        out: a folder that does not exist or is empty.
        weights: ``ema`` (averaged) or ``raw``; by default those that the run is evaluated with.
        format: ``torch.export`` to write also programs that run with torch alone, such as ``decoder.pt2``.

    Raises:
        UserError: for bad input, or a model without such parts.
    """
    from genmodels.publish import write

    with called():
        return write(located(run), Path(out), weights, format)


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


def read(run: Place) -> Run:
    """The run of a folder."""
    from genmodels.compare import Run

    return Run.read(Path(run) / "run.json")


@contextmanager
def called() -> Iterator[None]:
    """Context of a function that a program calls: bad input is one sentence, and Ctrl-C what Python programs expect.

    Raises:
        UserError: in place of other errors that bad input or the machine explain.
        KeyboardInterrupt: at the end of a training batch, with what to do next.
    """
    try:
        with listening():
            yield
    except Interrupted as interrupted:
        raise KeyboardInterrupt(f"interrupted by {interrupted}{interrupted.advice}") from None
    except Exception as error:
        if isinstance(error, UserError) or not is_bad_input(error):
            raise
        raise UserError(sentence(error)) from error


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
