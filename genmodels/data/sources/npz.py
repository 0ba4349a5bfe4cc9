"""NumPy archives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmodels.archives import read_arrays, sizes
from genmodels.core.randomness import LARGEST_SEED
from genmodels.data.sources.base import Arrays
from genmodels.data.split import ensure_size, hold_out
from genmodels.errors import ensure_counts, require


@dataclass(frozen=True)
class Npz:
    """An ``.npz`` file with arrays ``train`` and ``test``, or ``x`` alone, of integers 0..255 or of floats.

    Classes are integers 0..C-1 in arrays ``train_labels`` and ``test_labels``, or ``y`` beside ``x``.

    Args:
        path: the file.
        test_size: fraction or number of test examples in ``x``.
        seed: determines which.

    Raises:
        ValueError: if ``test_size`` or ``seed`` is out of range.
    """

    path: str
    test_size: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        ensure_size(test_size=self.test_size)
        ensure_counts(0, LARGEST_SEED, seed=self.seed)

    def load(self, root: Path) -> Arrays:
        """The arrays ``[N, *shape]``, integers as uint8 and floats as float32, and labels; ``root`` is not used.

        Raises:
            UserError: if the file is missing or broken, lacks the arrays, does not fit into memory, or contains
                invalid values.
        """
        path = Path(os.path.expanduser(self.path))
        arrays = _read(path)
        if "x" not in arrays:
            train, test = (_raw(path, name, arrays[name]) for name in ("train", "test"))
            if "train_labels" not in arrays:
                return Arrays(train, test)
            labels = _labels(path, "train_labels", arrays["train_labels"], len(train))
            test_labels = _labels(path, "test_labels", arrays["test_labels"], len(test), int(labels.max()) + 1)
            return Arrays(train, test, labels, test_labels)
        x = _raw(path, "x", arrays["x"])
        y = _labels(path, "y", arrays["y"], len(x)) if "y" in arrays else None
        kept, held = hold_out(len(x), self.test_size, self.seed, "data.source.test_size")
        return Arrays(x[kept], x[held]) if y is None else Arrays(x[kept], x[held], y[kept], y[held])


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays ``train`` and ``test`` of the file, or ``x``, and their labels if it has them."""
    require(path.is_file(), f"there is no file {path}; fix data.source.path.")
    held = sizes(path)
    split = {"train", "test"} <= held.keys()
    wanted, labels = (("train", "test"), ("train_labels", "test_labels")) if split else (("x",), ("y",))
    listed = ", ".join(sorted(held)) or "nothing"
    require(wanted[0] in held, f"{path} contains {listed}: name its arrays 'train' and 'test', or 'x'.")
    labelled = [name for name in labels if name in held]
    complete = len(labelled) in (0, len(labels))
    require(complete, f"{path} contains {listed}: it needs {' and '.join(labels)}, or neither.")
    return read_arrays(path, [*wanted, *labelled])


def _raw(path: Path, name: str, array: np.ndarray) -> Tensor:
    """``array [N, *shape]`` as a uint8 tensor for integers, as a float32 tensor for floats."""
    where = f"array '{name}' of {path}"
    require(array.ndim > 1 and array.size > 0, f"{where} has shape {array.shape}; it must be [N, *shape] with N > 0.")
    if array.dtype.kind in "bui":
        require(
            array.min() >= 0 and array.max() <= 255, f"{where} contains integers outside 0..255; shift or rescale them."
        )
        return torch.from_numpy(array.astype(np.uint8))
    require(array.dtype.kind == "f", f"{where} has dtype {array.dtype}; it must be of integers or floats.")
    require(bool(np.isfinite(array).all()), f"{where} contains NaN or infinity; remove them first.")
    extreme = max(array.max(), array.min(), key=abs)
    fits = abs(extreme) <= np.finfo(np.float32).max
    require(bool(fits), f"{where} contains {extreme:.3g}, which is beyond the range of float32; rescale the data.")
    return torch.from_numpy(array.astype(np.float32))


def _labels(path: Path, name: str, array: np.ndarray, n: int, classes: int | None = None) -> Tensor:
    """Labels ``array [n]`` as int64: below ``classes``, or if that is ``None``, with no number left out."""
    where = f"array '{name}' of {path}"
    require(array.shape == (n,), f"{where} has shape {array.shape}; it must be one label for each of {n} examples.")
    integers = array.dtype.kind in "bui"
    require(integers, f"{where} has dtype {array.dtype}; make it integers, or rename it if these are no classes.")
    found = np.unique(array)
    listed = f"{where} has {len(found)} classes from {found[0]} to {found[-1]}"
    if classes is None:
        require(found[0] == 0 and found[-1] == len(found) - 1, f"{listed}; number them from 0 on.")
    else:
        require(found[0] >= 0 and found[-1] < classes, f"{listed}; training data have those from 0 to {classes - 1}.")
    return torch.from_numpy(array.astype(np.int64))
