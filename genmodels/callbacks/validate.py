"""Watching a number on held-out data while training."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor
from torchmetrics import MeanMetric

from genmodels.callbacks.budget import Budget
from genmodels.callbacks.finite import diverged
from genmodels.core import Likelihood, bits_per_dim
from genmodels.core.randomness import fixed_seed
from genmodels.errors import UserError, require
from genmodels.loggers import log_values
from genmodels.metrics import LogLikelihoodMean
from genmodels.models.base import BaseModel

MONITOR = "val/monitor"
"""The name under which Lightning's callbacks find what validation watches, whatever model and data are."""

UNTIL_DUE = 10**12  # batches


class Validate(Callback):
    """Logs the mean of :meth:`BaseModel.monitor` over the validation data, with the same noise every time.

    Validations are evenly spaced over the budget, whatever unit it is in. A likelihood is logged as
    ``val/bits_per_dim`` on integer data and as ``val/nats``, negative, on continuous data; anything else as
    ``val/<monitor_name>``: the lower the better. The value goes through Lightning's ``log`` as well, so that
    ``EarlyStopping``, ``ReduceLROnPlateau`` and ``ModelCheckpoint`` can monitor it, by its own name or as
    ``val/monitor``.

    Args:
        budget: who knows the spent share.
        validations: how many there are in the budget.

    Attributes:
        score: the latest value, the same in every process.
        key: its own name, as logged.
    """

    def __init__(self, budget: Budget, validations: int = 10) -> None:
        self.budget, self.validations = budget, validations
        self._done = 0
        self._validated = False  # since the last batch
        self.score: float | None = None
        self.key = MONITOR
        self._likelihood = LogLikelihoodMean()
        self._mean = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Go on where a checkpoint was saved, perhaps with a larger budget.

        Of a checkpoint that was saved at a validation Lightning must be told that one was due: it then takes up the
        batches, too, after it.
        """
        self._done = min(self._done, self._due())
        trainer.val_check_batch = 1 if self._validated else UNTIL_DUE

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, batch: Tensor, batch_idx: int
    ) -> None:
        """A new batch, not yet validated."""
        self._validated = False

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Ask Lightning for a validation after this batch when the next share of the budget is spent."""
        trainer.val_check_batch = 1 if self._due() > self._done else UNTIL_DUE

    def _due(self) -> int:
        return math.floor(self.budget.fraction * self.validations + 1e-9)

    def on_validation_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Fresh means."""
        self._validated = True
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
        self.key = f"val/{name}"
        pl_module.log_dict({self.key: self.score, MONITOR: self.score}, logger=False)
        log_values(trainer, {self.key: self.score})

    def on_validation_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Count, and hold the names that other callbacks monitor against what was logged.

        Raises:
            UserError: for a name that nothing was logged under, naming those that there are.
        """
        self._done = self._due()
        known = trainer.callback_metrics
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            name = getattr(callback, "monitor", None)
            require(
                name is None or name in known,
                f"{type(callback).__name__} monitors {name}, which is not logged; there is {', '.join(sorted(known))}.",
            )

    def state_dict(self) -> dict[str, Any]:
        """How many validations there have been, and whether one follows the last batch, for the checkpoint."""
        return {"done": self._done, "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._done, self._validated = state_dict["done"], state_dict["validated"]

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
