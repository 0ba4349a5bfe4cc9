"""Files that are written as a whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

from genmodels.errors import require

T = TypeVar("T")
PART = ".part-"  # beginning of the names of files that are being written


def path_named(value: str | os.PathLike[str], what: str) -> Path:
    """The path that a program's argument names.

    Raises:
        UserError: if it is neither a text nor a path.
    """
    require(isinstance(value, str | os.PathLike), f"{what} must be a text or a path, got {value!r}.")
    return Path(value)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to ``path`` at the end: readers see the old or the new file.

    The temporary file is in the folder of the target under a unique name, so that several processes may write the same
    target. It has the suffix of the target, because some writers infer the format from the suffix or append their own.
    The writer creates it, with the permissions of any new file. If the block raises, the temporary file is removed and
    the target is unchanged.

    Args:
        path: the file to write or replace, in a folder that exists.

    Raises:
        OSError: if nothing was written, or the target cannot be replaced; it names the target, if it names no other
            file, as when a disk is full.
    """
    path = Path(path)
    part = path.with_name(f"{PART}{secrets.token_hex(4)}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # the first error counts; the folder may be gone, or read-only
            part.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to the file ``path`` by :func:`atomic`.

    Raises:
        OSError: if the file cannot be written.
    """
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits.

    Raises:
        UserError: if there is no such file; a pipe or a device may never end.
    """
    require(path.is_file(), f"there is no file {path}.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_once(load: Callable[[Path], T]) -> Callable[[Path], T]:
    """Share what ``load(path)`` returns among all who ask for the same file, as long as the file is unchanged.

    Only the result for the last file is held.
    """

    @lru_cache(maxsize=1)
    def loaded(path: Path, inode: int, size: int, modified: int) -> T:
        return load(path)

    @wraps(load)
    def shared(path: Path) -> T:
        if not path.exists():
            return load(path)  # which says so
        found = path.stat()
        return loaded(path, found.st_ino, found.st_size, found.st_mtime_ns)

    return shared
