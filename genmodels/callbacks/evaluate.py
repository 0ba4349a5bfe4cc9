"""The test: every evaluation watches the same pass over the test split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning import Callback, Trainer
from torch import Tensor

from genmodels.core import Score
from genmodels.metrics import Evaluation
from genmodels.models.base import Laboratory


class Evaluate(Callback):
    """Runs the evaluations of the config group ``metrics``; a number a model cannot have is refused with its reason.

    Args:
        evaluations: by the name that they have in the config.

    Attributes:
        scores: what was measured.
        refusals: name to sentence.
    """

    def __init__(self, evaluations: Mapping[str, Evaluation]) -> None:
        self.evaluations = dict(evaluations)
        self.scores: list[Score] = []
        self.refusals: dict[str, str] = {}
        self._running: list[Evaluation] = []

    def on_test_start(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """Ask each evaluation whether it applies."""
        self.scores, self.refusals, self._running = [], {}, []
        for name, evaluation in self.evaluations.items():
            refusal = evaluation.refusal(pl_module, trainer.datamodule)
            if refusal is not None:
                self.refusals[name] = refusal
            else:
                evaluation.start(pl_module, trainer.datamodule)
                self._running.append(evaluation)

    def on_test_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: Laboratory, outputs: Any, batch: Tensor, batch_idx: int, _: int = 0
    ) -> None:
        """Show the batch to all."""
        for evaluation in self._running:
            evaluation.update(pl_module, batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """Collect the scores and log them."""
        for evaluation in self._running:
            self.scores += evaluation.finish(pl_module)
        pl_module.log_values({f"test/{score.name}": score.value for score in self.scores})
