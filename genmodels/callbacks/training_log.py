"""Training curves of every model: terms of the loss, learning rate, gradient norm and examples per second."""

from __future__ import annotations

from typing import Any

from lightning import Callback, Trainer
from torch import Tensor

from genmodels.callbacks.budget import Budget
from genmodels.console import tell
from genmodels.core.processes import is_rank_zero
from genmodels.hardware import peak_memory
from genmodels.loggers import log_values
from genmodels.models.base import BaseModel
from genmodels.models.base.model import as_list


class TrainingLog(Callback):
    """Logs one batch in every ``log_every_n_steps`` of the trainer; the others do not wait for the device.

    ``train/<term>`` are the loss and its terms. ``train/lr`` and ``train/gradient_norm`` (before clipping) are followed
    by the number of the player if there are several, as in ``train/lr_0``. ``train/examples_per_second`` excludes the
    time of validation; ``train/memory_bytes`` is the peak so far, of the GPU or of the process. The first remark of the
    model on its terms (:meth:`genmodels.models.base.BaseModel.remark`) is printed.

    Args:
        budget: counts examples and seconds.

    Attributes:
        latest: the most recently logged terms of the loss.
    """

    def __init__(self, budget: Budget) -> None:
        self.latest: dict[str, float] = {}
        self._budget = budget
        self._remarked = False
        self._seen, self._seconds = 0.0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Measure the speed from here on, also in a resumed run."""
        self._seen, self._seconds = self._budget.spent["examples"], self._budget.spent["time"]

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, batch: Tensor, batch_idx: int
    ) -> None:
        """Measure gradient norms in batches that are logged."""
        pl_module.watches_gradients = self._is_logged(trainer, pl_module)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: BaseModel, outputs: Any, batch: Tensor, batch_idx: int
    ) -> None:
        """Log the batch if it is due."""
        if not self._is_logged(trainer, pl_module):
            return
        self.latest = {f"train/{name}": float(value) for name, value in outputs["terms"].items()}
        memory = {"train/memory_bytes": peak_memory(pl_module.device)}
        self._remark(pl_module)
        log_values(trainer, self.latest | self._rates(pl_module) | self._speed() | memory)

    def _remark(self, model: BaseModel) -> None:
        remark = model.remark({name.removeprefix("train/"): value for name, value in self.latest.items()})
        if remark and not self._remarked and is_rank_zero():
            tell(f"batch {model.batches}: {remark}")
            self._remarked = True

    @staticmethod
    def _is_logged(trainer: Trainer, model: BaseModel) -> bool:
        return model.batches % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]

    @staticmethod
    def _rates(model: BaseModel) -> dict[str, float]:
        optimizers = as_list(model.optimizers(use_pl_optimizer=False))
        numbered = [f"_{index}" for index in range(len(optimizers))] if len(optimizers) > 1 else [""]
        rates = {f"train/lr{numbered[i]}": o.param_groups[0]["lr"] for i, o in enumerate(optimizers)}
        norms = {f"train/gradient_norm{numbered[i]}": float(norm) for i, norm in sorted(model.gradient_norms.items())}
        return {name: float(value) for name, value in rates.items()} | norms

    def _speed(self) -> dict[str, float]:
        examples, seconds = self._budget.spent["examples"], self._budget.spent["time"]
        speed = (examples - self._seen) / max(seconds - self._seconds, 1e-9)
        self._seen, self._seconds = examples, seconds
        return {"train/examples_per_second": speed}
