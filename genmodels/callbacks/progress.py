"""One bar over the whole budget, with time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import Any

from lightning import Callback, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor

from genmodels.callbacks.budget import Budget
from genmodels.callbacks.training_log import TrainingLog
from genmodels.callbacks.validate import Validate
from genmodels.models.base import BaseModel


class ProgressBar(Callback):
    """Shows how much of the budget is spent, the speed, the latest losses and the validation score.

    Args:
        title: what is being trained.
        budget: what to measure against.
        validate: who knows the latest validation score.
        log: who knows the latest training terms.
    """

    def __init__(self, title: str, budget: Budget, validate: Validate, log: TrainingLog) -> None:
        self.title, self._budget, self._validate, self._log = title, budget, validate, log
        self.console = Console()
        self._bar: Progress | None = None
        self._drawn_at = self._started_at = 0.0
        self._first_batch = 0.0
        self._tenths = 0

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Open the bar."""
        self._started_at, self._first_batch = time.monotonic(), self._budget.spent["batches"]
        self._tenths = int(10 * self._budget.fraction)
        if trainer.is_global_zero and self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[status]}"), console=self.console)
            self._bar.add_task(self.title, total=1.0, status="")
            self._bar.start()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Redraw ten times a second on a terminal; elsewhere a line for every tenth of the budget."""
        fraction, now = self._budget.fraction, time.monotonic()
        if self._bar is not None:
            if now - self._drawn_at > 0.1 or fraction >= 1:
                self._drawn_at = now
                self._bar.update(self._bar.task_ids[0], completed=fraction, status=self.status(now))
        elif int(10 * fraction) > self._tenths and trainer.is_global_zero:
            self._tenths = int(10 * fraction)
            left = (now - self._started_at) / max(fraction, 1e-9) * (1 - fraction)
            line = f"{self.title}  {fraction:4.0%}  {self.status(now)}  {left:.0f} s left"
            self.console.print(line, highlight=False, soft_wrap=True)

    def status(self, now: float) -> str:
        """Speed, losses and validation score in one short line."""
        speed = (self._budget.spent["batches"] - self._first_batch) / max(now - self._started_at, 1e-9)
        shown = list(self._log.latest.items())[:3]
        losses = "  ".join(f"{name.removeprefix('train/')} {value:.3g}" for name, value in shown)
        score = "" if self._validate.score is None else f"  val {self._validate.score:.3f}"
        return f"{speed:.0f} batches/s  {losses}{score}"

    def on_train_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_exception(self, trainer: Trainer, pl_module: BaseModel, exception: BaseException) -> None:  # type: ignore[override]
        """Leave the terminal clean."""
        self.on_train_end(trainer, pl_module)
