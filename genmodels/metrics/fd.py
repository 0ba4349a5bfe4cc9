"""Fréchet distance between samples and training data in the feature space of a frozen network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import MaxMetric

from genmodels.core import Score
from genmodels.errors import require
from genmodels.metrics.base import Evaluation
from genmodels.metrics.cache import MomentsCache
from genmodels.metrics.extractors import Extractor, UnsuitableError
from genmodels.metrics.frechet import FeatureStatistics, Moments, frechet_distance
from genmodels.metrics.processes import share, track
from genmodels.models.base import Samples

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import Laboratory


class FrechetEvaluation(Evaluation):
    """Scores ``fd_<data>_<n>`` or ``fid_<n>``: smaller is nearer to the data, the floor of real test data is not zero.

    The reference is all training data, what validation held out included, raw: never shuffled, flipped or dequantised.
    The estimate is biased upwards by an amount that depends on n (Bińkowski et al. 2018, §4, arXiv:1801.01401), so that
    only distances at one n compare: n is part of the name, and the same distance of the first n test examples stands
    beside it as ``floor``.

    Args:
        extractor: builds the network for a data module.
        n: number of samples, over all processes; the size of the test split if ``None``.
        batch_size: samples drawn at a time.
        allow_small_n: score even if there are fewer samples than features.
    """

    def __init__(
        self,
        extractor: Callable[[DataModule], Extractor],
        n: int | None = None,
        batch_size: int = 250,
        allow_small_n: bool = False,
    ) -> None:
        for name, value in {"n": n, "batch_size": batch_size}.items():
            require(value is None or value >= 2, f"{name} of a Fréchet distance must be at least 2, got {value}.")
        self.make_extractor = extractor
        self.n = n
        self.batch_size = batch_size
        self.allow_small_n = allow_small_n

    def refusal(self, model: Laboratory, data: DataModule) -> str | None:
        """Why there is no such distance, or ``None``.

        Raises:
            UserError: if the network's file is missing or altered.
        """
        if not isinstance(model, Samples):
            return f"{type(model).__name__} cannot be sampled from, and a Fréchet distance compares samples."
        try:
            extractor = self.make_extractor(data)
        except UnsuitableError as reason:
            return str(reason)
        n = self.n or len(data.split("test"))
        if n < extractor.dims and not self.allow_small_n:
            return (
                f"{n} samples are fewer than the {extractor.dims} features: their covariance is singular, and the "
                f"distance would tell more of n than of the model; raise metrics.{extractor.metric}.n, or set "
                f"metrics.{extractor.metric}.allow_small_n=true to have the number all the same."
            )
        return None

    def start(self, model: Laboratory, data: DataModule) -> None:
        """Statistics of the real data, from the cache or anew, and the floor."""
        self.extractor = self.make_extractor(data).to(model.device)
        test = data.split("test")
        self.samples = self.n or len(test)
        cache = MomentsCache(data.root / "statistics", str(data.name), self.extractor.identity)
        self.reference = cache.get("train+val", [data.split("train"), data.split("val")], self._moments)
        held_out = cache.get("test", [test[: self.samples]], self._moments)
        self.floor = self._distance(held_out)
        self.floor_n = held_out.n

    def finish(self, model: Laboratory) -> list[Score]:
        """Draw the samples and compare."""
        assert isinstance(model, Samples)  # start() is called only where there is no refusal
        statistics, seconds = self._sample(model, model.device)
        protocol: dict[str, Any] = {
            "extractor": self.extractor.identity,
            "dims": self.extractor.dims,
            **self.extractor.protocol,
            "reference": "train+val",
            "reference_n": self.reference.n,
            "floor": self.floor,
            "floor_n": self.floor_n,
            "floor_split": "test",
            "sampling": dict(model.sampling_protocol),
            "sampling_seconds": seconds,
            "samples_per_second": self.samples / seconds,
        }
        name = f"{self.extractor.label}_{self.samples}"
        return [Score(name, self._distance(statistics), "", self.samples, protocol=protocol)]

    def _distance(self, moments: Moments) -> float:
        return frechet_distance(self.reference.mean, self.reference.covariance, moments.mean, moments.covariance)

    def _sample(self, model: Samples, device: torch.device) -> tuple[Moments, float]:
        """Moments of fresh samples, and the seconds that the slowest process took to draw its share of them."""
        statistics = FeatureStatistics(self.extractor.dims).to(device)
        slowest = MaxMetric().to(device)
        seconds = 0.0
        sizes = [len(part) for part in _parts(share(self.samples), self.batch_size)]
        for size in track(sizes, len(sizes), f"sampling for {self.extractor.label}"):
            began = time.perf_counter()
            x = model.sample(size)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds += time.perf_counter() - began
            statistics.update(self.extractor(x))
        slowest.update(seconds)
        return statistics.compute(), float(slowest.compute())

    def _moments(self, splits: Sequence[Tensor]) -> Moments:
        """Moments of the features of real data, shared between processes."""
        statistics = FeatureStatistics(self.extractor.dims).to(self.extractor.device)
        batches = [(x, part) for x in splits for part in _parts(share(len(x)), self.batch_size)]
        for x, part in track(batches, len(batches), f"{self.extractor.metric}: features of the data"):
            statistics.update(self.extractor(x[part.start : part.stop : part.step]))
        return statistics.compute()


def _parts(indices: range, size: int) -> list[range]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]
