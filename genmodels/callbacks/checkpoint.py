"""Checkpoints, written atomically and never after a loss that is not finite."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from genmodels.callbacks.finite import StopOnNaN
from genmodels.callbacks.validate import MONITOR, Validate
from genmodels.core.processes import is_rank_zero
from genmodels.errors import UserError, ensure
from genmodels.files import atomic, sha256
from genmodels.models.base import BaseModel
from genmodels.signals import Interrupted


class Checkpoint(Callback):
    """Keeps ``last.ckpt`` after every validation and every few minutes, and ``best.ckpt`` by a validation value.

    Args:
        folder: folder of the checkpoints.
        validate: computes the validation value.
        guard: checks that the loss is finite.
        announce: called with the name and the SHA-256 of a file before it is written.
        monitor: name of the logged value that chooses ``best.ckpt``; ``None`` for the validation value, except that a
            model whose validation value is too coarse for that (a GAN's) then has no ``best.ckpt``.
        mode: ``min`` if lower is better, else ``max``.
        minutes: longest time between two saves.

    Attributes:
        best_score: the best value so far, by :attr:`monitor`.
        values: every validation value, by name, of the checkpoint that will be scored: the best, or else the last.

    Raises:
        ValueError: for an unknown mode, or minutes that are not positive.
    """

    def __init__(
        self,
        folder: str | Path,
        validate: Validate,
        guard: StopOnNaN,
        announce: Callable[[str, str], None],
        monitor: str | None = None,
        mode: str = "min",
        minutes: float = 5.0,
    ) -> None:
        ensure(mode in ("min", "max"), f"mode must be min or max, got {mode}.")
        ensure(minutes > 0, f"minutes must be positive, got {minutes}.")
        self.last, self.best = Path(folder) / "last.ckpt", Path(folder) / "best.ckpt"
        self.monitor, self.mode, self.minutes = monitor, mode, minutes
        self.best_score: float | None = None
        self.values: dict[str, float] = {}
        self.best_batch: int | None = None
        self._validate, self._guard, self._announce = validate, guard, announce
        self._training = self._saved = False
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        """From now on there is something to save."""
        self._training = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Save if the last save is longer ago than ``minutes``, by the clock of the first process."""
        overdue = time.monotonic() - self._saved_at > 60 * self.minutes
        if trainer.world_size > 1:
            overdue = bool(trainer.strategy.broadcast(overdue))
        if overdue:
            self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Save ``last.ckpt``, and copy it to ``best.ckpt`` if the monitored value is the best so far."""
        chooses = self.monitor is not None or pl_module.keeps_best
        better = chooses and self._is_better(float(trainer.callback_metrics[self.monitor or self._validate.key]))
        if better:
            self.best_batch = pl_module.batches
        if better or not chooses:
            found = trainer.callback_metrics.items()
            self.values = {name: float(value) for name, value in found if name.startswith("val/") and name != MONITOR}
        self.save(trainer, best=better)
        trainer.strategy.barrier()  # the other processes read these files next

    def _is_better(self, score: float) -> bool:
        """Whether ``score`` is the best so far; if so, it becomes :attr:`best_score`."""
        better = self.best_score is None or (score < self.best_score if self.mode == "min" else score > self.best_score)
        self.best_score = score if better else self.best_score
        return better

    @property
    def chosen_by(self) -> dict[str, Any] | None:
        """Name and value of the score that chose ``best.ckpt``, and its batch; ``None`` if there is no such file."""
        if self.best_score is None:
            return None
        return {"monitor": self.monitor or self._validate.key, "value": self.best_score, "batches": self.best_batch}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the trained model if no validation has done so."""
        if not self._saved:
            self.save(trainer)
        self._training = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save when the user interrupts training."""
        asked = isinstance(exception, (KeyboardInterrupt, Interrupted))
        together = trainer.world_size == 1 or getattr(exception, "everywhere", False)  # all take part in saving
        if self._training and asked and together:
            self.save(trainer)
        self._training = False

    def save(self, trainer: Trainer, best: bool = False) -> None:
        """Replace ``last.ckpt``, and before it ``best.ckpt`` if this is the ``best`` model so far.

        The curves are saved before both: a resumed run drops the rows that come after its checkpoint. Whenever the
        process is killed, training thus continues from a moment of which everything is on disk. Every process must call
        this; the first one writes.

        Raises:
            UserError: if the loss is no longer finite, or a file cannot be written.
        """
        self._guard.check()
        with disk_errors_explained(self.last):
            for logger in trainer.loggers:
                logger.save()
            self.last.parent.mkdir(parents=True, exist_ok=True)
            with atomic(self.last) if is_rank_zero() else nullcontext(self.last) as path:
                trainer.save_checkpoint(path)
                if is_rank_zero():
                    self._publish(path, best)
        self._saved, self._saved_at = True, time.monotonic()

    def _publish(self, path: Path, best: bool) -> None:
        """Announce a file that is about to become ``last.ckpt``, and copy it to ``best.ckpt`` if it is the best."""
        found = sha256(path)
        if best:
            self._announce(self.best.name, found)
            with atomic(self.best) as part:
                shutil.copyfile(path, part)
        self._announce(self.last.name, found)

    def state_dict(self) -> dict[str, Any]:
        """The best score, its batch, and the values beside it, for the checkpoint."""
        return {"best_score": self.best_score, "best_batch": self.best_batch, "values": self.values}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_batch = state_dict["best_score"], state_dict["best_batch"]
        self.values = state_dict.get("values", {})


@contextmanager
def disk_errors_explained(path: Path) -> Iterator[None]:
    """Explain a failure to write ``path``.

    Raises:
        UserError: in place of the error, naming the file and what to do.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):  # torch's error on a full disk
            raise
        other = isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT)
        reason = getattr(error, "strerror", "") if other else "the disk is full; free some space"
        again = f"genmodels resume run={path.parents[1]}"
        raise UserError(f"{path} could not be written: {reason}, then continue with: {again}") from error
