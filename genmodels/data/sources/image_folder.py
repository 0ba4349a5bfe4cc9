"""Trees of PNG and JPEG images, decoded once into a memory map."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from genmodels.core import DataSpec
from genmodels.core.randomness import LARGEST_SEED
from genmodels.data.sources.base import Arrays
from genmodels.data.split import ensure_size, hold_out
from genmodels.errors import UserError, ensure, ensure_counts, require
from genmodels.files import atomic
from genmodels.hardware import shortage
from genmodels.pictures import MODES, SUFFIXES, opened

SPLITS = {"train", "val", "valid", "validation", "test"}  # names of folders that are no classes


@dataclass(frozen=True)
class ImageFolder:
    """Images of any size under ``path``, center-cropped to the right aspect ratio and resized (bicubic, antialiased).

    The decoded images are cached under the data root, in a file named after a hash of ``shape`` and of the list of
    files with their sizes and modification times. Their order is random, because the first examples of a sorted tree
    are often of one class.

    The classes are the names of the folders that contain the images, in sorted order: those in ``path``, or in
    ``train/`` and again in ``test/``.

    Args:
        path: the folder; if it contains ``train/`` and ``test/``, these are the split.
        shape: ``(C, H, W)`` of the result, with 1 or 3 channels.
        test_size: fraction or number of test examples, if there is no split.
        seed: determines the split and the order.

    Raises:
        ValueError: if ``shape`` is not that of gray or RGB images, or ``test_size`` or ``seed`` is out of range.
    """

    path: str
    shape: Sequence[int]
    test_size: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        images = DataSpec(self.shape).is_image and self.shape[0] in MODES
        ensure(images, f"shape must be (C, H, W) with 1 or 3 channels, got {self.shape!r}; fix data.spec.shape.")
        ensure_size(test_size=self.test_size)
        ensure_counts(0, LARGEST_SEED, seed=self.seed)

    def load(self, root: Path) -> Arrays:
        """Images ``[N, C, H, W]``, memory-mapped; labels if all images lie in folders of two or more classes.

        Raises:
            UserError: if the folder is missing or empty, an image cannot be decoded, or the decoded images cannot be
                stored.
        """
        folder = Path(os.path.realpath(os.path.expanduser(self.path)))
        require(os.path.isdir(folder), f"there is no folder {folder}; fix data.source.path.")
        shape = tuple(self.shape)
        official = all((folder / split).is_dir() for split in ("train", "test"))
        train, test = self._official(folder) if official else self._held_out(folder)
        cache = root / "image_folder" / f"{_key([*train, *test], shape)}.npy"
        decoded = _cached(cache, (len(train) + len(test), *shape))
        if decoded is None:
            _decode_all([*train, *test], shape, cache)
            decoded = np.load(cache, mmap_mode="c")
        images = torch.from_numpy(decoded)
        labels = _labels(*(_classes(files, folder, depth=int(official)) for files in (train, test)))
        return Arrays(images[: len(train)], images[len(train) :], *labels)

    def _official(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Training and test files of ``train/`` and ``test/``, in a random order."""
        train, test = image_files(folder / "train"), image_files(folder / "test")
        order, test_order = (_order(len(files), self.seed) for files in (train, test))
        return [train[i] for i in order], [test[i] for i in test_order]

    def _held_out(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Training and test files of a folder without a split, in a random order."""
        files = image_files(folder)
        kept, held = hold_out(len(files), self.test_size, self.seed, "data.source.test_size")
        return [files[i] for i in kept], [files[i] for i in held]


def _classes(files: list[Path], folder: Path, depth: int) -> list[str]:
    """The name of the folder, ``depth`` levels below ``folder``, that holds each file; empty if none does."""
    below = (path.relative_to(folder).parts[depth:] for path in files)
    return [parts[0] if len(parts) > 1 else "" for parts in below]


def _labels(train: list[str], test: list[str]) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """The positions ``[N]`` of training and test classes among the sorted classes; none if these are no classes.

    >>> _labels(["dog", "cat", "dog"], ["cat"])
    (tensor([1, 0, 1]), tensor([0]))
    >>> _labels(["dog", "cat", ""], ["cat"])
    (None, None)
    """
    names = sorted(set(train))
    if len(names) < 2 or "" in names or SPLITS & set(names) or not set(test) <= set(names):
        return None, None
    number = {name: i for i, name in enumerate(names)}
    return torch.tensor([number[name] for name in train]), torch.tensor([number[name] for name in test])


def image_files(folder: Path, key: str = "data.source.path") -> list[Path]:
    """All images under ``folder``, sorted by path; hidden ones, and those in hidden folders, are left out.

    Args:
        folder: the folder.
        key: what names it on the command line.

    Raises:
        UserError: if the folder contains no image, or contains a link to a missing one.
    """
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.is_dir())
    files = sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
    for path in files:
        require(path.exists(), f"{path} is a link to a file that does not exist; repair or remove it.")
        require(path.is_file(), f"{path} is not a regular file; remove it.")
    require(bool(files), f"{folder} contains no PNG or JPEG image; fix {key}.")
    return files


def decode(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """One image as uint8 ``[C, H, W]``, upright, cropped and resized.

    Raises:
        UserError: if the file cannot be decoded or has more than 8 bits per channel.
    """
    channels, height, width = shape
    with opened(path) as image:
        upright = ImageOps.exif_transpose(image).convert(MODES[channels])
        fitted = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)


def _cached(cache: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array file ``cache``, memory-mapped copy-on-write; ``None`` if it does not hold bytes ``[*shape]``."""
    try:
        images: np.ndarray = np.load(cache, mmap_mode="c")
    except (OSError, EOFError, ValueError):  # missing, or damaged
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


@contextmanager
def _stored(cache: Path, size: int) -> Iterator[Path]:
    """A path to write ``size`` bytes to, which becomes ``cache``.

    Raises:
        UserError: if the folder cannot be written, or its disk has too little space.
    """
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        lacking = shortage(
            size, f"{cache.parent}, which keeps the decoded images,", shutil.disk_usage(cache.parent).free
        )
        require(not lacking, lacking)
        with atomic(cache) as part:
            yield part
    except OSError as error:
        raise UserError(
            f"{cache.parent}, which keeps the decoded images, cannot be written ({error.strerror or error}); "
            "set data.root or GENMODELS_DATA to another folder."
        ) from error


def _decode_all(files: list[Path], shape: tuple[int, ...], cache: Path) -> None:
    """Decode ``files`` into the array file ``cache``."""
    with _stored(cache, len(files) * math.prod(shape)) as part:
        images = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(files), *shape))
        reserve(part)

        def write(i: int) -> None:
            images[i] = decode(files[i], shape)

        with ThreadPoolExecutor() as pool:  # decoding and resizing release the interpreter's lock
            for _ in pool.map(write, range(len(files))):
                pass
        images.flush()


def reserve(path: Path) -> None:
    """Reserve the space of a file that is still empty, since a write to its memory map cannot fail but by a crash.

    Raises:
        OSError: if the disk has too little.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _order(n: int, seed: int) -> list[int]:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()


def _key(files: list[Path], shape: tuple[int, ...]) -> str:
    listing = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([shape, listing]).encode()).hexdigest()[:16]
