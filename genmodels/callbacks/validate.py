"""Watching a number on held-out data while training."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor
from torchmetrics import MeanMetric

from genmodels.callbacks.finite import diverged
from genmodels.core import Likelihood, bits_per_dim
from genmodels.core.randomness import fixed_seed
from genmodels.errors import UserError
from genmodels.loggers import log_values
from genmodels.metrics import LogLikelihoodMean
from genmodels.models.base import BaseModel


class Validate(Callback):
    """Logs the mean of :meth:`BaseModel.monitor` over the validation data, with the same noise every time.

    A likelihood is logged as ``val/bits_per_dim`` on integer data and as ``val/nats``, negative, on continuous data;
    anything else as ``val/<monitor_name>``: the lower the better. The value goes through Lightning's ``log`` as well,
    so that ``EarlyStopping``, ``ReduceLROnPlateau`` and ``ModelCheckpoint`` can monitor it.

    Attributes:
        score: the latest value, the same in every process.
    """

    def __init__(self) -> None:
        self.score: float | None = None
        self._likelihood = LogLikelihoodMean()
        self._mean = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)

    def on_validation_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Fresh means."""
        for metric in (self._likelihood, self._mean):
            metric.to(pl_module.device).reset()

    def on_validation_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int, _: int = 0
    ) -> None:
        """Add one batch."""
        with fixed_seed(batch_idx * trainer.world_size + trainer.global_rank, pl_module.device):
            found = pl_module.monitor(batch)
        if isinstance(found, Likelihood):
            self._likelihood.update(found)
        else:
            self._mean.update(found.detach(), weight=len(batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Reduce over processes and log.

        Raises:
            UserError: if the mean is not finite.
        """
        name, self.score = self._compute(pl_module)
        pl_module.log(f"val/{name}", self.score, logger=False)
        log_values(trainer, {f"val/{name}": self.score})

    def _compute(self, model: BaseModel) -> tuple[str, float]:
        if self._likelihood.update_called:
            try:
                nats = self._likelihood.compute().mean
            except UserError as error:
                raise diverged("the validation likelihood", model.batches) from error
            return ("bits_per_dim", bits_per_dim(nats, model.spec)) if model.spec.is_discrete else ("nats", -nats)
        mean = float(self._mean.compute())
        if not math.isfinite(mean):
            raise diverged(f"the validation {model.monitor_name}", model.batches)
        return model.monitor_name, mean
