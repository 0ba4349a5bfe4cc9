"""Evaluation of a trained model by the metrics of the config, in Lightning's test loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from lightning import Callback, Trainer

from genmodels.core import Score
from genmodels.core.processes import is_rank_zero
from genmodels.data import DataModule
from genmodels.loggers import log_image, log_scores
from genmodels.metrics import Evaluation, SampleSets, Subject
from genmodels.models.base import BaseModel
from genmodels.models.base.model import in_bf16


class Evaluate(Callback):
    """Runs the evaluations of the config group ``metrics``, and records the reasons why others do not apply.

    Args:
        evaluations: by their names in the config.
        folder: run folder; evaluations write to ``evaluation/``, the samples drawn to ``samples/drawn.npz``.
        seed: seed of the run.

    Attributes:
        samples_file: archive of samples to score instead of drawing new ones, or ``None``.
        own: whether the run itself is evaluated, so that the samples drawn are kept as its own.
        keep: called with the scores of each evaluation as soon as they are measured, so that a later failure cannot
            lose them; returns the scores under the names by which they are reported.
        scores: the scores measured.
        refusals: reasons why metrics do not apply, by their names in the config.
    """

    def __init__(self, evaluations: Mapping[str, Evaluation], folder: Path, seed: int) -> None:
        self.evaluations = dict(evaluations)
        self.folder = folder
        self.seed = seed
        self.samples_file: str | None = None
        self.own = True
        self.keep: Callable[[list[Score]], list[Score]] = list
        self.scores: list[Score] = []
        self.refusals: dict[str, str] = {}

    def ask(self, model: BaseModel, data: DataModule) -> dict[str, str]:
        """Reasons why metrics do not apply to this model and data, by the metrics' names in the config.

        Raises:
            UserError: if a metric applies, but something that it needs is missing or broken.
        """
        answers = {name: evaluation.reason(model, data) for name, evaluation in self.evaluations.items()}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def on_test_epoch_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Run the evaluations that apply to the model and the data; keep and log their scores."""
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        self.refusals = self.ask(pl_module, data)
        samples = SampleSets(pl_module, self.seed, self.samples_file, bf16=in_bf16(trainer))
        subject = Subject(pl_module, data, samples, self.seed, self.folder / "evaluation", partial(log_image, trainer))
        self.scores = []
        for evaluation in (e for name, e in self.evaluations.items() if name not in self.refusals):
            found = self.keep(evaluation.measure(subject))
            log_scores(trainer, found)
            self.scores += found
        if is_rank_zero() and self.own:
            samples.save(self.folder / "samples" / "drawn.npz")
