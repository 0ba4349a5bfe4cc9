"""Validation: the mean of the model's validation value over held-out data."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor
from torchmetrics import MeanMetric
from typing_extensions import override

from genmodels.callbacks.budget import Budget
from genmodels.callbacks.finite import diverged
from genmodels.core import Likelihood, bits_per_dim
from genmodels.core.randomness import fixed_seed
from genmodels.errors import UserError, require
from genmodels.loggers import log_values
from genmodels.metrics import LogLikelihoodMean
from genmodels.metrics.likelihood import likelihood_name
from genmodels.models.base import BaseModel, Batch, examples_and_labels

MONITOR = "val/monitor"
"""Name under which Lightning's callbacks find the validation value of any model on any data."""

UNTIL_DUE = 10**12  # batches


class Validate(Callback):
    """Logs the mean of :meth:`BaseModel.monitor` over the validation data, with the same noise every time.

    Validations are evenly spaced over the budget, whatever unit it is in. A likelihood is logged as
    ``val/bits_per_dim`` on integer data and as ``val/nats``, negative, on continuous data; anything else as
    ``val/<monitor_name>``; lower is better. The name of a likelihood of p(x|y) ends in ``_given_label``. The value goes
    through Lightning's ``log`` as well, so that ``EarlyStopping``, ``ReduceLROnPlateau`` and ``ModelCheckpoint`` can
    monitor it, by its own name or as ``val/monitor``.

    Args:
        budget: gives the fraction spent.
        validations: number of validations in the budget.

    Attributes:
        score: the latest validation value, the same in every process.
        key: its own name in the logs.
    """

    def __init__(self, budget: Budget, validations: int = 10) -> None:
        self.budget, self.validations = budget, validations
        self.done = 0
        self._validated = False  # since the last batch
        self.score: float | None = None
        self.key = MONITOR
        self._likelihood = LogLikelihoodMean()
        self._mean = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Continue from a checkpoint, perhaps with a larger budget.

        For a checkpoint saved at a validation, ``val_check_batch`` must say that one was due: Lightning then continues
        with the batch after it.
        """
        self.done = min(self.done, self._due())
        trainer.val_check_batch = 1 if self._validated else UNTIL_DUE

    def catch_up(self, trainer: Trainer) -> None:
        """Validate now, if training goes on from a checkpoint that was saved before or during a validation."""
        if self._due() > self.done:
            loop = trainer.fit_loop.epoch_loop.val_loop
            loop.restarting = False  # from its first batch
            trainer.validating = True
            loop.run()
            trainer.training = True
            self.on_train_start(trainer, trainer.lightning_module)  # type: ignore[arg-type]

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, batch: Tensor, batch_idx: int
    ) -> None:
        """Note that no validation has followed this batch yet."""
        self._validated = False

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Request a validation after this batch if the budget spent makes one due."""
        trainer.val_check_batch = 1 if self._due() > self.done else UNTIL_DUE

    def _due(self) -> int:
        return math.floor(self.budget.fraction * self.validations + 1e-9)

    def on_validation_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Reset the means."""
        for metric in (self._likelihood, self._mean):
            metric.to(pl_module.device).reset()

    def on_validation_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Batch, batch_idx: int, _: int = 0
    ) -> None:
        """Add the validation values of one batch to the mean."""
        x, y = examples_and_labels(batch)
        with fixed_seed(batch_idx * trainer.world_size + trainer.global_rank, pl_module.device), pl_module.given(y):
            found = pl_module.monitor(x)
        if isinstance(found, Likelihood):
            self._likelihood.update(found)
        else:
            self._mean.update(found.detach(), weight=len(x))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Reduce the mean over processes and log it.

        Raises:
            UserError: if the mean is not finite.
        """
        name, self.score = self._compute(pl_module)
        self.key = f"val/{name}"
        pl_module.log_dict({self.key: self.score, MONITOR: self.score}, logger=False)
        log_values(trainer, {self.key: self.score})

    def on_validation_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Count the validation, and check that the values which other callbacks monitor are logged.

        Raises:
            UserError: for a value that is not logged, naming those that are.
        """
        self.done, self._validated = self._due(), True
        known = trainer.callback_metrics
        names = ", ".join(sorted(known))
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            name = getattr(callback, "monitor", None)
            require(
                name is None or name in known,
                f"{type(callback).__name__} monitors {name}, which is not logged; logged are {names}.",
            )

    def state_dict(self) -> dict[str, Any]:
        """The number of validations, and whether one followed the last batch, for the checkpoint."""
        return {"done": self.done, "validated": self._validated}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.done, self._validated = state_dict["done"], state_dict["validated"]

    def _compute(self, model: BaseModel) -> tuple[str, float]:
        if self._likelihood.update_called:
            try:
                nats = self._likelihood.compute().mean
            except UserError as error:
                raise diverged("the validation likelihood", model.batches, model.remedies) from error
            return name_of(model, True), bits_per_dim(nats, model.spec) if model.spec.is_discrete else -nats
        mean = float(self._mean.compute())
        if not math.isfinite(mean):
            raise diverged(f"the validation {model.monitor_name}", model.batches, model.remedies)
        return name_of(model, False), mean


def name_of(model: BaseModel, is_likelihood: bool) -> str:
    """Name, after ``val/``, of the validation value of ``model``, which may be a likelihood."""
    if not is_likelihood:
        return model.monitor_name
    return likelihood_name(model.spec)
