"""The contract of an evaluation, which measures one aspect of a trained model and returns scores."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from genmodels import plots
from genmodels.core import Score
from genmodels.metrics.sample_sets import SampleSets

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel


@dataclass(frozen=True)
class Subject:
    """The model under evaluation, its data, and what all evaluations of it share.

    Attributes:
        model: the model in eval mode, with the weights to be scored.
        data: the data that it was trained on.
        samples: its samples, drawn once for all evaluations.
        seed: seed of the run; together with the index of a batch it names the random stream used to score that batch.
        folder: folder for the files of evaluations; created when the first of them is written.
        log_image: logs a picture under a name with every logger of the run.
        features: features of samples and of real data and their moments, computed once, see
            :mod:`genmodels.metrics.features`.
    """

    model: BaseModel
    data: DataModule
    samples: SampleSets
    seed: int
    folder: Path
    log_image: Callable[[str, Image.Image], None] = lambda name, image: None
    features: dict[tuple[object, ...], Any] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """Path of the file ``name`` in the folder, which is created if necessary."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def keep_picture(self, name: str, image: Image.Image) -> None:
        """Save ``<name>.png`` in the folder and log it as ``test/<name>``."""
        plots.save(image, self.file(f"{name}.png"))
        self.log_image(f"test/{name}", image)

    def labels(self, split: str) -> Tensor | None:
        """Labels ``[N]`` of the examples of a split that the model is given; ``None`` if it is given none."""
        return None if self.model.spec.classes is None else self.data.given_labels(split)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of the weights, by which stored results are matched to them."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class Evaluation(ABC):
    """Measures one aspect of a trained model, on all processes at once.

    The evaluation callback calls :meth:`measure`, under ``no_grad`` and in float32, if :meth:`unsupported_reason` is
    ``None``. All random numbers come from streams named by the seed and the part of the work
    (:mod:`genmodels.core.randomness`). The scores therefore depend neither on the other evaluations nor on the number
    of processes.

    Attributes:
        takes_labels: whether it measures models of p(x | label) too: by their samples, or given the examples' labels.
    """

    takes_labels: ClassVar[bool] = False

    def reason(self, model: BaseModel, data: DataModule) -> str | None:
        """The reason why the metric does not apply, as one sentence: its own, or that it is given labels.

        Raises:
            UserError: see :meth:`unsupported_reason`.
        """
        if model.spec.classes is not None and not self.takes_labels:
            return f"{type(model).__name__} is given labels (data.labels=true), which this metric does not take."
        return self.unsupported_reason(model, data)

    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        """The reason why the metric does not apply to ``model`` on ``data``, as one sentence; ``None`` if it applies.

        Raises:
            UserError: if it applies, but something that it needs is missing or broken.
        """
        return None

    @abstractmethod
    def measure(self, subject: Subject) -> list[Score]:
        """The scores, identical in all processes; called only if :meth:`unsupported_reason` is ``None``."""


def mean_and_error(values: Tensor) -> tuple[float, float | None]:
    """Mean of independent ``values [n]`` and its standard error (``None`` if n = 1), in float64.

    >>> mean_and_error(torch.tensor([1.0, 3.0]))
    (2.0, 1.0)
    """
    values = values.double()
    return float(values.mean()), float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None


def evenly_spaced(x: Tensor, n: int) -> Tensor:
    """Rows ``[min(n, N), ...]`` of ``x [N, ...]``, evenly spaced and including the first and the last.

    The first n rows would be a biased choice where data are sorted by difficulty.

    >>> evenly_spaced(torch.arange(10), 4)
    tensor([0, 3, 6, 9])
    """
    return x[torch.linspace(0, len(x) - 1, min(n, len(x))).round().long()]
