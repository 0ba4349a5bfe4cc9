"""The interface of data sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

MOST = 10**12  # examples, against typing errors


@dataclass(frozen=True)
class Arrays:
    """A data set in memory (or memory-mapped), raw: uint8 ``[N, *shape]`` for integer data, float32 otherwise.

    Attributes:
        train: training examples.
        test: test examples, never trained on.
        train_labels: classes ``[N]`` of the training examples, int64, if the data have them.
        test_labels: classes ``[N]`` of the test examples, int64, if the data have them.
        val: official validation examples; if there are none, some of ``train`` are held out.
    """

    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    val: Tensor | None = None


class Source(Protocol):
    """A data set on disk, or drawn from a distribution."""

    def load(self, root: Path) -> Arrays:
        """Read all data; files are located, or downloaded, under ``root``.

        Raises:
            UserError: if the data cannot be read.
        """
