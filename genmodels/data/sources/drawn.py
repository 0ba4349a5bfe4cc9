"""Data sets that are independent draws from a distribution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor

from genmodels.core.randomness import LARGEST_SEED
from genmodels.data.sources.base import MOST, Arrays
from genmodels.errors import ensure_counts
from genmodels.hardware import require_memory


@dataclass(frozen=True)
class Drawn(ABC):
    """Independent draws from a distribution.

    Args:
        train_size: number of training examples.
        test_size: number of test examples.
        seed: determines the draws; independent of a run's seed, so that all runs have the same data.

    Attributes:
        example_bytes: memory that one example takes in the making.

    Raises:
        ValueError: if a parameter of the distribution or a size is out of range.
    """

    example_bytes: ClassVar[int]

    train_size: int = 50_000
    test_size: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        ensure_counts(1, MOST, train_size=self.train_size, test_size=self.test_size)
        ensure_counts(0, LARGEST_SEED, seed=self.seed)

    @abstractmethod
    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """``n`` draws ``[n, *shape]``: uint8 for integer data, float32 otherwise."""

    def load(self, root: Path) -> Arrays:
        """Draw the data; ``root`` is not used.

        Raises:
            UserError: if they do not fit into memory.
        """
        n = self.train_size + self.test_size
        sizes = f"data.source with train_size={self.train_size} and test_size={self.test_size}"
        require_memory(self.example_bytes * n, sizes)
        x = self.sample(n, torch.Generator().manual_seed(self.seed))
        return Arrays(train=x[self.test_size :], test=x[: self.test_size], drawn_from=repr(self))
