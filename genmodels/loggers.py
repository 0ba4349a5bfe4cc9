"""Logging of values, scores and images, and the loggers for metrics.csv and Weights & Biases."""

from __future__ import annotations

import csv
import hashlib
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import Logger, WandbLogger
from PIL import Image

from genmodels.core import Score
from genmodels.core.processes import is_rank_zero
from genmodels.errors import UserError, ensure, require
from genmodels.files import atomic
from genmodels.models.base.model import batches
from genmodels.untrusted import MEBIBYTE, read_text


def log_values(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Send values to the loggers against the number of batches trained.

    Lightning's own ``log`` is not used: its step axis counts optimizer steps, two per batch for a GAN, and its
    bookkeeping costs a fixed time in each batch.
    """
    for logger in trainer.loggers:
        logger.log_metrics(dict(values), step=batches(trainer))


def log_scores(trainer: Trainer, scores: Iterable[Score]) -> None:
    """Send scores to the loggers as ``test/<name>``, their standard errors as ``test/<name>_se``.

    The summary on Weights & Biases holds the complete scores.

    Raises:
        UserError: for anything that is not a :class:`Score`.
    """
    for score in scores:
        require(isinstance(score, Score), f"only a Score, with kind, n and protocol, is logged, got {score!r}.")
        errors = {} if score.se is None else {f"test/{score.name}_se": score.se}
        log_values(trainer, {f"test/{score.name}": score.value} | errors)
        for logger in trainer.loggers:
            summary = getattr(getattr(logger, "experiment", None), "summary", None)
            if summary is not None:  # wandb
                summary.update({f"score/{score.name}": score.to_dict() | {"text": score.text}})


def log_image(trainer: Trainer, name: str, image: Image.Image) -> None:
    """Log an image to every logger that takes images."""
    for logger in trainer.loggers:
        writer: Any = getattr(logger, "experiment", None)
        if hasattr(logger, "log_image"):  # wandb
            logger.log_image(name, [image], step=batches(trainer))
        elif hasattr(writer, "add_image"):  # tensorboard
            writer.add_image(name, np.asarray(image), batches(trainer), dataformats="HWC")


class MetricsCsv(Logger):
    """``metrics.csv``: one row per step, one column per metric.

    Args:
        folder: run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, str]] = {}
        self._save_at = 0

    name = "csv"
    version = ""
    experiment = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Merge ``metrics`` into the row of ``step``."""
        if not is_rank_zero():
            return
        self.rows.setdefault(step or 0, {}).update({name: f"{float(value):.8g}" for name, value in metrics.items()})
        if len(self.rows) > self._save_at:
            self.save()
            self._save_at = len(self.rows) + 20 + len(self.rows) // 10

    def rewind(self, step: int) -> None:
        """Continue the table on disk after the row of ``step``; drop later rows, which will be written again.

        Raises:
            UserError: if the table cannot be read.
        """
        self.rows = {number: row for number, row in self._read().items() if number <= step}

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: config.yaml holds them."""

    def save(self) -> None:
        """Write the table, in the first process."""
        if not (self.rows and is_rank_zero()):
            return
        columns = sorted({name for row in self.rows.values() for name in row})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", *columns])
            writer.writeheader()
            writer.writerows({"step": str(step), **row} for step, row in sorted(self.rows.items()))

    def finalize(self, status: str) -> None:
        """Write the rows since the last save."""
        self.save()

    def _read(self) -> dict[int, dict[str, str]]:
        if not self.path.exists():
            return {}
        try:
            rows = csv.DictReader(read_text(self.path, most=256 * MEBIBYTE).splitlines())
            ensure("step" in (rows.fieldnames or ["step"]), "it has no column step.")
            return {int(row.pop("step")): {name: f"{float(v):.8g}" for name, v in row.items() if v} for row in rows}
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(
                f"{self.path} is damaged: it is no table of numbers with a column step; repair or remove it."
            ) from error


class Wandb(WandbLogger):
    """Weights & Biases, with one run per run folder: the id is a hash of the path, so that a resumed run continues it.

    Args:
        folder: run folder.
        project: project on Weights & Biases.
        entity: user or team, or ``None``.
        group: groups runs on the dashboard, or ``None``.
        tags: labels.
        offline: keep the run in the folder, for ``wandb sync`` later.
    """

    def __init__(
        self,
        folder: str | Path,
        project: str = "genmodels",
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        offline: bool = False,
    ) -> None:
        folder = Path(folder).resolve()
        super().__init__(
            name=folder.name,
            id=hashlib.sha256(str(folder).encode()).hexdigest()[:16],
            save_dir=str(folder),
            project=project,
            entity=entity,
            group=group,
            tags=tags,
            offline=offline,
            resume="allow",
        )

    @property
    def experiment(self) -> Any:
        """The wandb run, whose summary holds the best and the last values."""
        fresh = self._experiment is None
        run = super().experiment
        if fresh and hasattr(run, "define_metric"):
            for name in ("val/bits_per_dim", "val/nats", "train/loss"):
                run.define_metric(name, step_metric="trainer/global_step", summary="min,last")
        return run
