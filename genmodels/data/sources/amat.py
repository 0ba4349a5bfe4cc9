"""Larochelle's fixed binarization of MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmodels.data.sources.base import Arrays
from genmodels.data.sources.published import Published
from genmodels.errors import ensure


class BinarizedMnist(Published):
    """Statically binarized MNIST, officially split in three (Salakhutdinov & Murray 2008; Larochelle & Murray 2011).

    ``files`` lists the training, validation and test file in this order.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        ensure(len(self.files) == 3, f"files must be three, got {len(self.files)}.")

    def load(self, root: Path) -> Arrays:
        """Images ``[50000 | 10000 | 10000, 1, 28, 28]`` of zeros and ones, without labels."""
        folder = self.fetched(root)
        train, val, test = (_read(folder / name) for name in self.files)
        return Arrays(train, test, val=val)


def _read(path: Path) -> Tensor:
    """Images of a file with one image per line; every second byte is a pixel, followed by a blank or newline."""
    text = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
    return torch.from_numpy(text[::2] - ord("0")).view(-1, 1, 28, 28)
