"""NumPy archives, which may be anyone's: their directory, which has the sizes, is read before their arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from genmodels.errors import UserError, require
from genmodels.hardware import require_memory

COPIES = 3  # of an array in memory at a time: as read, converted, split


def sizes(path: Path) -> dict[str, int]:
    """Bytes of each array in an ``.npz`` file by its name, without those of the compression.

    Raises:
        UserError: if there is no such file, or it cannot be read.
    """
    require(path.is_file(), f"there is no file {path}.")
    with readable(path), zipfile.ZipFile(path) as directory:  # np.load would accept .npy files and pickles too
        entries = [(entry.filename.removesuffix(".npy"), entry.file_size) for entry in directory.infolist()]
    require(len(dict(entries)) == len(entries), f"{path} contains two arrays of one name; save it with numpy.savez.")
    return dict(entries)


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays ``names`` of an ``.npz`` file; none of them may be of Python objects.

    Raises:
        UserError: if the file cannot be read, lacks one of them, or they do not fit into memory.
    """
    names, held = list(names), sizes(path)
    lacking = ", ".join(name for name in names if name not in held)
    require(not lacking, f"{path} contains {', '.join(sorted(held)) or 'nothing'}, but no array {lacking}.")
    require_memory(COPIES * sum(held[name] for name in names), str(path))
    with readable(path), np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in names}
    for name, array in found.items():
        require(isinstance(array, np.ndarray), f"array '{name}' of {path} is no array; save it with numpy.savez.")
    return found


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Context in which any error becomes one sentence.

    Raises:
        UserError: in place of the error.
    """
    try:
        yield
    except Exception as error:
        reason = "it is damaged" if isinstance(error, zlib.error) else " ".join(str(error).split())[:160]
        raise UserError(f"{path} cannot be read as an .npz file ({reason}); save it again with numpy.savez.") from error
