"""The moment at which a run begins: everything that can fail before the first batch has been tried."""

from __future__ import annotations

from collections.abc import Callable

from lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from genmodels import signals
from genmodels.callbacks.validate import Validate


class Begin(Callback):
    """Calls ``action`` at the start of training, after data, model, loggers and a checkpoint's states are in place.

    The run folder is therefore not touched before. It must be the last callback. A validation that an interrupted run
    owes is done next.

    Args:
        action: called in every process.
        validate: the validation.

    Attributes:
        done: whether the run has begun.
    """

    def __init__(self, action: Callable[[], None], validate: Validate) -> None:
        self.action, self.validate = action, validate
        self.done = False

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        signals.hold()  # a run that is recorded has begun
        self.action()
        self.done = True
        trainer.strategy.barrier()
        heard = signals.release() if trainer.world_size == 1 else None  # several are interrupted together, later
        if heard is not None:
            raise signals.Interrupted(heard)
        self.validate.catch_up(trainer)
