"""CIFAR-10, binary version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmodels.data.sources.base import Arrays
from genmodels.data.sources.published import Published
from genmodels.errors import ensure

RECORD = 1 + 3 * 32 * 32
"""Bytes per record: the label, then the red, green and blue planes in row-major order."""


class Cifar10Binary(Published):
    """CIFAR-10 in the binary version, which needs no pickle (https://www.cs.toronto.edu/~kriz/cifar.html).

    ``files`` lists the batches, the test batch last.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure(len(self.files) >= 2, f"files must be two or more, got {len(self.files)}.")

    def load(self, root: Path) -> Arrays:
        """Images ``[50000, 3, 32, 32]`` and ``[10000, 3, 32, 32]``, labels 0..9; the official split."""
        folder = self.fetched(root)
        *train, test = (folder / name for name in self.files)
        images, labels = _read(train)
        test_images, test_labels = _read([test])
        return Arrays(images, test_images, labels, test_labels)


def _read(paths: list[Path]) -> tuple[Tensor, Tensor]:
    records = np.concatenate([np.fromfile(path, np.uint8).reshape(-1, RECORD) for path in paths])
    images = torch.from_numpy(np.ascontiguousarray(records[:, 1:])).view(-1, 3, 32, 32)
    return images, torch.from_numpy(records[:, 0].astype(np.int64))
