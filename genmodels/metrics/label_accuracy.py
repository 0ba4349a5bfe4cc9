"""The share of samples that a classifier of the data gives the label that they were drawn for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels.errors import require
from genmodels.metrics.base import evenly_spaced
from genmodels.metrics.features import ClassEvaluation, Comparison, FeatureSpace, Measured

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel


class LabelAccuracyEvaluation(ClassEvaluation):
    """Scores ``label_accuracy_<data>_<n>`` of a model that is given labels: higher is better.

    It is the accuracy of the extractor's classifier on samples, each with the label that it was drawn for (Odena et
    al. 2017, arXiv:1610.09585, do so with Inception). The accuracy on real test data is reported as a baseline. The
    arguments are those of :class:`FeatureEvaluation`.
    """

    statistics = ("label_accuracy",)
    better = "higher"
    baseline, baseline_words = "real", "real data"
    error_of_one_set = "binomial"

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if model.spec.classes is None:
            return f"{type(model).__name__} is given no labels; train it with data.labels=true."
        return super().unsupported_reason(model, data)

    @override
    def of_samples(self, space: FeatureSpace, n: int, index: int) -> Tensor:
        y = space.subject.samples.labels(n, index)
        require(y is not None, "the file of samples holds no labels, which label_accuracy needs.")
        return with_labels(space.of_samples(n, index), y)

    @override
    def of_test(self, space: FeatureSpace, n: int) -> Tensor:
        y = space.subject.labels("test")
        assert y is not None  # the model is given labels
        return with_labels(space.of_test(n), evenly_spaced(y, n))

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """The accuracy on the samples alone; training data are not used."""
        head = space.head()

        def compare(features: Tensor) -> dict[str, Measured]:
            return {"label_accuracy": accuracy(head(features[:, :-1]), features[:, -1].long())}

        return compare, {}


def with_labels(features: Tensor, y: Tensor | None) -> Tensor:
    """Features ``[n, d]`` with their labels ``[n]`` as a last column."""
    assert y is not None
    return torch.cat([features, y[:, None].to(features)], 1)


def accuracy(logits: Tensor, y: Tensor) -> Measured:
    """The share of ``logits [n, K]`` that are largest at labels ``y [n]``, and its standard error.

    >>> accuracy(torch.tensor([[5.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])).value
    0.5
    """
    n, k = len(y), int((logits.argmax(1) == y).sum())
    return Measured.share(k, n)
