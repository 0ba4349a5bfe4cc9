"""The common part of all metrics that compare samples with data in the feature space of a frozen network."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from genmodels.core import Score
from genmodels.core.abilities import Samples
from genmodels.core.processes import shard
from genmodels.errors import ensure_counts
from genmodels.hardware import require_memory
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced, mean_and_error
from genmodels.metrics.cache import StatisticsCache, Tensors
from genmodels.metrics.extractors import Extractor, ExtractorFactory, UnsuitableError, no_head_reason
from genmodels.metrics.frechet import FeatureStatistics, Moments
from genmodels.metrics.processes import map_over_ranks, track
from genmodels.metrics.sample_sets import SampleSets

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

T = TypeVar("T")
AT_A_TIME = 250  # images in one pass of the extractor
LARGEST_SET, MOST_PASSES = 10**9, 10**15


class FeatureSpace:
    """Features of samples and of real data, each computed once and shared by all evaluations of a subject.

    Real data are taken raw: never shuffled, flipped or dequantized. Their features and moments are cached on disk.

    Args:
        extractor: the network that computes the features.
        subject: the subject with the samples and the data.
    """

    def __init__(self, extractor: Extractor, subject: Subject) -> None:
        self.extractor = extractor.to(subject.model.device)
        self.subject = subject
        self.cache = StatisticsCache(subject.data.root / "statistics", str(subject.data.name), extractor.protocol)

    def head(self) -> nn.Module:
        """A copy of the extractor's output layer, on the CPU; the layer itself belongs to all metrics of the run."""
        return deepcopy(self.extractor.head).cpu()

    def of_samples(self, n: int, index: int = 0) -> Tensor:
        """Features ``[n, d]`` of set number ``index`` of n samples, on the CPU."""
        return self._once(("samples", n, index), lambda: self.extract(self.subject.samples.get(n, index), "samples"))

    def of_test(self, n: int) -> Tensor:
        """Features ``[min(n, N), d]`` of evenly spaced test examples, of which there are N."""
        return self._of_real("test", self.subject.data.split("test"), n)

    def of_training(self, n: int) -> Tensor:
        """Features ``[min(n, N), d]`` of evenly spaced training data, of which there are N with validation data."""
        return self._of_real("train", self.subject.data.train_and_val(), n)

    def moments_of_training(self) -> Moments:
        """Mean and covariance of all training data including validation data, computed in constant memory."""
        train = self.subject.data.train_and_val
        kept = self._once(("moments",), lambda: self.cache.get("moments", train(), self._moments))
        return Moments(kept["mean"], kept["covariance"], int(kept["n"]))

    def extract(self, x: Tensor, of: str) -> Tensor:
        """Features ``[N, d]`` of raw data ``x [N, *shape]``, on the CPU; all processes share the work."""
        parts = x.split(AT_A_TIME)
        return torch.cat(map_over_ranks(lambda i: self.extractor(parts[i]).cpu(), len(parts), f"features of {of}"))

    def _of_real(self, split: str, x: Tensor, n: int) -> Tensor:
        chosen = evenly_spaced(x, n)

        def compute(x: Tensor) -> Tensors:
            return {"features": self.extract(x, f"the {split} data")}

        return self._once((split, len(chosen)), lambda: self.cache.get(split, chosen, compute)["features"])

    def _once(self, what: tuple[object, ...], compute: Callable[[], T]) -> T:
        key = (self.extractor.identity, *what)
        if key not in self.subject.features:
            self.subject.features[key] = compute()
        found: T = self.subject.features[key]
        return found

    def _moments(self, x: Tensor) -> Tensors:
        metric = FeatureStatistics(self.extractor.dims).to(self.extractor.device)
        mine = shard(len(x))
        starts = range(0, len(mine), AT_A_TIME)
        for start in track(starts, len(starts), "features of the train data"):
            part = mine[start : start + AT_A_TIME]
            metric.update(self.extractor(x[part.start : part.stop : part.step]))
        mean, covariance, n = metric.compute()
        return {"mean": mean, "covariance": covariance, "n": torch.tensor(n)}


class Measured(NamedTuple):
    """A value, with its standard error if that can be estimated from a single set of samples."""

    value: float
    se: float | None = None

    @classmethod
    def share(cls, k: int, n: int) -> Measured:
        """K of n, with the error of the share (k + 1) / (n + 2), so that it is not zero for none or all.

        >>> Measured.share(0, 2)
        Measured(value=0.0, se=0.30618621784789724)
        """
        smoothed = (k + 1) / (n + 2)
        return cls(k / n, math.sqrt(smoothed * (1 - smoothed) / n))


Comparison = Callable[[Tensor], Mapping[str, Measured]]
"""From the features ``[n, d]`` of samples to the values of the statistics, by name."""


class FeatureEvaluation(Evaluation):
    """Compares sets of samples with the training data; the scores' names contain statistic, feature space and n.

    The value is the mean over ``repeats`` independent sets of samples, with the standard error of this mean. The value
    of n real test examples is reported with it as a baseline, or of all if they are fewer, which its label then says.

    Args:
        extractor: builds the network for a data module.
        n: samples per set; the size of the test split if ``None``.
        repeats: number of sets.
        max_passes: limit on the network evaluations spent on sampling, which reduces the number of sets, to no less
            than one.

    Attributes:
        statistics: what is compared, in the names of the scores.
        better: ``lower`` or ``higher``.
        baseline: entry of the protocol that holds the value of real test examples.
        baseline_words: words for the baseline in print.
        error_of_one_set: how the standard error is obtained if there is a single set of samples, for the protocol.
        distance: whether the score is a distance between samples and data as a whole.

    Raises:
        ValueError: for an n below 2, or repeats or max_passes below 1.
    """

    takes_labels = True
    statistics: ClassVar[tuple[str, ...]] = ()
    better = "lower"
    baseline = baseline_words = "floor"
    error_of_one_set = "none"
    distance = False

    def __init__(
        self,
        extractor: ExtractorFactory,
        n: int | None = None,
        repeats: int = 3,
        max_passes: int = 100_000,
    ) -> None:
        ensure_counts(2, LARGEST_SET, optional=True, n=n)
        ensure_counts(repeats=repeats)
        ensure_counts(1, MOST_PASSES, max_passes=max_passes)
        self.make_extractor = extractor
        self.n = n
        self.repeats = repeats
        self.max_passes = max_passes

    @abstractmethod
    def against(self, space: FeatureSpace, n: int) -> tuple[Comparison, dict[str, Any]]:
        """The comparison of sets of ``n`` samples with the training data, and its entries in the protocol."""

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if not isinstance(model, Samples):
            return f"{type(model).__name__} cannot be sampled from, and this metric compares samples with data."
        try:
            extractor = self.make_extractor(data)
        except UnsuitableError as reason:
            return str(reason)
        n = self.n or len(data.split("test"))
        require_memory(n * (data.spec.dims + 12 * extractor.dims), f"a metric of n={n} samples")
        return self.unsupported_extractor_reason(extractor, n)

    def unsupported_extractor_reason(self, extractor: Extractor, n: int) -> str | None:
        """The reason why the metric does not apply to ``n`` samples or to this extractor; ``None`` if it applies."""
        return None

    def of_samples(self, space: FeatureSpace, n: int, index: int) -> Tensor:
        """What is compared of set number ``index`` of n samples, ``[n, d]``."""
        return space.of_samples(n, index)

    def of_test(self, space: FeatureSpace, n: int) -> Tensor:
        """What is compared of n test examples, or as many as there are, ``[n, d]``."""
        return space.of_test(n)

    def errors_of_one_set(
        self, space: FeatureSpace, features: Tensor, found: Mapping[str, Measured]
    ) -> Mapping[str, float | None]:
        """The standard errors of values ``found`` for a single set of samples with ``features [n, d]``, by name."""
        return {name: measured.se for name, measured in found.items()}

    def names(self, data: DataModule, n: int) -> list[str]:
        """The names of the scores of ``n`` samples."""
        return [f"{self.make_extractor(data).label(name)}_{n}" for name in self.statistics]

    def quick(self, subject: Subject) -> dict[str, float]:
        """The values for one set of :attr:`n` samples, by the names of their scores, without use of test data."""
        assert self.n is not None
        n = self.n
        space = FeatureSpace(self.make_extractor(subject.data), subject)
        compare, _ = self.against(space, n)
        found = compare(self.of_samples(space, n, 0))
        return {f"{space.extractor.label(name)}_{n}": measured.value for name, measured in found.items()}

    def measure(self, subject: Subject) -> list[Score]:
        """One score per statistic."""
        model, test = subject.model, subject.data.split("test")
        assert isinstance(model, Samples)  # measure() is called only where there is no unsupported_reason
        space = FeatureSpace(self.make_extractor(subject.data), subject)
        n = self.n or len(test)
        affordable = max(1, min(self.repeats, self.max_passes // (n * model.passes_per_sample)))
        repeats = subject.samples.at_most(affordable, n)
        compare, known = self.against(space, n)
        real = compare(self.of_test(space, n))
        found = [compare(self.of_samples(space, n, index)) for index in range(repeats)]
        errors = self.errors_of_one_set(space, self.of_samples(space, n, 0), found[0]) if repeats == 1 else {}
        protocol = {
            **space.extractor.protocol,
            **space.extractor.provenance,
            **known,
            "repeats": repeats,
            "error": self.error_of_one_set if repeats == 1 else f"over {repeats} sets",
            "real_n": min(n, len(test)),
            "real_split": "test",
            **subject.samples.protocol(n),
        }
        declared: dict[str, Any] = {
            "better": self.better,
            "incidental": (
                *("repeats", "error", *space.extractor.incidental, *space.extractor.provenance),
                *SampleSets.incidental,
            ),
            "baselines": {self.baseline: self.baseline_words + ("" if n <= len(test) else f" at n={len(test)}")},
            "distance": self.distance,
        }
        scores = []
        for name, baseline in real.items():
            value, se = mean_and_error(torch.tensor([each[name].value for each in found], dtype=torch.float64))
            se = errors.get(name, se)
            quantity = space.extractor.label(name)
            its_own = declared | {"quantity": quantity, "protocol": protocol | {self.baseline: baseline.value}}
            scores.append(Score(f"{quantity}_{n}", value, "", n, se, **its_own))
        return scores


class ClassEvaluation(FeatureEvaluation):
    """Scores samples by the class probabilities of the extractor's classifier head."""

    @override
    def unsupported_extractor_reason(self, extractor: Extractor, n: int) -> str | None:
        return no_head_reason(extractor)
