"""What the commands do, as functions for Python and notebooks: ``train``, ``evaluate``, ``resume``, ``sample``, ...

Words are those of the command line, ``"model=vae"``. Errors in them are :class:`genmodels.UserError`, one sentence.
This module does not import torch before a function is called.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from genmodels.actions import Place, evaluate_again, go_on, read, scored, trained_extractor, training
from genmodels.drawn import Drawn, draw
from genmodels.errors import UserError, require
from genmodels.files import path_named
from genmodels.hints import is_bad_input, sentence
from genmodels.places import located
from genmodels.signals import Interrupted, listening

if TYPE_CHECKING:
    from genmodels.compare import Run


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
        return scored(path_named(samples, "samples"), name, [*choice_of(metrics), *overrides])


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
        return write(located(run), path_named(out, "out"), weights, format)


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
