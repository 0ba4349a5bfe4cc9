"""The test: every evaluation of the config group ``metrics``, inside Lightning's test run."""

from __future__ import annotations

from collections.abc import Mapping

from lightning import Callback, Trainer

from genmodels.core import Score
from genmodels.data import DataModule
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

    def ask(self, model: Laboratory, data: DataModule) -> dict[str, str]:
        """Why each number that does not exist does not, by its name in the config.

        Raises:
            UserError: if one exists, but something that it needs is missing or broken.
        """
        answers = {name: evaluation.refusal(model, data) for name, evaluation in self.evaluations.items()}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def on_test_start(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """Ask each evaluation whether it applies."""
        self.scores = []
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        self.refusals = self.ask(pl_module, data)
        self._running = [e for name, e in self.evaluations.items() if name not in self.refusals]
        for evaluation in self._running:
            evaluation.start(pl_module, data)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Laboratory) -> None:  # type: ignore[override]
        """Collect the scores and log them."""
        for evaluation in self._running:
            self.scores += evaluation.finish(pl_module)
        pl_module.log_values({f"test/{score.name}": score.value for score in self.scores})
