"""IDX files, the format of MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmodels.data.sources.base import Arrays
from genmodels.data.sources.published import Published
from genmodels.errors import ensure, require

NAMES = {f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")}


class Idx(Published):
    """Four gzipped IDX files with MNIST's names and official split (http://yann.lecun.com/exdb/mnist)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        missing = ", ".join(sorted(NAMES - self.files.keys()))
        ensure(not missing, f"files must name {missing} too.")

    def load(self, root: Path) -> Arrays:
        """Images ``[N, 1, H, W]`` and labels ``[N]`` of the official split."""
        folder = self.fetched(root)
        train, test = (read_idx(folder / f"{split}-images-idx3-ubyte.gz").unsqueeze(1) for split in ("train", "t10k"))
        labels, test_labels = (read_idx(folder / f"{split}-labels-idx1-ubyte.gz").long() for split in ("train", "t10k"))
        return Arrays(train, test, labels, test_labels)


def read_idx(path: Path) -> Tensor:
    """The uint8 tensor in an IDX file: two zeros, type 8, number of dimensions, their sizes (big-endian), and the data.

    Raises:
        UserError: if the file is not of this format.
    """
    data = bytearray(gzip.decompress(path.read_bytes()))
    require(data[:3] == b"\x00\x00\x08", f"{path} is not an IDX file of unsigned bytes.")
    dims = data[3]
    shape = np.frombuffer(data, ">u4", count=dims, offset=4).tolist()
    return torch.frombuffer(data, dtype=torch.uint8, offset=4 + 4 * dims).reshape(shape)
