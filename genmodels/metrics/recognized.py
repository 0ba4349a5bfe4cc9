"""The share of samples that a classifier of the data recognizes with confidence."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genmodels.errors import ensure_numbers
from genmodels.metrics.extractors import ExtractorFactory
from genmodels.metrics.features import ClassEvaluation, Comparison, FeatureSpace, Measured


def recognized(logits: Tensor, threshold: float = 0.9, smoothing: float = 0.0) -> Measured:
    """The share of examples whose most probable class has ``p(y|x) > threshold``, and its binomial standard error.

    A classifier that was trained with label smoothing ε is right if it gives a class ``s = (1 - ε) p + ε / K`` for K
    classes (Szegedy et al. 2016, §7, arXiv:1512.00567), so that it is hardly ever more confident than 1 - ε: with
    ε = 0.1 a third of MNIST's test images would not be recognized. The p of the definition is the one without it.

    Args:
        logits: class logits ``[n, K]`` of the examples.
        threshold: the probability, in [0, 1).
        smoothing: the ε of the classifier's training.

    >>> import torch
    >>> recognized(torch.tensor([[5.0, 0.0], [1.0, 0.0]])).value
    0.5
    """
    n, classes = logits.shape
    p = (logits.double().softmax(1).amax(1) - smoothing / classes) / (1 - smoothing)
    k = int((p > threshold).sum())
    return Measured.share(k, n)


class RecognizedEvaluation(ClassEvaluation):
    """Scores ``recognized_<data>_<n>``, the share that the extractor's classifier recognizes: higher is better.

    The share of real test data is reported as a baseline.

    Args:
        extractor: see :class:`FeatureEvaluation`; it needs a classifier head.
        n: see :class:`FeatureEvaluation`.
        repeats: see :class:`FeatureEvaluation`.
        max_passes: see :class:`FeatureEvaluation`.
        threshold: a sample is recognized if its most probable class has a larger probability, in [0, 1).

    Raises:
        ValueError: for an n below 2, repeats or max_passes below 1, or a threshold out of range.
    """

    statistics = ("recognized",)
    better = "higher"
    baseline, baseline_words = "real", "real data"
    error_of_one_set = "binomial"

    def __init__(
        self,
        extractor: ExtractorFactory,
        n: int | None = None,
        repeats: int = 1,
        max_passes: int = 100_000,
        threshold: float = 0.9,
    ) -> None:
        super().__init__(extractor, n, repeats, max_passes)
        ensure_numbers(at_least=0, below=1, threshold=threshold)
        self.threshold = threshold

    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """The share of the samples alone; training data are not used."""
        head, smoothing = space.head(), space.extractor.label_smoothing

        def compare(features: Tensor) -> dict[str, Measured]:
            return {"recognized": recognized(head(features), self.threshold, smoothing)}

        return compare, {"threshold": self.threshold, "label_smoothing": smoothing}
