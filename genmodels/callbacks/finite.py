"""A loss that is not finite ends the training before a checkpoint of the broken model is saved."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from genmodels.errors import UserError
from genmodels.models.base import BaseModel


class StopOnNaN(Callback):
    """Remembers on the device the first batch whose loss was not finite, and reads it only now and then.

    Args:
        every: batches between two readings on an accelerator, each of which waits for the device. On a CPU a reading
            costs nothing, so every batch is checked.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._bad: Tensor | None = None

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Note a bad loss; raise on the interval."""
        loss = outputs["loss"].detach()
        number = pl_module.batches
        this = torch.where(torch.isfinite(loss), torch.inf, float(number))
        self._bad = this if self._bad is None else torch.minimum(self._bad, this)
        if loss.device.type == "cpu" or number % self.every == 0:
            self.check()

    def check(self) -> None:
        """Raise if a loss was not finite; called before every save of a checkpoint.

        Raises:
            UserError: naming the batch.
        """
        if self._bad is not None and torch.isfinite(self._bad):
            raise diverged("the loss", int(self._bad))


def diverged(what: str, batch: int) -> UserError:
    """The error for a number that is no longer finite."""
    return UserError(
        f"{what} became NaN or infinite at batch {batch}, so training stopped and checkpoints/last.ckpt, "
        "if there is one, is from before; lower model.optimizer.lr or set model.clip_norm."
    )
