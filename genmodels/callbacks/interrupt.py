"""Signals during training: heard at the end of a batch, so that a checkpoint never holds half of a step."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from genmodels import signals
from genmodels.core.processes import gather


class Interrupt(Callback):
    """Turns SIGINT, SIGTERM and SIGHUP into :class:`genmodels.signals.Interrupted`.

    Within a training batch the interrupt waits for its end; elsewhere, and at a second signal, it comes at once.
    Several processes are interrupted together, at the end of the next batch. Lightning's own handlers would stop with
    the exit status 0, or not at all.
    """

    def __init__(self) -> None:
        self._ears = ExitStack()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._ears.enter_context(signals.listening())
        if trainer.world_size > 1:
            signals.hold()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        """Hold interrupts back."""
        signals.hold()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Interrupt, if a signal came to one of the processes during the batch.

        Raises:
            Interrupted: in every process, since all take part in saving a checkpoint on the way out.
        """
        heard = [signum for signum in gather(signals.release()) if signum is not None]
        if heard:
            interrupted = signals.Interrupted(heard[0])
            interrupted.everywhere = True
            raise interrupted
        if trainer.world_size > 1:
            signals.hold()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening."""
        self._ears.close()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._ears.enter_context(signals.listening())

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening."""
        self._ears.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop listening, after the callbacks before this one have saved."""
        self._ears.close()
