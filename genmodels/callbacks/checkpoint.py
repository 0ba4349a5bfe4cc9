"""Checkpoints that are whole or absent, and never of a model that has broken."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from genmodels.callbacks.finite import StopOnNaN
from genmodels.callbacks.validate import Validate
from genmodels.core.processes import is_rank_zero
from genmodels.errors import UserError
from genmodels.files import atomic
from genmodels.models.base import BaseModel


class Checkpoint(Callback):
    """Keeps ``last.ckpt`` after every validation and every few minutes, and ``best.ckpt`` by validation likelihood.

    A model without a likelihood has no ``best.ckpt``.

    Args:
        folder: where they lie.
        validate: who knows the latest validation score.
        guard: who knows whether the loss is still a number.
        minutes: longest time between two saves.
    """

    def __init__(self, folder: str | Path, validate: Validate, guard: StopOnNaN, minutes: float = 5.0) -> None:
        self.last, self.best = Path(folder) / "last.ckpt", Path(folder) / "best.ckpt"
        self.minutes = minutes
        self.best_score: float | None = None
        self._validate, self._guard = validate, guard
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Save if it has been long. One clock decides for all processes."""
        overdue = time.monotonic() - self._saved_at > 60 * self.minutes
        if trainer.world_size > 1:
            overdue = bool(trainer.strategy.broadcast(overdue))
        if overdue:
            self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Save, and once more under the name ``best`` if the score is the best so far."""
        score = self._validate.score if pl_module.keeps_best else None
        better = score is not None and (self.best_score is None or score < self.best_score)
        if better:
            self.best_score = score
        self.save(trainer)
        if better and is_rank_zero():
            with disk_errors_explained(self.best), atomic(self.best) as part:
                shutil.copyfile(self.last, part)
        trainer.strategy.barrier()  # the other processes read these files next

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what has been learned when the user interrupts the training."""
        if isinstance(exception, KeyboardInterrupt) and trainer.state.fn == "fit":
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Replace ``last.ckpt``; every process must call this, the first of them writes.

        Raises:
            UserError: if the loss is no longer finite, or the disk refuses.
        """
        self._guard.check()
        destination = atomic(self.last) if is_rank_zero() else nullcontext(self.last)
        with disk_errors_explained(self.last):
            self.last.parent.mkdir(parents=True, exist_ok=True)
            with destination as path:
                trainer.save_checkpoint(path)
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The best score, for the checkpoint."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing."""
        self.best_score = state_dict["best_score"]


@contextmanager
def disk_errors_explained(path: Path) -> Iterator[None]:
    """Turn a failure to write ``path`` to disk into a sentence.

    Raises:
        UserError: naming the file and what to do.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):  # how a full disk reads
            raise
        raise UserError(
            f"{path} could not be written ({error}); free some space on that disk, "
            "then go on with: genmodels resume run=FOLDER"
        ) from error
