"""A progress bar over the whole budget with the time left; plain lines without a terminal."""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, Trainer
from torch import Tensor

from genmodels.callbacks.budget import Budget
from genmodels.callbacks.training_log import TrainingLog
from genmodels.callbacks.validate import Validate
from genmodels.core.processes import is_rank_zero
from genmodels.models.base import BaseModel
from genmodels.progress import Reporter


class ProgressBar(Callback):
    """Shows the fraction of the budget spent, the speed, the latest losses and the validation value.

    Args:
        title: model and data set.
        budget: gives the fraction spent.
        validate: holds the latest validation value.
        log: holds the latest terms of the loss.
    """

    def __init__(self, title: str, budget: Budget, validate: Validate, log: TrainingLog) -> None:
        self.title, self._budget, self._validate, self._log = title, budget, validate, log
        self._reporter: Reporter | None = None
        self._started_at = self._first_batch = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Open the bar, in the first process."""
        self._started_at, self._first_batch = time.monotonic(), self._budget.spent["batches"]
        if is_rank_zero():
            self._reporter = Reporter(self.title, done=self._budget.fraction)
            self._reporter.start()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Show the fraction of the budget spent."""
        if self._reporter is not None:
            self._reporter.update(self._budget.fraction, self.status)

    def status(self) -> str:
        """Speed, losses and validation value in one short line."""
        seconds = max(time.monotonic() - self._started_at, 1e-9)
        speed = (self._budget.spent["batches"] - self._first_batch) / seconds
        shown = list(self._log.latest.items())[:3]
        losses = "  ".join(f"{name.removeprefix('train/')} {value:.3g}" for name, value in shown)
        score = "" if self._validate.score is None else f"  val {self._validate.score:.3f}"
        pace = f"{speed:.0f} batches/s" if speed >= 1 or not speed else f"{1 / speed:.1f} s/batch"
        return f"{pace}  {losses}{score}"

    def on_train_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Close the bar."""
        if self._reporter is not None:
            self._reporter.stop()

    def on_exception(self, trainer: Trainer, pl_module: BaseModel, exception: BaseException) -> None:  # type: ignore[override]
        """Close the bar, to leave the terminal in order."""
        self.on_train_end(trainer, pl_module)
