"""Signals that end training: heard at the end of a batch, so that a checkpoint never holds half of a step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupt(Callback):
    """Turns SIGINT, SIGTERM and SIGHUP into a ``KeyboardInterrupt`` at the end of the training batch under way.

    Outside of a training batch, and at a second signal, the interrupt comes at once. A signal that the process was
    started to ignore, as by ``nohup``, stays ignored.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}
        self._within_batch = self._pending = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            heard = [signum for signum in SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN]
            self._previous = {signum: signal.signal(signum, self._handle) for signum in heard}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._within_batch and not self._pending:
            self._pending = True
        else:
            raise KeyboardInterrupt

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        """Hold interrupts back."""
        self._within_batch = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Interrupt, if a signal came during the batch.

        Raises:
            KeyboardInterrupt: which saves a checkpoint on its way out.
        """
        self._within_batch = False
        if self._pending:
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening."""
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous, self._pending = {}, False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop listening, after the callbacks before this one have saved."""
        self.on_train_end(trainer, pl_module)
