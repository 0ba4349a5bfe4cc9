"""Samples in the files of others: folders of images, and archives of arrays such as those of guided-diffusion.

Images are 8-bit: data of fewer levels are spread over 0..255 when they are written, and rounded back when they are
read. Nothing is resized or cropped, since either changes the features in which samples are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genmodels.archives import read_arrays, sizes
from genmodels.core import DataSpec
from genmodels.errors import require
from genmodels.files import atomic, sha256
from genmodels.hardware import require_memory
from genmodels.pictures import MODES, pixels

FIRST = "arr_0"  # name of an array that numpy.savez is given without one
OWN = "x"  # name of the array in our own archives


def is_own(path: Path) -> bool:
    """Whether ``path`` is an archive as :func:`genmodels.metrics.sample_sets.write` writes it."""
    return not path.is_dir() and OWN in sizes(path)


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of the images in a folder.

    Raises:
        UserError: if there is no such file, or no image in the folder.
    """
    if not path.is_dir():
        return sha256(path)
    from genmodels.data.sources.image_folder import image_files  # with Lightning

    found = hashlib.sha256()
    for file in image_files(path, "samples"):
        found.update(f"{file.relative_to(path).as_posix()} {sha256(file)}\n".encode())
    return found.hexdigest()


def read_foreign(path: Path, spec: DataSpec) -> Tensor:
    """Samples ``[N, *shape]`` of data of ``spec``, as raw data.

    Args:
        path: a folder of PNG or JPEG images, or an archive with an array ``arr_0`` or a single array: images
            ``[N, H, W, C]``, ``[N, C, H, W]`` or ``[N, H, W]`` of 8-bit integers, or vectors ``[N, D]`` as they are.
        spec: the data.

    Raises:
        UserError: if the samples cannot be read, or do not fit the data.
    """
    if path.is_dir():
        from genmodels.data.sources.image_folder import image_files

        require(spec.is_image and spec.is_discrete, f"samples={path} are images; the data are {spec}.")
        return from_8bit(read_images(image_files(path, "samples"), spec), spec, path)
    names = list(sizes(path))
    require(FIRST in names or len(names) == 1, f"{path} contains {', '.join(names)}, but no array {FIRST}.")
    (array,) = read_arrays(path, [FIRST if FIRST in names else names[0]]).values()
    require(array.dtype.kind in "uif", f"{path} contains {array.dtype}, not numbers.")
    if not spec.is_image:
        return torch.from_numpy(array)
    return from_8bit(array, spec, path)


def read_images(files: Sequence[Path], spec: DataSpec) -> np.ndarray:
    """Images ``[N, H, W, C]``, 8-bit, in the order of the files.

    Raises:
        UserError: naming a file that cannot be decoded, or has another size.
    """
    channels, height, width = spec.shape
    require(channels in MODES, f"images have 1 or 3 channels, the data {channels}.")
    require_memory(2 * len(files) * spec.dims, f"{len(files)} images")
    images = np.empty((len(files), height, width, channels), np.uint8)

    def read(i: int) -> None:
        images[i] = pixels(files[i], spec.shape)

    with ThreadPoolExecutor() as pool:
        list(pool.map(read, range(len(files))))
    return images


def from_8bit(array: np.ndarray, spec: DataSpec, path: Path) -> Tensor:
    """Raw data ``[N, C, H, W]`` of images in one of several layouts; gray ones may have three equal channels.

    Raises:
        UserError: for another shape or type.
    """
    where, (channels, height, width) = f"samples={path}", spec.shape
    require(
        array.dtype == np.uint8 and spec.is_discrete,
        f"{where} have type {array.dtype}; save images as 8-bit integers from 0 to 255 (numpy.uint8).",
    )
    if array.ndim == 3:
        array = array[..., None]
    layouts = {(channels, height, width): (0, 1, 2, 3), (height, width, channels): (0, 3, 1, 2)}
    if channels == 1 and array.shape[1:] not in layouts:
        layouts |= {(3, height, width): (0, 1, 2, 3), (height, width, 3): (0, 3, 1, 2)}
    require(
        array.ndim == 4 and array.shape[1:] in layouts and len(array) > 0,
        f"{where} have shape {list(array.shape)}, not [N, {height}, {width}, {channels}] or "
        f"[N, {channels}, {height}, {width}], the shape of the data.",
    )
    images = torch.from_numpy(np.ascontiguousarray(array.transpose(layouts[array.shape[1:]])))
    if images.shape[1] != channels:
        require(bool((images == images[:, :1]).all()), f"{where} are in color, and the data in gray.")
        images = images[:, :1].contiguous()
    levels = spec.levels or 256
    return images if levels == 256 else (images.float() * ((levels - 1) / 255)).round().to(torch.uint8)


def to_8bit(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Images ``[N, H, W, C]`` of 8-bit integers, the inverse of :func:`from_8bit`, of raw data ``x [N, C, H, W]``.

    Raises:
        UserError: if the data are no gray or color images of integers.
    """
    fits = spec.is_image and spec.is_discrete and spec.shape[0] in MODES
    require(fits, f"only gray and color images of integers are written as images; the data are {spec}.")
    images = (x.float() * (255 / ((spec.levels or 256) - 1))).round().to(torch.uint8)
    found: np.ndarray = images.permute(0, 2, 3, 1).contiguous().numpy()
    return found


def write_folder(x: Tensor, spec: DataSpec, folder: Path) -> None:
    """Write each sample ``x [N, C, H, W]`` as a PNG, in a folder that is new or empty.

    Raises:
        UserError: if the folder holds files, or the data are no such images.
    """
    images = to_8bit(x, spec)
    require(not folder.exists() or folder.is_dir(), f"out={folder} is a file; name a folder, or end in .png or .npz.")
    require(not folder.exists() or not any(folder.iterdir()), f"out={folder} holds files already; name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(folder / f"{index:06d}.png")


def write_adm(x: Tensor, spec: DataSpec, path: Path) -> None:
    """Write samples ``x [N, C, H, W]`` as ``arr_0 [N, H, W, 3]``, as guided-diffusion's evaluator reads them.

    Raises:
        UserError: if the data are no gray or color images of integers.
    """
    images = to_8bit(x, spec)
    with atomic(path) as part:
        np.savez(part, arr_0=np.broadcast_to(images, (*images.shape[:3], 3)))
