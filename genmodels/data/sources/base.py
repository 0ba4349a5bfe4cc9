"""The interface of data sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

HASHED_AT_A_TIME = 10_000  # examples
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
        drawn_from: description of the distribution that the examples were drawn from; ``None`` if they were read.
    """

    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    val: Tensor | None = None
    drawn_from: str | None = None

    def sha256(self) -> str:
        """Hash of all examples; of their law if they are drawn, since their last digits depend on the processor."""
        if self.drawn_from is not None:
            return hashlib.sha256(self.drawn_from.encode()).hexdigest()
        return content_sha256(x for x in (self.train, self.test, self.val) if x is not None)


def content_sha256(arrays: Iterable[Tensor]) -> str:
    """Hash of raw data, with types and shapes."""
    digest = hashlib.sha256()
    for x in arrays:
        digest.update(f"{x.dtype} {list(x.shape)}".encode())
        for part in x.split(HASHED_AT_A_TIME):  # memory-mapped examples need not fit into memory
            digest.update(part.contiguous().numpy())
    return digest.hexdigest()


@runtime_checkable
class Source(Protocol):
    """A data set on disk, or drawn from a distribution."""

    def load(self, root: Path) -> Arrays:
        """Read all data; files are located, or downloaded, under ``root``.

        Raises:
            UserError: if the data cannot be read.
        """
