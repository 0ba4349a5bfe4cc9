"""What a model does with labels: it is one of p(x|y) for the label y of each example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from lightning import LightningModule
from torch import Tensor

from genmodels.core import DataSpec
from genmodels.errors import ensure
from genmodels.networks.labelled import Labels

LABELLED = "gan, vae, nice, realnvp, ddpm and cnf"
"""The models that take labels, for the sentence of those that do not."""

Batch = Tensor | Sequence[Tensor]
"""Raw data ``x [B, *shape]``, or x and the labels ``y [B]`` of data with labels."""


def examples_and_labels(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Raw data ``x [B, *shape]`` and their labels ``y [B]``, or ``None`` for data without."""
    if isinstance(batch, Tensor):
        return batch, None
    x, y = batch
    return x, y


class GivenLabels(LightningModule):
    """A module of data that may have labels.

    Whatever is asked of a model of data with labels, a loss, a likelihood, samples, is asked for given labels:
    ``with model.given(y): model.sample(len(y))``.

    Args:
        spec: the data that the model is built for.
        labels: those that networks read which were made before; ``None`` for new ones.

    Raises:
        ValueError: if the data have labels, and the networks of the model read none.

    Attributes:
        labels: the labels of the examples at hand.
    """

    takes_labels: ClassVar[bool] = False
    """Whether the model's networks read its labels."""

    label_frequencies: Tensor

    def __init__(self, spec: DataSpec, labels: Labels | None = None) -> None:
        super().__init__()
        takes = self.takes_labels or spec.classes is None
        ensure(takes, f"{type(self).__name__} takes no labels, {LABELLED} do; set data.labels=false.")
        self.labels = labels or Labels(spec.classes)
        if spec.classes is not None:
            self.register_buffer("label_frequencies", torch.full((spec.classes,), 1 / spec.classes))

    @contextmanager
    def given(self, y: Tensor | None) -> Iterator[None]:
        """Context in which the model is that of p(x|y), for examples with labels ``y [B]``, int64.

        Where a method takes or returns several rows for each example, they are of all examples for the first draw, then
        of all for the second, and so on; one label stands for any number of rows. ``None`` changes nothing.

        Raises:
            ValueError: for labels of a model of data without labels.
        """
        with self.labels.given(None if y is None else y.to(self.device)):
            yield

    def count_labels(self, y: Tensor) -> None:
        """Learn how frequent every class is among the training data, whose labels are ``y [N]``."""
        counts = torch.bincount(y, minlength=len(self.label_frequencies))
        self.label_frequencies.copy_(counts / len(y))

    def draw_labels(self, n: int) -> Tensor | None:
        """Labels ``[n]`` with the frequencies of the training data: examples of them follow ``p(x) = Σ p(y) p(x|y)``.

        ``None`` for a model of data without labels.
        """
        if self.labels.classes is None:
            return None
        return torch.multinomial(self.label_frequencies, n, replacement=True)

    def even_labels(self, n: int) -> Tensor | None:
        """Labels ``0, 1, ..., K - 1, 0, 1, ... [n]``; ``None`` for a model of data without labels."""
        if self.labels.classes is None:
            return None
        return torch.arange(n, device=self.device) % self.labels.classes
