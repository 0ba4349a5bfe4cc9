"""Stops training at a loss that is not finite, or too large, before a checkpoint of the diverged model is saved."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from genmodels.errors import UserError, ensure_counts
from genmodels.models.base import BaseModel


class StopOnNaN(Callback):
    """Stops training when a loss is not finite, or beyond what the model says is its largest.

    The number of the first such batch is kept on the device, since reading it waits for the device.

    Args:
        every: batches between two checks on an accelerator; on a CPU every batch is checked.

    Raises:
        ValueError: if every is less than 1.
    """

    def __init__(self, every: int = 50) -> None:
        ensure_counts(every=every)
        self.every = every
        self._bad: Tensor | None = None
        self._remedies, self._largest = BaseModel.remedies, math.inf

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Record a loss that shows divergence, and check the record if it is due.

        Raises:
            UserError: naming the first batch with such a loss.
        """
        loss, number = outputs["loss"], pl_module.batches
        self._remedies, self._largest = pl_module.remedies, pl_module.largest_loss
        if loss.device.type == "cpu":
            if not abs(float(loss)) < self._largest:
                self._bad = torch.tensor(float(number))
                self.check()
            return
        this = torch.where(loss.abs() < self._largest, torch.inf, float(number))
        self._bad = this if self._bad is None else torch.minimum(self._bad, this)
        if number % self.every == 0:
            self.check()

    def check(self) -> None:
        """Raise if a loss showed divergence; called before every checkpoint is saved.

        Raises:
            UserError: naming the first such batch.
        """
        if self._bad is not None and torch.isfinite(self._bad):
            raise diverged("the loss", int(self._bad), self._remedies, self._largest)


def diverged(what: str, batch: int, remedies: str, largest: float = math.inf) -> UserError:
    """The error for the quantity ``what`` that is not finite, or not below ``largest``, at ``batch``, and remedies."""
    became = "NaN or infinite" if math.isinf(largest) else f"NaN, infinite or larger than {largest:.2g}"
    return UserError(
        f"{what} became {became} at batch {batch}, so training stopped; checkpoints/last.ckpt, "
        f"if there is one, was saved before that; {remedies}."
    )
