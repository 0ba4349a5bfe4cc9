"""Sample quality during training, measured against training data only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from typing_extensions import override

from genmodels.core.randomness import LARGEST_SEED
from genmodels.data import DataModule
from genmodels.errors import ensure, ensure_counts, require
from genmodels.loggers import log_image, log_values
from genmodels.metrics import SampleSets, Subject
from genmodels.metrics.features import LARGEST_SET, FeatureEvaluation
from genmodels.models.base import BaseModel
from genmodels.models.base.model import in_bf16


class Quality(Callback):
    """Scores samples of the averaged weights at validations, logged as ``val/<metric>`` for callbacks to monitor.

    The samples are drawn from the same random numbers every time and compared with training data; test data are not
    used. As for any validation, the time does not count towards the budget.

    Args:
        metrics: metrics that compare samples with training data, by name.
        n: number of samples.
        every: number of validations from one measurement to the next.
        seed: seed of the run.

    Raises:
        ValueError: for a metric that does not compare samples with data, or a number out of range.
    """

    def __init__(self, metrics: Mapping[str, FeatureEvaluation], n: int = 2000, every: int = 1, seed: int = 0) -> None:
        wrong = ", ".join(name for name, metric in metrics.items() if not isinstance(metric, FeatureEvaluation))
        ensure(not wrong, f"metrics must compare samples with data in a feature space, which {wrong} does not.")
        ensure_counts(2, LARGEST_SET, n=n)
        ensure_counts(every=every)
        ensure_counts(0, LARGEST_SEED, seed=seed)
        self.metrics = dict(metrics)
        self.n, self.every, self.seed = n, every, seed
        self._validations = 0
        self._features: dict[tuple[object, ...], Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Refuse, before training, metrics that do not apply.

        Raises:
            UserError: with the reason why a metric does not apply.
        """
        for name, metric in self.metrics.items():
            metric.n = self.n
            reason = metric.reason(pl_module, self._data(trainer))
            require(reason is None, f"callbacks.quality.metrics.{name}: {reason}")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: BaseModel) -> None:  # type: ignore[override]
        """Score samples of the weights that are validated, and log the values."""
        self._validations += 1
        if trainer.state.fn != "fit" or self._validations % self.every:
            return
        samples = SampleSets(pl_module, self.seed, bf16=in_bf16(trainer))
        self._features = {key: kept for key, kept in self._features.items() if "samples" not in key}
        show = partial(log_image, trainer)
        subject = Subject(pl_module, self._data(trainer), samples, self.seed, Path(), show, self._features)
        for metric in self.metrics.values():
            values = {f"val/{name}": value for name, value in metric.quick(subject).items()}
            pl_module.log_dict(values, logger=False)
            log_values(trainer, values, metric.better)

    @staticmethod
    def _data(trainer: Trainer) -> DataModule:
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        return data

    def state_dict(self) -> dict[str, int]:
        """The number of validations, for the checkpoint."""
        return {"validations": self._validations}

    @override
    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._validations = state_dict["validations"]
