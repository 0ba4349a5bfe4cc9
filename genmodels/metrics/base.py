"""The contract of an evaluation: it asks a trained model for one kind of number and ends in scores."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from genmodels.core import Score
from genmodels.metrics.sample_sets import SampleSets

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel


@dataclass(frozen=True)
class Subject:
    """What is evaluated, and what its evaluations share.

    Attributes:
        model: in eval mode, with the weights that are to be scored.
        data: what it was trained on.
        samples: drawn once, however many evaluations look at them.
        seed: of the run; with the number of a batch it names the stream that the batch is scored with.
        folder: where evaluations leave files; made by the first that does.
        log_image: shows a picture under a name wherever the run is logged.
        features: of sets of images, by whatever names them, see :mod:`genmodels.metrics.features`.
    """

    model: BaseModel
    data: DataModule
    samples: SampleSets
    seed: int
    folder: Path
    log_image: Callable[[str, Image.Image], None] = lambda name, image: None
    features: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """Path of a file in the folder, which is made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def keep_picture(self, name: str, image: Image.Image) -> None:
        """Save ``<name>.png`` in the folder, and show it as ``test/<name>`` wherever the run is logged."""
        image.save(self.file(f"{name}.png"))
        self.log_image(f"test/{name}", image)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 digits of the SHA-256 of the weights: what was found for these is not true of others."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class Evaluation(ABC):
    """Measures one aspect of a trained model, on every process at once.

    The evaluation callback asks for :meth:`unsupported_reason`, then calls :meth:`measure`, under
    ``no_grad`` and in float32. Whatever is drawn comes from streams named by the seed and the part of the work
    (:mod:`genmodels.core.randomness`), so that no number depends on what else is measured, or on how many processes
    share the work.
    """

    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        """One sentence that says why this number does not exist for ``model`` on ``data``, or ``None`` if it does.

        Raises:
            UserError: if it exists, but something that it needs is missing or broken.
        """
        return None

    @abstractmethod
    def measure(self, subject: Subject) -> list[Score]:
        """The scores, the same in every process. The unsupported_reason was asked for, and was ``None``."""


def mean_and_error(values: Tensor) -> tuple[float, float | None]:
    """Mean of ``[n]`` independent values and its standard error (``None`` for one), in float64.

    >>> mean_and_error(torch.tensor([1.0, 3.0]))
    (2.0, 1.0)
    """
    values = values.double()
    return float(values.mean()), float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None


def evenly_spaced(x: Tensor, n: int) -> Tensor:
    """``n`` rows of ``x [N, ...]``, all if there are fewer: evenly spaced, both ends included.

    The first ones may be easier than the rest.

    >>> evenly_spaced(torch.arange(10), 4)
    tensor([0, 3, 6, 9])
    """
    return x[torch.linspace(0, len(x) - 1, min(n, len(x))).round().long()]
