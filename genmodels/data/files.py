"""Data files identified by the SHA-256 of their content: located or downloaded, and verified once.

For names that end in ``.gz`` it is the hash of the *decompressed* content, because mirrors compress the same content
differently.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from genmodels.console import tell
from genmodels.errors import UserError, require
from genmodels.files import atomic, write_whole
from genmodels.progress import Reporter

log = logging.getLogger(__name__)

STAMPS = ".verified.json"
"""File in the folder of the data: ``{name: [size, mtime_ns, sha256]}`` of each file whose hash was verified."""

LOCK = ".downloading"
PATIENCE = 1.0  # seconds until a process says that it waits for another
CHUNK = 2**16  # bytes between two updates of the progress
BROKEN = (OSError, EOFError, zlib.error, tarfile.TarError)  # errors of downloads; those of requests are OSErrors too


def fetch(folder: Path, files: Mapping[str, str], *urls: str) -> None:
    """Ensure that ``folder`` contains all ``files`` with the right content; download those that are missing.

    Only one process downloads into a folder; others wait for it, and then find the files there.

    Args:
        folder: the folder of the files.
        files: SHA-256 of the content by file name.
        urls: address of one file, with ``{name}`` (or ``{stem}``, the name without ``.gz``) in place of its name; or of
            one ``.tar.gz`` archive that contains all files. Further ones are tried if the first fails.

    Raises:
        UserError: if a file is missing and cannot be downloaded, or its content does not match its hash.
    """
    if lacking(folder, files):
        try:
            with alone(folder):
                _download_from_any(folder, lacking(folder, files), urls)
        except BROKEN as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            listed = ", ".join(f"{name} ({sha})" for name, sha in lacking(folder, files).items())
            raise UserError(
                f"{folder} lacks {listed} (SHA-256 of the content, decompressed) and {' and '.join(urls)} cannot be"
                f" downloaded into it ({reason}): put the files there, or set data.root or GENMODELS_DATA to the folder"
                f" that contains {folder.name}/."
            ) from error
    verify(folder, files)


def lacking(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Those of ``files`` that are not in ``folder``."""
    return {name: sha for name, sha in files.items() if not (folder / name).exists()}


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Context in which no other process downloads into ``folder``, which is created, and removed if it stays empty."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        log.warning("waiting for another process that downloads into %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # unlinked while it is held; who waited for it finds the files there
            (folder / LOCK).unlink()
            folder.rmdir()
        lock.release()


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Verify the hash of every file whose size or modification time has changed since it was last verified.

    Raises:
        UserError: if a file cannot be read, or its content does not match its hash.
    """
    stamps = _read_stamps(folder)
    fresh: dict[str, list[int | str]] = {}
    for name, expected in files.items():
        require((folder / name).is_file(), f"{folder / name} is not a file; remove it to have the file downloaded.")
        stat = (folder / name).stat()
        stamp: list[int | str] = [stat.st_size, stat.st_mtime_ns, expected]
        if stamps.get(name) != stamp:
            found = content_hash(_bytes(folder / name), compressed=name.endswith(".gz"))
            require(
                found == expected,
                f"{folder / name} is truncated or altered: its content has SHA-256 {found}, expected {expected};"
                " delete the file to have it downloaded again.",
            )
            fresh[name] = stamp
    if fresh:
        _write_stamps(folder, stamps | fresh)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def content_hash(data: bytes, compressed: bool) -> str:
    """SHA-256 of ``data``, gunzipped first if ``compressed``; ``"unreadable"`` for a broken gzip stream."""
    try:
        return hashlib.sha256(gzip.decompress(data) if compressed else data).hexdigest()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return "unreadable"


def _read_stamps(folder: Path) -> dict[str, list[int | str]]:
    try:
        return dict(json.loads((folder / STAMPS).read_text()))
    except (OSError, ValueError):
        return {}


def _write_stamps(folder: Path, stamps: Mapping[str, list[int | str]]) -> None:
    try:
        write_whole(folder / STAMPS, json.dumps(stamps, indent=1))
    except OSError:
        log.warning("%s is not writable: its files will be hashed again at every start.", folder)


def _download_from_any(folder: Path, missing: Mapping[str, str], urls: Sequence[str]) -> None:
    """Download from the first address that works; the error is that of the last."""
    for number, url in enumerate(urls, 1):
        try:
            return _download(folder, missing, url) if missing else None
        except (UserError, *BROKEN):
            if number == len(urls):
                raise


def _download(folder: Path, missing: Mapping[str, str], url: str) -> None:
    """Download ``missing`` into ``folder``; a file gets its name only after its content has been verified."""
    wanted = set(missing)
    retrieve = _from_archive if url.endswith(".tar.gz") else _one_by_one
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        for name, data in retrieve(url, missing, Path(scratch)):
            compress = name.endswith(".gz") and not data.startswith(b"\x1f\x8b")
            data = gzip.compress(data, mtime=0) if compress else data
            found = content_hash(data, compressed=name.endswith(".gz"))
            require(
                found == missing[name],
                f"{url} sent {name} with SHA-256 {found}, expected {missing[name]}: nothing was kept;"
                f" put the right file into {folder}.",
            )
            with atomic(folder / name) as part:
                part.write_bytes(data)
            tell(f"downloaded {folder / name}")
            wanted.discard(name)
    require(not wanted, f"{url} holds no {', '.join(sorted(wanted))}: put the files into {folder}.")


def _one_by_one(url: str, names: Mapping[str, str], scratch: Path) -> Iterator[tuple[str, bytes]]:
    for name in names:
        yield (
            name,
            _retrieve(url.replace("{name}", name).replace("{stem}", name.removesuffix(".gz")), scratch).read_bytes(),
        )


def _from_archive(url: str, names: Mapping[str, str], scratch: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(_retrieve(url, scratch)) as archive:
        for member in archive:
            name, data = Path(member.name).name, archive.extractfile(member)
            if name in names and data is not None:
                yield name, data.read()


def _retrieve(url: str, scratch: Path) -> Path:
    """Download with pooch and show the progress; the caller verifies the content."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # else it recommends to note the hash
    with Progress(f"downloading {url}") as progress:
        downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK)
        return Path(pooch.retrieve(url, known_hash=None, path=scratch, downloader=downloader))


class Progress:
    """Progress of a download, in the terms of pooch, which sets ``total``: the number of bytes, or zero if unknown."""

    total = 0

    def __init__(self, title: str) -> None:
        self.done = 0
        self.reporter = Reporter(title, transient=True)

    def __enter__(self) -> Self:
        self.reporter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.reporter.stop()

    def update(self, size: int) -> None:
        """Count further bytes."""
        self.done += size
        self.reporter.update(min(1.0, self.done / self.total) if self.total else 0.0)

    def reset(self) -> None:
        """Count from zero."""
        self.done = 0

    def close(self) -> None:
        """Do nothing; the bar is removed at the end of the context, also after an error."""
