"""The handwritten digits of scikit-learn: 1797 images of 8x8 pixels with 17 levels, contained in its wheel."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from typing_extensions import override

from genmodels.data.sources.base import Arrays
from genmodels.errors import UserError, ensure_counts


@dataclass(frozen=True)
class Digits:
    """The test half of Alpaydin & Kaynak's optical digits (1998), as in ``sklearn.datasets.load_digits``.

    There is no official split. After a shuffle with a fixed seed, every fifth example of each class is a test example,
    which gives 1437 training and 360 test examples with classes in equal proportion.

    The table is read from the folder of scikit-learn without the import of scikit-learn, which takes a second.
    """

    def load(self, root: Path) -> Arrays:
        """Images ``[N, 1, 8, 8]`` with values 0..16 and labels 0..9; ``root`` is not used."""
        table = torch.from_numpy(_read_table())
        table = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(0))]
        images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].long()
        test = torch.zeros(len(table), dtype=torch.bool)
        test[torch.argsort(labels, stable=True)[::5]] = True
        return Arrays(images[~test], images[test], labels[~test], labels[test])


@dataclass(frozen=True)
class BinaryDigits(Digits):
    """The same digits, of the same split, with pixels of ``threshold`` or more set to one and all others to zero.

    Args:
        threshold: the lowest of the 17 levels that becomes a one.

    Raises:
        ValueError: if the threshold would leave no zero or no one.
    """

    threshold: int = 8

    def __post_init__(self) -> None:
        ensure_counts(1, 16, threshold=self.threshold)

    @override
    def load(self, root: Path) -> Arrays:
        """Images ``[N, 1, 8, 8]`` of zeros and ones and labels 0..9; ``root`` is not used."""
        digits = super().load(root)
        train, test = ((x >= self.threshold).byte() for x in (digits.train, digits.test))
        return replace(digits, train=train, test=test)


def _read_table() -> np.ndarray:
    """Rows of 64 pixels and a label, uint8 ``[1797, 65]``."""
    sklearn = find_spec("sklearn")
    if sklearn is None or not sklearn.submodule_search_locations:
        raise UserError("the digits are in a file of scikit-learn: pip install scikit-learn.")
    path = Path(sklearn.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    with gzip.open(path, "rt") as file:
        return np.loadtxt(file, delimiter=",", dtype=np.uint8)
