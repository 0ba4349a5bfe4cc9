"""Logging of values, scores and pictures with all loggers of a run, against the number of batches trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lightning import Trainer
from PIL import Image

from genmodels.core import Score
from genmodels.errors import require
from genmodels.loggers.mirror import Mirror
from genmodels.models.base.model import batches


def log_values(trainer: Trainer, values: Mapping[str, float], better: str = "lower") -> None:
    """Send values to the loggers against the number of batches trained.

    Lightning's own ``log`` is not used: its step axis counts optimizer steps, two per batch for a GAN, and its
    bookkeeping costs a fixed time in each batch.

    Args:
        trainer: has the loggers.
        values: by name.
        better: ``lower`` or ``higher``, for the best of the values whose names begin with ``val/``.
    """
    for logger in trainer.loggers:
        if isinstance(logger, Mirror):
            logger.add(values, batches(trainer), better)
        else:
            logger.log_metrics(dict(values), step=batches(trainer))


def log_scores(trainer: Trainer, scores: Iterable[Score]) -> None:
    """Send scores to the loggers as ``test/<name>``, their standard errors as ``test/<name>_se``.

    Raises:
        UserError: for anything that is not a :class:`Score`.
    """
    for score in scores:
        require(isinstance(score, Score), f"only a Score, with kind, n and protocol, is logged, got {score!r}.")
        errors = {} if score.se is None else {f"test/{score.name}_se": score.se}
        log_values(trainer, {f"test/{score.name}": score.value} | errors)


def log_image(trainer: Trainer, name: str, image: Image.Image) -> None:
    """Send an image to every mirror."""
    for logger in trainer.loggers:
        if isinstance(logger, Mirror):
            logger.add_image(name, image, batches(trainer))


def log_animation(trainer: Trainer, name: str, file: Path) -> None:
    """Send an animated GIF to every mirror."""
    for logger in trainer.loggers:
        if isinstance(logger, Mirror):
            logger.add_animation(name, file, batches(trainer))
