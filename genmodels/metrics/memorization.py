"""Memorization: distances from samples to their nearest training examples, relative to those of test data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from typing_extensions import override

from genmodels import plots
from genmodels.core import Score
from genmodels.core.abilities import Samples
from genmodels.core.processes import is_rank_zero
from genmodels.core.quantization import to_symmetric
from genmodels.errors import ensure_counts
from genmodels.hardware import require_memory
from genmodels.metrics.base import Evaluation, Subject, evenly_spaced, mean_and_error
from genmodels.metrics.features import LARGEST_SET, Measured
from genmodels.metrics.processes import map_over_ranks
from genmodels.metrics.sample_sets import SampleSets

if TYPE_CHECKING:
    from genmodels.data import DataModule
    from genmodels.models.base import BaseModel

AT_A_TIME = 250  # rows of a distance matrix in memory at a time
QUANTILE = 0.01  # of the distances of test examples, below which a sample is a copy
SHOWN = 8  # samples in the picture: those nearest to the training data


class MemorizationEvaluation(Evaluation):
    """Scores ``nearest_ratio_<n>`` and ``copies_<n>``, and draws ``neighbors.png``.

    For n samples and n evenly spaced test examples, the Euclidean distance in data space to the nearest training
    example is computed. ``nearest_ratio`` is the mean distance of samples divided by that of test examples: well below
    one if samples repeat training data, but also if they are blurred (Meehan et al. 2020, §2, arXiv:2004.05675, test
    such distances). ``copies`` is the fraction of samples whose distance is below the 1% quantile of that of test
    examples: about 0.01 for a model that does not copy.

    Args:
        n: samples; the size of the test split, at most 1000, if ``None``.
        neighbors: training examples shown for each sample.

    Raises:
        ValueError: for an n below 2, or no neighbors.
    """

    takes_labels = True

    def __init__(self, n: int | None = None, neighbors: int = 5) -> None:
        ensure_counts(2, LARGEST_SET, optional=True, n=n)
        ensure_counts(1, 1000, neighbors=neighbors)
        self.n = n
        self.neighbors = neighbors

    @override
    def unsupported_reason(self, model: BaseModel, data: DataModule) -> str | None:
        if isinstance(model, Samples):
            require_memory(5 * model.spec.dims * (self.n or 0), f"memorization of n={self.n} samples")
            test = data.split("test")
            share = share_known(evenly_spaced(test, self.size(test)), data.split("train"))
            if share <= QUANTILE:
                return None
            return f"{share:.0%} of the test examples of {data.name} are training examples too, and are no copies."
        return f"{type(model).__name__} cannot be sampled from, and only samples can be copies."

    def size(self, test: Tensor) -> int:
        """Number of samples, and of examples of ``test [N, *shape]`` if there are as many."""
        return self.n or min(len(test), 1000)

    def measure(self, subject: Subject) -> list[Score]:
        """The scores ``nearest_ratio_<n>`` and ``copies_<n>``."""
        test, train = subject.data.split("test"), subject.data.split("train")
        n = self.size(test)
        samples = subject.samples.get(n)
        near, which = nearest(samples, train, self.neighbors, subject)
        held_out = nearest(evenly_spaced(test, n), train, 1, subject)[0][:, 0]
        distance = near[:, 0]
        if subject.model.spec.is_image and is_rank_zero():
            self._draw(samples, train, distance, which, subject)
        protocol = {
            "space": "data, integers on [-1, 1]",
            "reference": "train",
            "reference_n": len(train),
            "test_n": len(held_out),
            **subject.samples.protocol(n),
        }
        ratio, ratio_se = ratio_of_means(distance, held_out)
        copies, copies_se = Measured.share(int((distance < held_out.quantile(QUANTILE)).sum()), n)
        ratios: dict[str, Any] = {"protocol": protocol, "incidental": SampleSets.incidental, "better": None}
        protocol_of_copies = protocol | {"real": QUANTILE}
        shares = ratios | {"protocol": protocol_of_copies, "baselines": {"real": "real data"}, "better": "lower"}
        return [
            Score(f"nearest_ratio_{n}", ratio, "", n, ratio_se, quantity="nearest_ratio", **ratios),
            Score(f"copies_{n}", copies, "", n, copies_se, quantity="copies", **shares),
        ]

    def _draw(self, samples: Tensor, train: Tensor, distance: Tensor, which: Tensor, subject: Subject) -> None:
        """Draw the samples nearest to the training data, each in a row with its nearest training examples."""
        rows = distance.argsort()[:SHOWN]
        tiles = torch.cat([samples[rows][:, None], train[which[rows]]], dim=1).flatten(0, 1)
        picture = plots.image_grid(tiles, subject.model.spec, columns=1 + self.neighbors)
        subject.keep_picture("neighbors", picture)


def share_known(x: Tensor, train: Tensor) -> float:
    """Share of the examples ``x [n, *shape]`` that also are among ``train [N, *shape]``, without any difference.

    >>> share_known(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[3, 4], [5, 6], [3, 4]]))
    0.5
    """
    rows = [row.tobytes() for row in x.numpy()]
    wanted = set(rows)
    known = {row for example in train.numpy() if (row := example.tobytes()) in wanted}
    return sum(row in known for row in rows) / len(rows)


def nearest(x: Tensor, train: Tensor, k: int, subject: Subject) -> tuple[Tensor, Tensor]:
    """Euclidean distances ``[n, k]`` to the k nearest training examples, nearest first, and their indices ``[n, k]``.

    Args:
        x: raw data ``[n, *shape]``; integers are compared on [-1, 1].
        train: raw training data ``[N, *shape]``.
        k: number of neighbors.
        subject: the subject whose model gives specification and device.
    """
    spec, device = subject.model.spec, subject.model.device
    reference = to_symmetric(train, spec).flatten(1).to(device)
    parts = to_symmetric(x, spec).flatten(1).split(AT_A_TIME)

    def search(i: int) -> tuple[Tensor, Tensor]:
        values, indices = torch.cdist(parts[i].to(device), reference).topk(k, largest=False)
        return values.cpu(), indices.cpu()

    values, indices = zip(*map_over_ranks(search, len(parts), "nearest training examples"), strict=True)
    return torch.cat(values), torch.cat(indices)


def ratio_of_means(a: Tensor, b: Tensor) -> tuple[float, float]:
    """``mean(a) / mean(b)`` for independent ``a [n]`` and ``b [m]``, with its standard error by the delta method."""
    (mean_a, se_a), (mean_b, se_b) = mean_and_error(a), mean_and_error(b)
    ratio = mean_a / mean_b
    return ratio, math.hypot(se_a or 0, ratio * (se_b or 0)) / mean_b
