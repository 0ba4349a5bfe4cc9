"""Examples of which a part is known, and masks that say which, read from pictures or NumPy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genmodels.archives import read_arrays, sizes
from genmodels.core import DataSpec
from genmodels.errors import UserError, require
from genmodels.hardware import require_memory
from genmodels.pictures import MODES, SUFFIXES, pixels

MOST = 1000  # examples in one file


def read_given(path: Path, spec: DataSpec) -> Tensor:
    """Raw data ``[N, *shape]``: one example or several, from a picture, an ``.npy`` or an ``.npz`` file.

    The gray values of a picture become the nearest levels of the data.

    Raises:
        UserError: if the file cannot be read or holds other data than ``spec`` describes.
    """
    if path.suffix.lower() in SUFFIXES:
        top = (spec.levels or 256) - 1
        x = torch.from_numpy(np.rint(picture(path, spec, "given") / 255.0 * top))[None]
        return x.to(torch.uint8) if spec.is_discrete else x.float() / top * 2 - 1
    array = several(array_of(path, "given"), spec, path, "given")
    require(
        not spec.is_discrete or array.dtype.kind in "ui", f"given={path} must hold integers, it holds {array.dtype}."
    )
    require(spec.is_discrete or array.dtype.kind == "f", f"given={path} must hold floats, it holds {array.dtype}.")
    require(bool(np.isfinite(array).all()), f"given={path} holds numbers that are not finite.")
    inside = not spec.is_discrete or (array.size and array.min() >= 0 and array.max() < (spec.levels or 0))
    require(bool(inside), f"given={path} must hold integers from 0 to {(spec.levels or 1) - 1}.")
    return torch.from_numpy(array.astype(np.uint8 if spec.is_discrete else np.float32))


def read_mask(path: Path, spec: DataSpec, n: int) -> Tensor:
    """``[n, *shape]``, true where a value is known: white in a picture, true or one in an ``.npy`` or ``.npz`` file.

    Raises:
        UserError: if the file cannot be read, or is no mask of ``n`` examples of ``spec``.
    """
    if path.suffix.lower() in SUFFIXES:
        known = picture(path, spec, "mask")[None] > 127
    else:
        known = array_of(path, "mask")
        require(
            known.dtype.kind in "bui" and bool(np.isin(known, (0, 1)).all()),
            f"mask={path} must hold true and false, or 1 where a value is known and 0 elsewhere.",
        )
        if spec.is_image and known.shape == spec.shape[1:]:  # of pixels
            known = np.broadcast_to(known, spec.shape)
        known = several(known.astype(bool), spec, path, "mask")
    require(len(known) in (1, n), f"mask={path} holds {len(known)} masks for {n} examples; give one, or one for each.")
    return torch.from_numpy(np.array(known)).expand(n, *spec.shape)


def picture(path: Path, spec: DataSpec, key: str) -> np.ndarray:
    """Pixels ``[C, H, W]`` from 0 to 255 of a picture, in the colors of the data."""
    require(spec.is_image, f"{key}={path} is a picture, but the model's data are vectors; give an .npy or .npz file.")
    channels = spec.shape[0]
    require(channels in MODES, f"{key}={path} is a picture, but the data have {channels} channels; give an .npy file.")
    require(path.is_file(), f"{key}={path} does not exist.")
    return pixels(path, spec.shape).transpose(2, 0, 1)


def array_of(path: Path, key: str) -> np.ndarray:
    """The array of an ``.npy`` file, or the only one, or the one named ``x``, of an ``.npz`` file."""
    require(path.suffix in (".npy", ".npz"), f"{key} must end in .png, .npy or .npz, got {path}.")
    require(path.is_file(), f"{key}={path} does not exist.")
    if path.suffix == ".npz":
        names = list(sizes(path))
        name = names[0] if len(names) == 1 else "x"
        return read_arrays(path, [name])[name]
    require_memory(path.stat().st_size, str(path))
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception as error:
        raise UserError(f"{key}={path} cannot be read as an .npy file; save it again with numpy.save.") from error


def several(array: np.ndarray, spec: DataSpec, path: Path, key: str) -> np.ndarray:
    """The array as ``[N, *shape]``, of one or more examples."""
    array = array[None] if array.shape == spec.shape else array
    fits = array.shape[1:] == spec.shape and 1 <= len(array) <= MOST if array.ndim else False
    shape = list(spec.shape)
    require(fits, f"{key}={path} has the shape {[*array.shape]}; it must be {shape}, or [N, ...] of up to {MOST}.")
    return array
