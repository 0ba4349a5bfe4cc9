"""NumPy archives."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmodels.data.sources.base import Arrays
from genmodels.data.split import hold_out
from genmodels.errors import UserError, require


@dataclass(frozen=True)
class Npz:
    """An ``.npz`` file with arrays ``train`` and ``test``, or ``x`` alone, of integers 0..255 or of floats.

    Args:
        path: the file.
        test_size: fraction or number of test examples in ``x``.
        seed: determines which.
    """

    path: str
    test_size: float = 0.1
    seed: int = 0

    def load(self, root: Path) -> Arrays:
        """The arrays ``[N, *shape]``, integers as uint8 and floats as float32; ``root`` is not used.

        Raises:
            UserError: if the file is missing or broken, lacks the arrays, or contains invalid values.
        """
        path = Path(self.path).expanduser()
        arrays = _read(path)
        if {"train", "test"} <= arrays.keys():
            return Arrays(_raw(path, "train", arrays["train"]), _raw(path, "test", arrays["test"]))
        if "x" not in arrays:
            raise UserError(f"{path} contains {sorted(arrays)}: name its arrays 'train' and 'test', or 'x'.")
        x = _raw(path, "x", arrays["x"])
        kept, held = hold_out(len(x), self.test_size, self.seed)
        return Arrays(x[kept], x[held])


def _read(path: Path) -> dict[str, np.ndarray]:
    require(path.is_file(), f"there is no file {path}; fix data.source.path.")
    try:
        with zipfile.ZipFile(path):  # np.load would accept .npy files and pickles too
            archive = np.load(path, allow_pickle=False)
        with archive:
            return {name: archive[name] for name in archive.files if name in ("train", "test", "x")}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read as an .npz file ({error}); save it again with numpy.savez.") from error


def _raw(path: Path, name: str, array: np.ndarray) -> Tensor:
    """``array [N, *shape]`` as a uint8 tensor for integers, as a float32 tensor for floats."""
    where = f"array '{name}' of {path}"
    require(array.ndim > 1 and len(array) > 0, f"{where} has shape {array.shape}; it must be [N, *shape] with N > 0.")
    if array.dtype.kind in "bui":
        require(
            array.min() >= 0 and array.max() <= 255, f"{where} contains integers outside 0..255; shift or rescale them."
        )
        return torch.from_numpy(array.astype(np.uint8))
    require(array.dtype.kind == "f", f"{where} has dtype {array.dtype}; it must be of integers or floats.")
    require(bool(np.isfinite(array).all()), f"{where} contains NaN or infinity; remove them first.")
    return torch.from_numpy(array.astype(np.float32))
