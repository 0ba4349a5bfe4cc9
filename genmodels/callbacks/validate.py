"""Watching the likelihood on held-out data while training."""

from __future__ import annotations

from typing import Any

from lightning import Callback, Trainer
from torch import Tensor

from genmodels.callbacks.finite import diverged
from genmodels.core import UserError, bits_per_dim
from genmodels.core.randomness import fixed_randomness
from genmodels.metrics import LogLikelihoodMean
from genmodels.models.base import HasLikelihood, Laboratory


class Validate(Callback):
    """Logs the validation likelihood of models that have one, with the same noise every time.

    The number is :meth:`HasLikelihood.validation_likelihood`, cheap and equal in expectation to the reported one. It
    is logged as ``val/bits_per_dim`` on integer data and as ``val/nats``, negative, on continuous data: both the
    lower the better.
    """

    def __init__(self) -> None:
        self.score: float | None = None
        self._metric: LogLikelihoodMean | None = None

    def on_validation_start(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """A fresh mean."""
        self._metric = LogLikelihoodMean().to(pl_module.device) if isinstance(pl_module, HasLikelihood) else None

    def on_validation_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: Laboratory, outputs: Any, batch: Tensor, batch_idx: int, _: int = 0
    ) -> None:
        """Add one batch."""
        if self._metric is not None and isinstance(pl_module, HasLikelihood):
            with fixed_randomness(batch_idx * trainer.world_size + trainer.global_rank, pl_module.device):
                self._metric.update(pl_module.validation_likelihood(batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """Reduce over processes and log.

        Raises:
            UserError: if the mean is not finite.
        """
        if self._metric is None:
            return
        try:
            mean = self._metric.compute().mean
        except UserError as error:
            raise diverged("the validation likelihood", pl_module.batches) from error
        discrete = pl_module.spec.is_discrete
        self.score = bits_per_dim(mean, pl_module.spec) if discrete else -mean
        pl_module.log_values({"val/bits_per_dim" if discrete else "val/nats": self.score})
